import runpy
import sys

import pytest


def test_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m fbsessiond` is the command line."""
    monkeypatch.setattr(sys, "argv", ["fbsessiond", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("fbsessiond", run_name="__main__")
    assert ended.value.code == 0
    assert "replay" in capsys.readouterr().out


def test_import() -> None:
    """Importing the module runs nothing."""
    assert "main" in runpy.run_module("fbsessiond.__main__", run_name="imported")

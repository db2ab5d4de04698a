import sys
from io import StringIO

import pytest

from fbsessiond.cli.progress import progress
from terminals import shown_on_terminal


def test_progress_on_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a pipe there is no progress bar."""
    pipe = StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress("replaying") as report:
        report(1, 2)
    assert pipe.getvalue() == ""


def test_progress_on_a_terminal() -> None:
    """On a terminal a bar shows how much is done of how much, on standard error, and goes when all is."""

    def work() -> None:
        with progress("replaying") as report:
            report(1, 2)

    shown = shown_on_terminal("stderr", work)
    assert "replaying" in shown
    assert "1/2" in shown
    assert shown.endswith("\x1b[2K")

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fbsessiond


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each public name is there when it is asked for, is listed, and is the same thing the next time."""
    assert set(fbsessiond.__all__) <= set(dir(fbsessiond))
    for name in fbsessiond.__all__:
        monkeypatch.delitem(vars(fbsessiond), name, raising=False)
        assert getattr(fbsessiond, name) is vars(fbsessiond)[name]


def test_all() -> None:
    """`from fbsessiond import *` brings the public names."""
    names: dict[str, object] = {}
    exec("from fbsessiond import *", names)  # noqa: S102  a star is allowed at a module's top alone
    assert set(names) - {"__builtins__"} == set(fbsessiond.__all__)


def test_other_names() -> None:
    """Any other name is an error, as in any module; a module of the package is found."""
    with pytest.raises(AttributeError, match="module 'fbsessiond' has no attribute 'xyzzy'"):
        getattr(fbsessiond, "xyzzy")  # noqa: B009  a checker knows that it isn't there
    with pytest.raises(ImportError, match="cannot import name 'xyzzy' from 'fbsessiond'"):
        exec("from fbsessiond import xyzzy")  # noqa: S102
    exec("from fbsessiond import limits")  # noqa: S102


def test_checkers() -> None:
    """What type checkers, editors and the check of layers read is what is imported."""
    read = {
        node.module.removeprefix("fbsessiond."): [alias.name for alias in node.names]
        for node in ast.walk(ast.parse(Path(fbsessiond.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fbsessiond.")
    }
    assert read == vars(fbsessiond)["_MODULES"]
    assert sorted(name for names in read.values() for name in names) == fbsessiond.__all__


def test_import() -> None:
    """The package alone imports nothing else of itself, nor what its names need."""
    code = "import sys, fbsessiond; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = ran.stdout.split()
    assert [name for name in modules if name.startswith(("fbsessiond.", "pydantic", "msgspec"))] == []

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_parts import Command
from fbsessiond.environment import variables


def steps(out: str) -> list[str]:
    """Return the commands that are printed to go on with."""
    return re.findall(r"^  (\S.*)$", out, re.MULTILINE)


def shell(command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as it stands in a shell, with the programs of this environment."""
    path = f"{Path(sys.executable).parent}:{variables['PATH']}"
    environment = {**variables, "PATH": path, "COLUMNS": "200"}
    return subprocess.run(["bash", "-ec", command], env=environment, capture_output=True, text=True, check=False)


def test_next_steps(fbsessiond: Command) -> None:
    """The steps that are printed work word for word: the test passes, and a replay uses the handler."""
    ran = fbsessiond("new-handler", "wrap-up-2")
    assert (ran.status, ran.err) == (0, "")
    test, configure, replay = steps(ran.out)
    tested = shell(test)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    assert shell(configure).returncode == 0
    assert Path("fbsessiond.toml").read_text() == "[handlers.wrap-up-2]\n"
    replayed = shell(replay)
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert "WRAP-UP-2" in replayed.stdout
    assert "1 follow-ups captured: 1 AddComment" in replayed.stdout


def test_files(fbsessiond: Command) -> None:
    """There are a handler, its test and notifications, in handlers.d beside the configuration."""
    fbsessiond("new-handler", "wrap-up")
    assert sorted(path.name for path in Path("handlers.d").iterdir()) == [
        "test_wrap_up.py",
        "wrap_up.jsonl",
        "wrap_up.py",
    ]
    assert "class WrapUp(Handler):" in Path("handlers.d/wrap_up.py").read_text()


def test_types_and_lint(fbsessiond: Command) -> None:
    """What is written passes a strict type check and the linter: one's own start clean."""
    fbsessiond("new-handler", "greet")
    for command in (
        "ruff check --isolated --select E,F,I,D,UP,B,ANN --ignore D203,D213,E501 handlers.d",
        "ruff format --isolated --line-length 120 --check handlers.d",
        "MYPYPATH=handlers.d mypy --strict --no-incremental handlers.d",
    ):
        ran = shell(command)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_beside_the_configuration(fbsessiond: Command, tmp_path: Path) -> None:
    """With a configuration elsewhere they lie beside that, and the steps name it."""
    path = tmp_path / "a site" / "floor.toml"
    path.parent.mkdir()
    path.write_text('handlers_directory = "mine"\n[handlers.greet]\ncomment = "x"\n')
    ran = fbsessiond("new-handler", "greet", "--config", path)
    test, replay = steps(ran.out)
    assert (path.parent / "mine" / "greet.py").exists()
    assert "2 passed" in shell(test).stdout
    assert "1 AddComment" in shell(replay).stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Greet", "'Greet' should be of small letters, digits and single hyphens"),
        ("2-greet", "should be of small letters"),
        ("greet--x", "should be of small letters"),
        ("greet/../../x", "should be of small letters"),
        ("g" * 61, "should be of small letters"),
        ("log", "there is a handler 'log' already"),
        ("class", "'class' is a name of Python's own"),
        ("queue", "'queue' is a name of Python's own"),
        ("fbsessiond", "'fbsessiond' is a name of Python's own"),
        ("test-greet", "would be taken for a test"),
        ("done", "'Done' is a name of fbsessiond's own"),
    ],
)
def test_names(fbsessiond: Command, name: str, words: str) -> None:
    """A name that couldn't be used is refused, with the reason."""
    ran = fbsessiond("new-handler", name)
    assert (ran.status, ran.out) == (2, "")
    assert words in " ".join(ran.err.split())
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("file", ["greet.py", "test_greet.py", "greet.jsonl"])
def test_nothing_is_overwritten(fbsessiond: Command, file: str) -> None:
    """Where a file is there already, that is said, and nothing is written."""
    path = Path("handlers.d") / file
    path.parent.mkdir()
    path.write_text("mine")
    ran = fbsessiond("new-handler", "greet")
    assert (ran.status, ran.out) == (2, "")
    assert f"{path} is there already" in ran.err
    assert list(path.parent.iterdir()) == [path]


def test_wrong_configuration(fbsessiond: Command) -> None:
    """A wrong configuration is told: where its handlers lie can't be known."""
    Path("fbsessiond.toml").write_text("jurnal = 1\n")
    assert fbsessiond("new-handler", "greet").status == os.EX_CONFIG


def test_without_pytest(fbsessiond: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pytest isn't installed, the first step installs it; where `python` is another, the right one is named."""
    monkeypatch.setattr(importlib.util, "find_spec", dict[str, object]().get)
    monkeypatch.setenv("PATH", "/nowhere")
    first, second, *_ = steps(fbsessiond("new-handler", "greet").out)
    assert first == f"{sys.executable} -m pip install pytest"
    assert second == f"{sys.executable} -m pytest handlers.d/test_greet.py"

"""What the commands' tests share: how to run one in this process, and a journal made by replaying."""

import logging
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from cli_parts import CANARY, CONFIGURATION, FAILING_HANDLER, Command, Ran, misfit, notification, write_lines
from fbsessiond import environment
from fbsessiond.cli import main


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and an environment without our variables."""
    for name in list(environment.variables):
        if name.startswith("FBSESSIOND_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # a process that a test starts prints as one in a shell does
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    for module, name in ((sys, "unraisablehook"), (threading, "excepthook"), (warnings, "showwarning")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(logging, "_warnings_showwarning", None)


@pytest.fixture
def fbsessiond(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """How to run a command in this process, as the shell would."""

    def run(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["fbsessiond", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def _replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a replay was made, once for all tests: its configuration, its journal, its audit file."""
    folder = tmp_path_factory.mktemp("replayed")
    (folder / "handlers.d").mkdir()
    (folder / "handlers.d" / "fragile.py").write_text(FAILING_HANDLER)
    (folder / "fbsessiond.toml").write_text(CONFIGURATION)
    write_lines(
        folder / "messages.jsonl",
        notification("Invited", userData={"FirstName": CANARY, "n": 4711471147}),
        notification("Chatting", comment=CANARY),
        notification("Chatting", comment=f"{CANARY}, too"),
        misfit(comment=CANARY),
        notification("LeftChat"),
        {"channel": "/v2/me/calls", "data": {"messageType": "CallStateChanged", "phoneNumber": CANARY}},
        f"no JSON {CANARY}",
    )
    command = [sys.executable, "-m", "fbsessiond", "replay", "messages.jsonl"]
    options = ["--journal", "sqlite:journal.db", "--config", "fbsessiond.toml"]
    ran = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    return folder


@pytest.fixture
def configuration(_replayed: Path, tmp_path: Path) -> Path:
    """A configuration with the handlers `log`, `audit`, and `fragile`, which fails where a customer's name stands."""
    shutil.copytree(_replayed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "fbsessiond.toml"


@pytest.fixture
def journal(configuration: Path) -> str:
    """The address of a journal with customer data at every place.

    Its entries: 1 Invited, 2 Chatting (2/fragile is dead), 3 properties, 4 LeftChat (4/fragile is dead), 5 another
    medium's; and 1 and 2 in the quarantine.
    """
    return f"sqlite:{configuration.with_name('journal.db')}"

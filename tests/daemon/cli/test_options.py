import os
from pathlib import Path

import pytest

from cli_parts import Command

READING = [
    ["export"],
    ["dead", "list"],
    ["dead", "show", "1/log"],
    ["dead", "retry", "1/log"],
    ["dead", "drop", "1/log", "--reason", "x"],
    ["quarantine", "list"],
    ["quarantine", "show", "1"],
    ["quarantine", "retry", "1"],
    ["journal", "verify"],
    ["journal", "stats"],
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_missing_journal(fbsessiond: Command, command: list[str]) -> None:
    """Where there is no journal that is told, with where one was looked for, and none is made."""
    ran = fbsessiond(*command, "--journal", "sqlite:nowhere.db")
    assert (ran.status, ran.out) == (os.EX_IOERR, "")
    assert ran.err == "fbsessiond: nowhere.db: there is no journal here; name another with --journal or --config\n"
    assert not Path("nowhere.db").exists()


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_no_address(fbsessiond: Command, command: list[str]) -> None:
    """What is no journal's address is told, with how one is written."""
    ran = fbsessiond(*command, "--journal", "journal.db")
    assert (ran.status, ran.out) == (os.EX_CONFIG, "")
    assert "it is written 'sqlite:FILE'" in ran.err


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_wrong_configuration(fbsessiond: Command, tmp_path: Path, command: list[str]) -> None:
    """A wrong configuration is told; a journal that is named needs none."""
    (tmp_path / "c.toml").write_text("xyzzy = 1\n")
    ran = fbsessiond(*command, "--config", "c.toml")
    assert (ran.status, ran.out) == (os.EX_CONFIG, "")
    assert ran.err.startswith("fbsessiond: c.toml: line 1: xyzzy: there is no such key")
    assert fbsessiond(*command, "--config", "c.toml", "--journal", "sqlite:nowhere.db").status == os.EX_IOERR


def test_something_else(fbsessiond: Command, tmp_path: Path) -> None:
    """A file that is no journal is told as such, and is left as it is."""
    (tmp_path / "notes.txt").write_text("notes" * 1_000)
    ran = fbsessiond("export", "--journal", "sqlite:notes.txt")
    assert (ran.status, ran.out) == (os.EX_IOERR, "")
    assert (tmp_path / "notes.txt").read_text() == "notes" * 1_000


def test_journal_of_the_configuration(
    fbsessiond: Command, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an address the configuration's journal is read: of the one named, the variable's, or the one here."""
    expected = fbsessiond("export", "--config", configuration).lines
    assert len(expected) == 5
    assert fbsessiond("export").lines == expected
    monkeypatch.setenv("FBSESSIOND_CONFIG", str(configuration))
    monkeypatch.chdir("/")
    monkeypatch.setenv("FBSESSIOND_STATE_DIRECTORY", str(configuration.parent))
    assert fbsessiond("export").lines == expected

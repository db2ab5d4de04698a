import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from cli_parts import CANARY, Command
from fbsessiond.cli.options import groups, members, point_in_time
from fbsessiond.clock import SystemClock
from fbsessiond.environment import user
from fbsessiond.journal.engines import open_reader

READING = [
    ["export"],
    ["dead", "list"],
    ["dead", "show", "1/log"],
    ["dead", "retry", "1/log"],
    ["dead", "drop", "1/log", "--because", "x"],
    ["quarantine", "list"],
    ["quarantine", "show", "1"],
    ["quarantine", "retry", "1"],
    ["quarantine", "drop", "1", "--because", "x"],
    ["journal", "acts"],
    ["tap"],
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


REVEALING = [
    ["export", "--json", "--reveal"],
    ["tap", "--since", "1h", "--count", "16", "--reveal"],
    ["dead", "list", "--reveal"],
    ["dead", "show", "2/fragile", "--reveal"],
    ["quarantine", "list", "--json", "--reveal"],
    ["quarantine", "show", "1", "--reveal"],
]


@pytest.mark.parametrize("command", REVEALING, ids=" ".join)
def test_reveal(fbsessiond: Command, journal: str, command: list[str]) -> None:
    """Each command that reveals customer data is written down first: when, to whom, and the command itself."""
    began = SystemClock().now()
    ran = fbsessiond(*command, "--journal", journal)
    assert ran.status == 0
    assert CANARY in ran.out
    with closing(open_reader(journal, Path())) as reader:
        (reveal,) = reader.reveals()
    assert (reveal.by, reveal.command) == (user(), " ".join([*command, "--journal", journal]))
    assert began <= reveal.at <= SystemClock().now()


@pytest.mark.parametrize("command", REVEALING, ids=" ".join)
def test_no_reveal(fbsessiond: Command, journal: str, command: list[str]) -> None:
    """Where nothing is to be revealed, nothing is written down."""
    ran = fbsessiond(*command[:-1], "--journal", journal)
    assert CANARY not in ran.out
    with closing(open_reader(journal, Path())) as reader:
        assert list(reader.reveals()) == []


@pytest.mark.parametrize("command", REVEALING, ids=" ".join)
def test_reveal_that_cannot_be_written_down(fbsessiond: Command, journal: str, command: list[str]) -> None:
    """Where it can't be written down who saw it, nothing is revealed, and that is said."""
    with closing(sqlite3.connect(Path(journal.removeprefix("sqlite:")))) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON reveals BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    ran = fbsessiond(*command, "--journal", journal)
    assert (ran.status, ran.out) == (os.EX_IOERR, "")
    assert "the disk is full; nothing is revealed unless it is written down who saw it" in ran.err


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


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-30", datetime(2026, 11, 30, tzinfo=UTC)),
        ("2026-11-30T09:14", datetime(2026, 11, 30, 9, 14, tzinfo=UTC)),
        ("2026-11-30T09:14Z", datetime(2026, 11, 30, 9, 14, tzinfo=UTC)),
        ("2026-11-30 09:14:05.5+02:00", datetime(2026, 11, 30, 7, 14, 5, 500_000, tzinfo=UTC)),
    ],
)
def test_point_in_time(text: str, at: datetime) -> None:
    """A point in time is UTC, unless it says otherwise."""
    assert point_in_time(text) == at
    assert point_in_time(text).tzinfo is UTC


def test_how_long_ago() -> None:
    """A duration is how long ago."""
    before = SystemClock().now()
    assert before - timedelta(hours=2) <= point_in_time("2h") <= SystemClock().now() - timedelta(hours=2)


@pytest.mark.parametrize("text", ["", "yesterday", "2 weeks", "-2h", "2026-02-30", "0001-01-01T00:00+10:00"])
def test_no_point_in_time(text: str) -> None:
    """Anything else is a mistake of usage."""
    with pytest.raises(typer.BadParameter, match="how long ago, as '2h', or when"):
        point_in_time(text)


def test_groups(tmp_path: Path) -> None:
    """An agent's group is the one of the configuration; one that isn't there is told with those that are."""
    config = tmp_path / "c.toml"
    config.write_text(
        '[gws]\nurl = "http://gws.example"\n'
        '[[agents]]\nusername = "a"\npassword = { env = "P" }\n'
        '[[agents]]\nusername = "b"\npassword = { env = "P" }\ngroup = "night"\n'
    )
    assert groups(config) == {"a": "default", "b": "night"}
    assert members("night", config) == {"b"}
    with pytest.raises(typer.BadParameter, match="no group 'day'; known here: default, night"):
        members("day", config)

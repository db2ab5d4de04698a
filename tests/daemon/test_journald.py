"""fbsessiond.journald: entries with fields, in systemd's journal."""

import json
import os
import sys
from collections.abc import Generator
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbsessiond.journald import JournaldStream, datagram, is_read_by_journald, send
from journald_socket import JournaldSocket, listening, parsed


@pytest.fixture
def journald(tmp_path: Path) -> Generator[JournaldSocket, None, None]:
    """Listen in journald's place."""
    with listening(tmp_path / "socket") as journald:
        yield journald


def test_entry(journald: JournaldSocket) -> None:
    """An entry is its fields, with their values as they are."""
    send({"MESSAGE": "hello", "SESSION": "S1", "EMPTY": ""}, journald.address)
    assert journald.entries() == [[("MESSAGE", b"hello"), ("SESSION", b"S1"), ("EMPTY", b"")]]


@given(st.dictionaries(st.from_regex(r"\A[A-Z][A-Z0-9_]{0,63}\Z"), st.text(st.characters(exclude_categories=["Cs"]))))
def test_forged_field(fields: dict[str, str]) -> None:
    """No value can end early and go on as a field of its own."""
    assert parsed(datagram(fields)) == [(name, value.encode()) for name, value in fields.items()]
    forged = "x\nPRIORITY=0\n" + "\0" * 8
    assert parsed(datagram({"MESSAGE": forged})) == [("MESSAGE", forged.encode())]


@pytest.mark.parametrize("name", ["", "_PID", "1ST", "a", "A B", "A=", "A\nB", "A\n", "Ä", "A" * 65])
def test_wrong_name(name: str) -> None:
    """A field that can't be called so is left out; the others are sent."""
    assert parsed(datagram({name: "x", "A" * 64: "y", "A_1": "z"})) == [("A" * 64, b"y"), ("A_1", b"z")]


def test_half_character() -> None:
    """What can't be written in UTF-8 is escaped."""
    assert parsed(datagram({"PATH": "caf\udce9"})) == [("PATH", rb"caf\udce9")]


def test_long_entry(journald: JournaldSocket) -> None:
    """An entry too long for a datagram is handed over in memory that nobody can change any more."""
    send({"EXCEPTION": "x" * 10_000_000, "SESSION": "S1"}, journald.address)
    assert journald.entries() == [[("EXCEPTION", b"x" * 10_000_000), ("SESSION", b"S1")]]
    assert journald.in_memory == 1


def test_nobody_listens(tmp_path: Path, journald: JournaldSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What journald doesn't take goes to standard error."""
    errors = StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    line = json.dumps({"MESSAGE": "hello"}) + "\n"
    JournaldStream(journald.address).write(line)
    assert errors.getvalue() == ""
    assert len(journald.entries()) == 1
    JournaldStream(str(tmp_path / "nobody")).write(line)
    assert errors.getvalue() == line
    with pytest.raises(FileNotFoundError):
        send({}, str(tmp_path / "nobody"))


def test_which_stream(tmp_path: Path) -> None:
    """Journald reads a stream if that is the very file that the environment names."""
    with (tmp_path / "one").open("w") as one, (tmp_path / "other").open("w") as other:
        status = os.fstat(one.fileno())
        said = f"{status.st_dev}:{status.st_ino}"
        assert is_read_by_journald(one, said)
        assert not is_read_by_journald(other, said)
        assert not is_read_by_journald(one, None)
        assert not is_read_by_journald(one, "nonsense")
    assert not is_read_by_journald(one, said)
    assert not is_read_by_journald(StringIO(), said)

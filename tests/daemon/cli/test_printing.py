import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import StringIO, TextIOWrapper
from pathlib import Path

import msgspec
import pytest
import typer

from cli_parts import HOSTILE, printed
from fbsessiond.cli.printing import flush, is_read, print_json, print_line
from fbsessiond.errors import DiskError


def test_json() -> None:
    """A record is one line of JSON, in the order of its fields, letters as they are."""
    record = {"seq": 1, "name": "Zoë 漢字", "at": None, "inside": [{"raw": msgspec.Raw(b"1.0e1")}]}
    line = printed(lambda: print_json(record))
    assert line == '{"seq":1,"name":"Zoë 漢字","at":null,"inside":[{"raw":1.0e1}]}\n'


def test_hostile_json() -> None:
    """What can't be seen is escaped in a line of JSON, and comes back when it is read."""
    line = printed(lambda: print_json({HOSTILE: HOSTILE})).removesuffix("\n")
    assert line.isprintable()
    assert json.loads(line) == {HOSTILE: HOSTILE}


def test_line() -> None:
    """A line stays one line, whatever stands in it; nothing is taken for markup."""
    line = printed(lambda: print_line(f"[bold]{HOSTILE}")).removesuffix("\n")
    assert line.isprintable()
    assert line.startswith(r"[bold]\x1b[31m[red]x[/red]\n{forged}\r\x07\x9b2J\u2028\u202e")


@contextmanager
def printing_to(file: TextIOWrapper) -> Generator[None, None, None]:
    """Print into a file for a while, and close it then."""
    with pytest.MonkeyPatch.context() as monkeypatch, file:
        monkeypatch.setattr(sys, "stdout", file)
        yield


def closed_pipe() -> TextIOWrapper:
    """Return a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w", encoding="utf-8")  # noqa: PTH123  a descriptor, no path; its user closes it


def test_reader_has_seen_enough() -> None:
    """A reader that has seen enough is no trouble at the command's end."""
    with printing_to(closed_pipe()):
        print_line("short")
        assert not flush()


def test_sent() -> None:
    """What somebody reads is sent."""
    with printing_to(Path(os.devnull).open("w")):
        print_line("short")
        assert flush()


def test_read() -> None:
    """Whether anybody reads is known of a pipe before anything is written; a file, or none, is always there."""
    reading, writing = os.pipe()
    with printing_to(open(writing, "w", encoding="utf-8")):  # noqa: PTH123  a descriptor, no path
        assert is_read()
        os.close(reading)
        assert not is_read()
    with printing_to(Path(os.devnull).open("w")):
        assert is_read()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "stdout", StringIO())
        assert is_read()


def test_reader_has_seen_enough_while_writing() -> None:
    """A reader that has seen enough while there is more to print ends the command, with status 0."""
    with printing_to(closed_pipe()):
        with pytest.raises(typer.Exit) as ended:
            print_line("x" * 100_000)
        assert ended.value.exit_code == 0
        flush()


@pytest.mark.parametrize("text", ["short", "x" * 100_000])
def test_full_disk(text: str) -> None:
    """Output that can't be written is an error of the disk, never a success."""
    words = "can't write to standard output: No space left on device"
    with printing_to(Path("/dev/full").open("w")):
        with pytest.raises(DiskError, match=words):
            print_twice(text)
        with suppress(DiskError):
            flush()


def print_twice(text: str) -> None:
    """Print a text, and then what the system's buffer still holds."""
    print_line(text)
    flush()

import json
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from cli_parts import HOSTILE
from fbsessiond.cli.printing import cell, flush, new_table, print_json, print_line, print_table, progress
from fbsessiond.errors import DiskError
from terminals import shown_on_terminal


def printed(write: Callable[[], None]) -> str:
    """Return what is printed on a pipe."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        pipe = StringIO()
        monkeypatch.setattr(sys, "stdout", pipe)
        write()
    return pipe.getvalue()


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


def make_table(*rows: tuple[Any, ...]) -> Any:
    """Return a table of two columns."""
    table = new_table("SEQ", "TEXT")
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def test_table() -> None:
    """On a pipe a table is plain text: a line a row, however long, with nothing at its end."""
    table = make_table((1, "a"), (22, None), (333, "x " * 500 + "y"))
    assert printed(lambda: print_table(table)) == f"SEQ  TEXT\n1    a\n22\n333  {'x ' * 500}y\n"


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_table_of_anything(text: str) -> None:
    """A row is a line, whatever stands in it."""
    lines = printed(lambda: print_table(make_table((1, text), (text, 2)))).split("\n")
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_table_on_a_terminal() -> None:
    """On a terminal a table is as wide as that, long values folded, with a style; nothing in it moves the cursor."""
    shown = shown_on_terminal("stdout", lambda: print_table(make_table((1, "x" * 60), (2, HOSTILE))))
    assert "\x1b[1mSEQ" in shown
    assert f"1    {'x' * 35}\n     {'x' * 25}" in shown
    assert "[red]x[/red]" in shown
    assert not {"\x07", "\r", "\x9b", "\u2028", "\u202e"} & set(shown)
    assert "\x1b[31m" not in shown


def test_cell() -> None:
    """A cell shows a value as text, nothing for none, and escapes what can't be seen."""
    assert [cell(value).plain for value in ("a", 5, None, "a\nb")] == ["a", "5", "", r"a\nb"]
    assert cell("a", "red").style == "red"


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
        flush()


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

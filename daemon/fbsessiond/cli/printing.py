"""What the commands print: lines of JSON for programs, tables and progress for people.

Nothing in a value can end its line, begin another, or move a terminal's cursor.
"""

import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fbsessiond.errors import DiskError
from fbsessiond.logs import printable, printable_json

WIDEST = 100_000
"""How wide a table can be on a pipe, in characters: as wide as it needs."""


class Report(Protocol):
    """Told how much is done, of how much."""

    def __call__(self, done: int, all_: int, /) -> None:
        """Note progress."""
        ...


def print_json(record: Mapping[str, Any]) -> None:
    """Print a record as a line of JSON."""
    _write(printable_json(msgspec.json.encode(record).decode()))


def print_line(text: str) -> None:
    """Print a line of text."""
    _write(printable(text))


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal; on a pipe a line a row, however long."""
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(table)
        return
    console.width = WIDEST
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        _write(line.rstrip())


def new_table(*columns: str) -> Table:
    """Return an empty table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(cell(column), overflow="fold")
    return table


def cell(value: object, style: str = "") -> Text:
    """Return a table's cell: nothing in it is markup."""
    return Text(printable("" if value is None else str(value)), style=style)


@contextmanager
def progress(what: str) -> Generator[Report, None, None]:
    """Show a progress bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, all_: int, /) -> None:
            bar.update(task, completed=done, total=all_)

        yield report


def flush() -> None:
    """Send what is still to be printed. Raises `DiskError` where it can't be written.

    A reader that has seen enough, such as `head`, is no trouble.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the interpreter's own flush may fail not
        if not isinstance(error, BrokenPipeError):
            raise _unwritable(error) from error


def _write(line: str) -> None:
    try:
        sys.stdout.write(f"{line}\n")
    except BrokenPipeError as error:
        raise typer.Exit(0) from error
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> DiskError:
    return DiskError(f"can't write to standard output: {error.strerror}")

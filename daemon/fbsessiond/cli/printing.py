"""What the commands print: lines of JSON for programs, tables and progress for people."""

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


class Report(Protocol):
    """Told how much is done, of how much."""

    def __call__(self, done: int, all_: int, /) -> None:
        """Note progress."""
        ...


def print_json(record: Mapping[str, Any]) -> None:
    """Print a record as a line of JSON."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")


def print_line(text: str) -> None:
    """Print a line of text; what would move a terminal's cursor is shown, not done."""
    sys.stdout.write(printable(text) + "\n")


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal, and as wide as it needs on a pipe."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def new_table(*columns: str) -> Table:
    """Return an empty table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def cell(value: object, style: str = "") -> Text:
    """Return a table's cell: nothing in it is markup, and nothing moves the cursor."""
    return Text(printable("" if value is None else str(value)), style=style)


def printable(text: str) -> str:
    """Return a text with its control characters escaped, line breaks too."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def iso(at: datetime | None) -> str | None:
    """Return a point in time as ISO 8601, UTC, to the microsecond."""
    return None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")


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

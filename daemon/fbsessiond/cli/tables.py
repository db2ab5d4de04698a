"""Tables for people. Nothing in a cell is markup, ends its line, or moves a terminal's cursor."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fbsessiond.cli.printing import print_line
from fbsessiond.printable import printable

WIDEST = 100_000
"""How wide a table can be on a pipe, in characters: as wide as it needs."""


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
        print_line(line.rstrip())


def new_table(*columns: str) -> Table:
    """Return an empty table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(cell(column), overflow="fold")
    return table


def cell(value: object, style: str = "") -> Text:
    """Return a table's cell: nothing in it is markup."""
    return Text(printable("" if value is None else str(value)), style=style)

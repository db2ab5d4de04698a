"""Tables for people. Nothing in a cell is markup, ends its line, or moves a terminal's cursor."""

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fbsessiond.cli.printing import print_line
from fbsessiond.printable import printable


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal; on a pipe a line a row, however long."""
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(table)
        return
    columns = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    widths = [max(map(cell_len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        padded = (text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True))
        print_line("  ".join(padded).rstrip())


def new_table(*columns: str) -> Table:
    """Return an empty table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(cell(column), overflow="fold")
    return table


def cell(value: object, style: str = "") -> Text:
    """Return a table's cell: nothing in it is markup."""
    return Text(printable("" if value is None else str(value)), style=style)

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cli_parts import HOSTILE, printed
from fbsessiond.cli.tables import cell, new_table, print_table
from terminals import shown_on_terminal


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

"""The queries that all engines have, as PostgreSQL wants them.

They are written once, for SQLite. What it says otherwise is put into PostgreSQL's words here; the few that have to be
other ones stand in `overrides.sql`.
"""

import re
from importlib.resources import files
from typing import NamedTuple

from fbsessiond.journal.sql.queries import read_queries

_SHARED = "fbsessiond.journal.sql"
_NUMBERS = {"seq", "since"}
"""The names that can stand for NULL in a condition, and are no text."""


class Query(NamedTuple):
    """A query as psycopg takes it."""

    text: bytes
    packed: frozenset[int]
    """The places of the values that are to be packed. Columns that are called `packed` are to be unpacked."""
    renews: bool
    """Whether what comes after it is packed by another dictionary."""


def in_postgresql(text: str) -> Query:
    """Put a query into PostgreSQL's words."""
    values = re.findall(r"pack\(\?|\?", text)
    packed = frozenset(place for place, value in enumerate(values) if value != "?")
    text = re.sub(r"pack\(\?, \(SELECT max\(number\) FROM dictionaries\)\)", "?", text)
    text = re.sub(r"\bunpack\(([\w.]+)\)", r"\1 AS packed", text)
    text = re.sub(r"(?<!:):(\w+) IS NULL", _typed, text)
    text = re.sub(r"(?<!:):(?!:)(\w+)", r"%(\1)s", text)
    return Query(text.replace("?", "%s").encode(), packed, "INTO dictionaries" in text)


def _typed(match: re.Match[str]) -> str:
    """Say of what type a value is: NULL alone doesn't."""
    name = match[1]
    return f":{name}::{'bigint' if name in _NUMBERS else 'text'} IS NULL"


def _read() -> dict[str, Query]:
    overrides = read_queries("overrides.sql", "fbsessiond.journal.postgresql")
    shared = [file.name for file in files(_SHARED).iterdir() if file.name.endswith(".sql")]
    return {
        text: in_postgresql(overrides.get(f"{name.removesuffix('.sql')}.{title}", text))
        for name in shared
        for title, text in read_queries(name).items()
    }


QUERIES = _read()
"""By the text that the shared modules have."""

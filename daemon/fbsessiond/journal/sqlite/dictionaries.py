"""The dictionaries by which entries are packed, in SQLite."""

import sqlite3
from collections.abc import Iterator

from fbsessiond.finding import Finding
from fbsessiond.journal.sqlite.file import read_queries
from fbsessiond.journal.sqlite.rows import CHANGED, checksum

_SQL = read_queries("dictionaries.sql")


def check(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield those that were changed."""
    for row in connection.execute(_SQL["check"]):
        if checksum(row[:-1]) != row[-1]:
            yield Finding(f"dictionary {row[0]}", CHANGED)

"""The dictionaries by which entries are packed."""

from collections.abc import Iterator

from fbsessiond.finding import Finding
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import CHANGED, checksum

_SQL = read_queries("dictionaries.sql")


def dictionary(connection: Connection, number: int) -> bytes:
    """Return the dictionary of a number. Raises `LookupError` or `ValueError` where it is lost or was changed."""
    row = connection.execute(_SQL["read"], (number,)).fetchone()
    if row is None:
        raise LookupError(f"the journal's dictionary {number} is lost")
    if checksum(row[:-1]) != row[-1]:
        raise ValueError(f"dictionary {number}: {CHANGED}")
    content: bytes = row[2]
    return content


def check(connection: Connection) -> Iterator[Finding]:
    """Yield those that were changed, and those that are missing: they are forgotten from the old end only."""
    expected = 0
    for row in connection.execute(_SQL["check"]):
        if checksum(row[:-1]) != row[-1]:
            yield Finding(f"dictionary {row[0]}", CHANGED)
        elif row[0] != (expected or row[0]):
            yield Finding(f"dictionary {row[0]}", f"follows dictionary {expected - 1}: those between them are missing")
        expected = row[0] + 1
    if not expected:
        yield Finding("the dictionaries", "are missing")

"""What the journal keeps about itself."""

from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries

_SQL = read_queries("facts.sql")


def fact(connection: Connection, name: str) -> bytes:
    """Return the journal's `identity`, or its `redaction_key`. Raises `ValueError`."""
    row = connection.execute(_SQL["read"], (name,)).fetchone()
    if row is None:
        raise ValueError(f"the journal's {name} is lost")
    value: bytes = row[0]
    return value

"""Reveals. Each function runs in the transaction that is open."""

from collections.abc import Iterator
from datetime import datetime

from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.facts import fact
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import from_microseconds, to_microseconds
from fbsessiond.reveal import Reveal

_SQL = read_queries("reveals.sql")


def note(connection: Connection, at: datetime, by: str, command: str) -> None:
    """Write down that customer data is about to be shown."""
    connection.execute(_SQL["note"], (to_microseconds(at), by, command))


def read(connection: Connection, query: str = "read") -> Iterator[Reveal]:
    """Yield reveals in their order: all, or those `to_pass_on`."""
    identity = fact(connection, "identity").decode()
    for number, at, by, command in connection.execute(_SQL[query]):
        yield Reveal(f"{identity}/reveals/{number}", from_microseconds(at), by, command)


def pass_on(connection: Connection, reveal: Reveal) -> None:
    """Note that all handlers were told of a reveal."""
    connection.execute(_SQL["pass_on"], (int(reveal.key.rpartition("/")[2]),))

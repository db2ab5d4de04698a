"""The quarantine. Each function runs in the transaction that is open."""

from collections.abc import Iterator, Sequence

from fbsessiond.finding import Finding
from fbsessiond.journal.records import Misfit, Quarantined
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import (
    CHANGED,
    checksum,
    quarantine_row,
    quarantine_sum,
    to_microseconds,
    to_quarantined,
)
from fbsessiond.message import Batch

_SQL = read_queries("quarantine.sql")


def last_seq(connection: Connection) -> int:
    """Return the number of the last message; 0 where there is none."""
    number: int = connection.execute(_SQL["last_seq"]).fetchone()[0]
    return number


def append(connection: Connection, batch: Batch, misfits: Sequence[Misfit], first: int) -> None:
    """Write a batch's messages that don't validate, numbered from `first`."""
    received_at = to_microseconds(batch.received_at)
    rows = [quarantine_row(seq, batch, received_at, misfit) for seq, misfit in enumerate(misfits, first)]
    connection.executemany(_SQL["append"], rows)


def retries(connection: Connection) -> list[Quarantined]:
    """Return what a person asked to read again."""
    return [to_quarantined(row) for row in connection.execute(_SQL["retries"])]


def release(connection: Connection, seq: int) -> bool:
    """Note that a message becomes entries; False where a person dropped it meanwhile."""
    return bool(connection.execute(_SQL["release"], (seq,)).rowcount)


def keep(connection: Connection, seq: int, error: str) -> bool:
    """Note that a message still doesn't validate, and why; False where a person dropped it meanwhile."""
    return bool(connection.execute(_SQL["keep"], (error, seq)).rowcount)


def read(connection: Connection, *, seq: int | None, after_seq: int = 0) -> Iterator[Quarantined]:
    """Yield what is in the quarantine, what waits to be tried again included."""
    yield from map(to_quarantined, connection.execute(_SQL["read"], {"seq": seq, "after_seq": after_seq}))


def retry(connection: Connection, seq: int) -> bool:
    """Mark a message, so that it is read again; False where it isn't in the quarantine any more."""
    return bool(connection.execute(_SQL["retry"], (seq,)).rowcount)


def drop(connection: Connection, seq: int) -> bool:
    """Take a message out, whatever is wrong with it; False where it isn't in the quarantine any more."""
    return bool(connection.execute(_SQL["drop"], (seq,)).rowcount)


def count(connection: Connection) -> int:
    """Count what is in the quarantine."""
    number: int = connection.execute(_SQL["count"]).fetchone()[0]
    return number


def check(connection: Connection) -> Iterator[Finding]:
    """Yield messages that were changed."""
    for row in connection.execute(_SQL["check"]):
        if checksum(quarantine_sum(row[:-1])) != row[-1]:
            yield Finding(f"quarantine {row[0]}", CHANGED)


def forget(connection: Connection, before: int, most: int) -> None:
    """Forget up to so many of the oldest, by age alone; the newest stays, so that the count goes on."""
    connection.execute(_SQL["forget"], (before, most))

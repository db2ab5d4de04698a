"""What persons do with what was given up. Each function runs in the transaction that is open."""

from collections.abc import Iterator

from fbsessiond.journal.records import Act, ActKind, DeliveryRecord, FollowUpRecord, GivenUp
from fbsessiond.journal.sql import deliveries, follow_ups, quarantine
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import from_microseconds, to_microseconds

_SQL = read_queries("acts.sql")


def carry_out(connection: Connection, on: GivenUp, act: Act) -> bool:
    """Do it, and write it down; False where its subject isn't given up any more."""
    if not _do(connection, on, act):
        return False
    row = (act.subject, to_microseconds(act.at), act.by, act.kind.value, act.because)
    connection.execute(_SQL["append"], row)
    return True


def read(connection: Connection, *, subject: str | None = None, since: int | None = None) -> Iterator[Act]:
    """Yield what was done, by time: all, or what was done with one subject, or since a time."""
    query = "read_subject" if subject is not None else "read" if since is None else "read_since"
    for of, at, by, kind, because in connection.execute(_SQL[query], {"subject": subject, "since": since}):
        yield Act(of, ActKind(kind), from_microseconds(at), by, because)


def forget(connection: Connection, before: int, most: int) -> None:
    """Forget up to so many of the oldest, by age alone."""
    connection.execute(_SQL["forget"], (before, most))


def _do(connection: Connection, on: GivenUp, act: Act) -> bool:
    now, is_retry, because = to_microseconds(act.at), act.kind is ActKind.RETRY, f"dropped: {act.because}"
    match on:
        case DeliveryRecord():
            done = deliveries.revive(connection, on, now) if is_retry else deliveries.drop(connection, on, because, now)
        case FollowUpRecord():
            done = follow_ups.revive(connection, on, now) if is_retry else follow_ups.drop(connection, on, because, now)
        case _:
            done = quarantine.retry(connection, on.seq) if is_retry else quarantine.drop(connection, on.seq)
    return done

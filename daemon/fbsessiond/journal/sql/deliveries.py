"""Deliveries. Each function runs in the transaction that is open."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from fbsessiond import limits
from fbsessiond.finding import Finding
from fbsessiond.journal.recent import RecentEntries
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Entry, Lease, Settlement, Wait
from fbsessiond.journal.sql import entries
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import from_microseconds, to_delivery, to_microseconds

_SQL = read_queries("deliveries.sql")
_LAST = 2**63 - 1

SessionKey: TypeAlias = tuple[str, str | None]
"""Agent and session: of each, a handler has one delivery at a time."""


class Key(NamedTuple):
    """What names a delivery."""

    handler: str
    agent: str
    session: str | None
    seq: int


def append(connection: Connection, rows: Iterable[tuple[Key, int, Wait | None]]) -> None:
    """Write deliveries, each with when it is due, and what it waits for until then."""
    connection.executemany(
        _SQL["append"],
        [(*key, due_at, wait, key.handler, key.agent, key.session, due_at) for key, due_at, wait in rows],
    )


def append_settled(connection: Connection, rows: Iterable[tuple[Key, DeliveryState, str, int]]) -> None:
    """Write deliveries that ended before they began, each with its state, why and when."""
    connection.executemany(
        _SQL["append_settled"],
        [(key.seq, key.handler, state.value, 0, because, at) for key, state, because, at in rows],
    )


def promote(connection: Connection, key: Key) -> None:
    """Make the next delivery of a session and handler due, when it was to be."""
    connection.execute(_SQL["promote"], {"handler": key.handler, "agent": key.agent, "session": key.session})


def find_due(
    connection: Connection,
    handler: str,
    most: int,
    now: int,
    held: Collection[SessionKey],
    recent: RecentEntries,
    number: int,
) -> Iterator[tuple[Lease, int]]:
    """Yield what is due, but for the deliveries of sessions that are held; as leases, numbered from `number`.

    With each comes the number of the lease before it, where that has run out; else 0.
    """
    rows = connection.execute(_SQL["find_due"], (handler, now, most + len(held)))
    for agent, session, seq, attempts, wanted_at, wait, before in rows.fetchall():
        if (agent, session) in held or (entry := recent.get(seq) or _read(connection, seq, recent)) is None:
            continue
        waited = Wait(wait) if wait else None
        yield Lease(number, handler, attempts, from_microseconds(wanted_at), entry, waited), before
        number += 1
        most -= 1
        if not most:
            break


def write_leases(connection: Connection, leases: Iterable[tuple[Lease, int]]) -> None:
    """Postpone the due dates of what is leased; what a person revived meanwhile goes behind it."""
    for lease, until in leases:
        key = _key(lease)
        connection.execute(_SQL["lease"], (until, lease.number, *key))
        connection.execute(_SQL["go_behind"], key)


def settle(connection: Connection, settlement: Settlement, number: int, now: int) -> bool:
    """Write how an attempt ended; say whether that ended the delivery, whose lease may have gone to another.

    The number is that of its lease in the database.
    """
    key = _key(settlement.lease)
    if settlement.state is DeliveryState.DUE:
        due_at = now if settlement.due_at is None else to_microseconds(settlement.due_at)
        connection.execute(_SQL["postpone"], (due_at, settlement.attempts, settlement.because, *key, number))
        return False
    if not connection.execute(_SQL["remove_pending"], (*key, number)).rowcount:
        return False
    outcome = (settlement.state.value, settlement.attempts, settlement.because, now)
    connection.execute(_SQL["append_settled"], (key.seq, key.handler, *outcome))
    promote(connection, key)
    return True


def end_leases(connection: Connection, now: int) -> None:
    """End the leases of a daemon that is no more."""
    connection.execute(_SQL["end_leases"], (now,))


def next_due(connection: Connection, handler: str, held: Collection[SessionKey] = ()) -> int | None:
    """Return when a handler's next delivery is due, but for those of sessions that are held."""
    rows = connection.execute(_SQL["next_due"], (handler, len(held) + 1)).fetchall()
    return next((due_at for agent, session, due_at in rows if (agent, session) not in held), None)


def read(connection: Connection, *, seq: int | None) -> Iterator[DeliveryRecord]:
    """Yield deliveries, settled and pending, all or those of an entry."""
    first, last = (0, _LAST) if seq is None else (seq, seq)
    yield from map(to_delivery, connection.execute(_SQL["read"], {"first": first, "last": last}))


def read_session(connection: Connection, session: str, agent: str | None) -> Iterator[DeliveryRecord]:
    """Yield a session's deliveries, settled and pending; of one agent, or of each that has it."""
    yield from map(to_delivery, connection.execute(_SQL["read_session"], {"session": session, "agent": agent}))


def read_settled(connection: Connection, since: int) -> Iterator[DeliveryRecord]:
    """Yield deliveries that were settled since a time, in that order, by an index."""
    yield from map(to_delivery, connection.execute(_SQL["read_settled"], (since,)))


def read_dead(connection: Connection, *, seq: int | None, handler: str | None) -> Iterator[DeliveryRecord]:
    """Yield dead letters, by their index."""
    yield from map(to_delivery, connection.execute(_SQL["read_dead"], {"seq": seq, "handler": handler}))


def revive(connection: Connection, dead: DeliveryRecord, now: int) -> bool:
    """Put a dead letter back before whatever waits; False where it is none any more."""
    if not connection.execute(_SQL["revive"], (dead.seq, dead.handler)).rowcount:
        return False
    key = {"handler": dead.handler, "agent": dead.agent, "session": dead.session}
    connection.execute(_SQL["step_back"], (*key.values(), dead.seq))
    connection.execute(_SQL["append_revived"], {**key, "seq": dead.seq, "now": now})
    return True


def drop(connection: Connection, dead: DeliveryRecord, reason: str, now: int) -> bool:
    """Withdraw a dead letter for good; False where it is none any more."""
    return bool(connection.execute(_SQL["drop"], (reason, now, dead.seq, dead.handler)).rowcount)


def count(connection: Connection) -> dict[str, int]:
    """Count deliveries by state."""
    return dict(connection.execute(_SQL["count"]))


def backlog(connection: Connection, handler: str, now: int) -> dict[DeliveryState, int]:
    """Count a handler's pending deliveries by state, up to `BACKLOG_COUNTED` of them."""
    wanted = {"handler": handler, "now": now, "most": limits.BACKLOG_COUNTED}
    counts = connection.execute(_SQL["backlog"], wanted).fetchone()
    return dict(zip((DeliveryState.WAITING, DeliveryState.DUE, DeliveryState.RUNNING), counts, strict=True))


def count_dead(connection: Connection) -> dict[str, int]:
    """Count dead letters by handler."""
    return dict(connection.execute(_SQL["count_dead"]))


def check(connection: Connection) -> Iterator[Finding]:
    """Yield what is wrong with them."""
    yield from (Finding(where, what) for where, what in connection.execute(_SQL["check"]))


def forget(connection: Connection, stays: int) -> None:
    """Forget those of entries before the one that stays."""
    connection.execute(_SQL["forget"], (stays,))


def _read(connection: Connection, seq: int, recent: RecentEntries) -> Entry | None:
    """Read an entry, and keep it for the other handlers that want it."""
    if (entry := entries.read_one(connection, seq)) is not None:
        recent.add(entry)
    return entry


def _key(lease: Lease) -> Key:
    return Key(lease.handler, lease.entry.agent, lease.entry.session, lease.entry.seq)

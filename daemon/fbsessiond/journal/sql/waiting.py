"""Deliveries that wait for their time: clocks, and throttles. Each function runs in the open transaction."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

from fbsessiond.conditions import Throttle
from fbsessiond.dates import iso
from fbsessiond.durations import in_words
from fbsessiond.journal.records import DeliveryState, Draft, Entry, Wait
from fbsessiond.journal.sql import deliveries
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.deliveries import Key
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import MICROSECOND, from_microseconds, to_entry, to_microseconds
from fbsessiond.message import Batch, Origin
from fbsessiond.transition import Kind

_SQL = read_queries("waiting.sql")


def append(connection: Connection, batch: Batch, drafts: Sequence[Draft], first: int) -> set[str]:
    """Write what a batch's entries, numbered from `first`, mean to each handler; return those with something due.

    Most are written at once; but one that has a throttle, and what ends a clock, needs all before it to be there.
    """
    at = to_microseconds(batch.received_at)
    woken: set[str] = set()
    rows: list[tuple[Key, int, Wait | None]] = []
    refused: list[tuple[Key, DeliveryState, str, int]] = []
    has_clocks = False
    for seq, draft in enumerate(drafts, first):
        if draft.change.kind is not Kind.TRANSITION:
            continue
        if has_clocks or any(wanted.throttle for wanted in draft.wanted):
            deliveries.append(connection, rows)
            rows.clear()
        woken |= _end_clocks(connection, batch, draft, seq)
        key_of = partial(Key, agent=batch.agent, session=draft.change.session, seq=seq)
        refused += ((key_of(no.handler), DeliveryState.NOT_WANTED, no.because, at) for no in draft.not_wanted)
        for wanted in draft.wanted:
            key, due_at = key_of(wanted.handler), to_microseconds(wanted.due_at)
            if wanted.throttle is not None:
                _throttled(connection, key, wanted.throttle, at, due_at)
            else:
                rows.append((key, due_at, wanted.wait))
                has_clocks = has_clocks or wanted.wait is not None
            woken.add(wanted.handler)
    deliveries.append(connection, rows)
    deliveries.append_settled(connection, refused)
    return woken


def clocks(connection: Connection, handler: str) -> Iterator[Entry]:
    """Yield the entries of a handler's clocks that haven't fired."""
    yield from map(to_entry, connection.execute(_SQL["entries_of_clocks"], (handler,)))


def wind(connection: Connection, handler: str, clocks: Sequence[tuple[Entry, int]], now: int) -> None:
    """Have exactly these clocks of a handler run, each until its time; what has fired or ended stays as it is."""
    wanted = {Key(handler, entry.agent, entry.session, entry.seq): at for entry, at in clocks}
    running = {Key(*row[:4]): row[4] for row in connection.execute(_SQL["clocks_of_handler"], (handler,)).fetchall()}
    for key in running.keys() - wanted.keys():
        _withdraw(connection, key, "the configuration has no such clock any more", now)
    for key, at in sorted(wanted.items()):
        if key in running:
            connection.execute(_SQL["set_clock"], {**key._asdict(), "at": at})
        elif _is_new(connection, key):
            deliveries.append(connection, [(key, at, Wait.FOR)])


def shift(connection: Connection, by: int) -> None:
    """Move whatever is to happen later, since the machine's time was set."""
    connection.execute(_SQL["shift"], {"by": by})
    connection.execute(_SQL["shift_throttles"], (by,))


def forget(connection: Connection, now: int) -> None:
    """Forget throttles whose pause has ended."""
    connection.execute(_SQL["forget_throttles"], (now,))


def _end_clocks(connection: Connection, batch: Batch, draft: Draft, seq: int) -> set[str]:
    """Withdraw the clocks of a session that leaves its state; return the handlers for which others may be due now.

    One that had ended before, and only hasn't run yet, stays; but where a snapshot found the change, nobody knows when
    the session left the state.
    """
    is_unseen = batch.origin is Origin.SNAPSHOT
    at = to_microseconds(batch.received_at)
    found = {"agent": batch.agent, "session": draft.change.session, "at": at, "unseen": is_unseen, "seq": seq}
    rows = connection.execute(_SQL["clocks_of_session"], found).fetchall()
    for *names, due_at in rows:
        left = f"the session was {draft.change.after} (entry {seq})"
        if is_unseen:
            because = f"{left} when it was seen again: whether it stayed long enough isn't known"
        else:
            because = f"{left} {_duration(due_at - at)} before the clock's end, {iso(from_microseconds(due_at))}"
        _withdraw(connection, Key(*names), because, at)
    return {handler for handler, *_ in rows}


def _throttled(connection: Connection, key: Key, throttle: Throttle, at: int, due_at: int) -> None:
    """Write a delivery that is counted with others, of which only one is wanted."""
    counting = connection.execute(_SQL["throttle"], (key.handler, throttle.group, at)).fetchone()
    until = at + throttle.pause // MICROSECOND
    if counting is None:
        due_at = until if throttle.is_last else due_at
    elif throttle.is_last:
        seq, until = counting
        due_at = until
        for *names, _ in connection.execute(_SQL["held_by_throttle"], (seq, key.handler)).fetchall():
            _withdraw(connection, Key(*names), f"once_after: entry {key.seq} takes its place", at)
    else:
        seq, until = counting
        because = f"once_within: entry {seq} counted, and for {_duration(until - at)} more none does"
        deliveries.append_settled(connection, [(key, DeliveryState.NOT_WANTED, because, at)])
        return
    connection.execute(_SQL["set_throttle"], (key.handler, throttle.group, until, key.seq))
    deliveries.append(connection, [(key, due_at, Wait.ONCE_AFTER if throttle.is_last else None)])


def _withdraw(connection: Connection, key: Key, because: str, at: int) -> None:
    connection.execute(_SQL["remove"], key)
    deliveries.append_settled(connection, [(key, DeliveryState.WITHDRAWN, because, at)])
    deliveries.promote(connection, key)


def _is_new(connection: Connection, key: Key) -> bool:
    """Say whether a handler never had an entry; that it didn't want it once is forgotten."""
    connection.execute(_SQL["forget_refusal"], (key.seq, key.handler))
    had = connection.execute(_SQL["fate"], {"seq": key.seq, "handler": key.handler}).fetchone()
    return had is None


def _duration(microseconds: int) -> str:
    return in_words(timedelta(microseconds=microseconds))

"""Entries, and what is known of sessions. Each function runs in the transaction that is open."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from fbsessiond.finding import Finding
from fbsessiond.journal.documents import own_part
from fbsessiond.journal.records import Draft, Entry, RunningClock, SessionRecord
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import (
    CHANGED,
    Row,
    checksum,
    entry_row,
    from_microseconds,
    to_entry,
    to_microseconds,
)
from fbsessiond.message import Batch
from fbsessiond.notification import Document
from fbsessiond.transition import Kind, state_of

_SQL = read_queries("entries.sql")
_PROGRESS_EVERY = 1_000
_OLDER_IN_A_ROW = 1_000
"""So many entries that are older, and what lies before them is too: few come late, out of the quarantine."""


def last_seq(connection: Connection) -> int:
    """Return the number of the last entry; 0 where there is none."""
    number: int = connection.execute(_SQL["last_seq"]).fetchone()[0]
    return number


def append(connection: Connection, batch: Batch, drafts: Sequence[Draft], first: int) -> None:
    """Write a batch's entries, numbered from `first`, and what is known of their sessions from here on."""
    received_at = to_microseconds(batch.received_at)
    numbered = list(enumerate(drafts, first))
    connection.executemany(_SQL["append"], [entry_row(seq, batch, received_at, draft) for seq, draft in numbered])
    connection.executemany(
        _SQL["keep_session"],
        [
            (batch.agent, draft.change.session, state_of(draft.change.document), received_at, seq)
            for seq, draft in numbered
            if draft.change.document is not None
        ],
    )


def known(connection: Connection, agent: str, session: str) -> Document | None:
    """Return what is known of a session: its last entry's document, or the one that outlived its entry."""
    row = connection.execute(_SQL["known"], (agent, session)).fetchone()
    if row is None:
        return None
    kept, document, notification = row
    merged = kept if kept is not None else document
    return msgspec.json.decode(merged) if merged is not None else own_part(notification, session)


def open_sessions(connection: Connection, agent: str) -> dict[str, str]:
    """Return an agent's sessions that could still change, with their states."""
    return dict(connection.execute(_SQL["open_sessions"], (agent,)))


def standing(connection: Connection) -> list[Entry]:
    """Return, of each session that could still change, the entry that brought it to its state, where it is there."""
    return [to_entry(row) for row in connection.execute(_SQL["standing"])]


def read_sessions(connection: Connection, *, is_open: bool) -> Iterator[SessionRecord]:
    """Yield sessions as last known: by their last entries, or, if only open ones are wanted, in no order."""
    rows = connection.execute(_SQL["read_open_sessions" if is_open else "read_sessions"])
    for agent, session, state, since, seq in rows:
        clock = connection.execute(_SQL["next_clock"], (agent, session)).fetchone()
        yield SessionRecord(
            agent,
            session,
            state,
            None if since is None else from_microseconds(since),
            seq,
            None if clock is None else RunningClock(clock[0], from_microseconds(clock[1])),
        )


def shown(connection: Connection, agent: str, session: str, after: int) -> bool:
    """Say whether a notification after a place showed the session, and not only its messages."""
    return bool(connection.execute(_SQL["shown"], (session, agent, after)).fetchone()[0])


def notifications(connection: Connection, agent: str, session: str, after: int) -> list[tuple[int, bytes]]:
    """Return a session's notifications after a place, with their places."""
    return connection.execute(_SQL["notifications"], (session, agent, after)).fetchall()


def read(connection: Connection, *, session: str | None, agent: str | None, after_seq: int) -> Iterator[Entry]:
    """Yield entries as they are read: however many there are, few are in memory."""
    query = _SQL["read"] if session is None else _SQL["read_session"]
    parameters = {"session": session, "agent": agent, "after_seq": after_seq}
    yield from map(to_entry, connection.execute(query, parameters))


def read_one(connection: Connection, seq: int) -> Entry | None:
    """Return an entry by its number; None where it isn't there."""
    row = connection.execute(_SQL["read_one"], (seq,)).fetchone()
    return None if row is None else to_entry(row)


def place(connection: Connection, at: int) -> int:
    """Return the number of the last entry before those that were received at a time or later."""
    first, older = last_seq(connection) + 1, 0
    for seq, received_at in connection.execute(_SQL["read_back"]):
        if received_at >= at:
            first, older = seq, 0
        elif (older := older + 1) == _OLDER_IN_A_ROW:
            break
    return first - 1


def count(connection: Connection) -> Row:
    """Return how many there are, the first and the last number, and when those two were received."""
    row: Row = connection.execute(_SQL["count"]).fetchone()
    return row


def count_kinds(connection: Connection) -> dict[str, int]:
    """Count entries by kind."""
    return dict(connection.execute(_SQL["count_kinds"]))


def count_sessions(connection: Connection) -> int:
    """Count the sessions that are known."""
    number: int = connection.execute(_SQL["count_sessions"]).fetchone()[0]
    return number


def check(connection: Connection, progress: Callable[[int, int], None]) -> Iterator[Finding]:
    """Yield what is wrong with each entry: its checksum, its number, its predecessor."""
    entries = count(connection)[0]
    first = expected = 0
    states: dict[tuple[str, str], str | None] = {}
    for done, row in enumerate(connection.execute(_SQL["read"], {"agent": None, "after_seq": 0})):
        if done % _PROGRESS_EVERY == 0:
            progress(done, entries)
        where, session = f"entry {row[0]}", (row[3], row[5])
        first = first or row[0]
        if row[0] != (expected or first):
            yield Finding(where, f"follows entry {expected - 1}: entries between them are missing")
        expected = row[0] + 1
        if checksum(row[:-1]) != row[-1]:
            yield Finding(where, CHANGED)
        elif row[6] == Kind.TRANSITION and (before := states.get(session, row[7] if first > 1 else None)) != row[7]:
            yield Finding(where, f"session {row[5]} changes from {row[7]}, but was {before} before")
        if row[6] == Kind.TRANSITION:
            states[session] = row[8]
    progress(entries, entries)


def check_sessions(connection: Connection) -> Iterator[Finding]:
    """Yield sessions whose document was changed, or is nowhere."""
    for row in connection.execute(_SQL["check_documents"]):
        if checksum(row[:-1]) != row[-1]:
            yield Finding(f"session {row[1]}", CHANGED)
    yield from (Finding(where, what) for where, what in connection.execute(_SQL["check_sessions"]))

"""The journal's readers: the verbs that look at it, and the few things that a person changes."""

import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.gap import Gap, Watched
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import (
    Act,
    ActKind,
    Backlog,
    DeliveryRecord,
    Entry,
    FollowUpRecord,
    GivenUp,
    Quarantined,
    SessionRecord,
    Statistics,
)
from fbsessiond.journal.sqlite import acts, deliveries, dictionaries, entries, follow_ups, gaps, quarantine, reveals
from fbsessiond.journal.sqlite.file import MEMORY, fact, open_to_read, open_to_write, schema
from fbsessiond.journal.sqlite.rows import from_microseconds, to_microseconds
from fbsessiond.reveal import Reveal

T = TypeVar("T")


class SqliteReader(Reader):
    """A look at a journal's file, while a daemon writes it or not."""

    def __init__(self, path: Path, connection: sqlite3.Connection | None = None) -> None:
        """Open the file; or look through the connection of a journal in memory."""
        self._path = path
        self._connection = connection or open_to_read(path)
        self._is_own = connection is None

    def entries(self, *, session: str | None = None, agent: str | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """Yield entries as they are read: however many there are, few are in memory."""
        yield from self._guarded(
            lambda: entries.read(self._connection, session=session, agent=agent, after_seq=after_seq)
        )

    def place(self, at: datetime) -> int:
        """Read back from the last entry, which takes as long as what came since is long."""
        with self._reading() as connection:
            return entries.place(connection, to_microseconds(at))

    def version(self) -> int:
        """Add up the changes of other connections and those of this one, which a journal in memory shares."""
        with self._reading() as connection:
            (others,) = connection.execute("PRAGMA data_version").fetchone()
            return int(others) + connection.total_changes

    def sessions(self, *, is_open: bool = False) -> Iterator[SessionRecord]:
        """Yield sessions by an index, each with its next clock."""
        yield from self._guarded(lambda: entries.read_sessions(self._connection, is_open=is_open))

    def deliveries(
        self, *, seq: int | None = None, session: str | None = None, agent: str | None = None
    ) -> Iterator[DeliveryRecord]:
        """Yield settled and pending deliveries, those of an entry or a session by their index."""
        if session is None:
            yield from self._guarded(lambda: deliveries.read(self._connection, seq=seq))
        else:
            found = self._guarded(lambda: deliveries.read_session(self._connection, session, agent))
            yield from (one for one in found if seq in {None, one.seq})

    def settled(self, since: datetime) -> Iterator[DeliveryRecord]:
        """Yield settled deliveries, by an index."""
        yield from self._guarded(lambda: deliveries.read_settled(self._connection, to_microseconds(since)))

    def dead(self, *, seq: int | None = None, handler: str | None = None) -> Iterator[DeliveryRecord]:
        """Yield dead letters, by their index."""
        yield from self._guarded(lambda: deliveries.read_dead(self._connection, seq=seq, handler=handler))

    def follow_ups(
        self, *, seq: int | None = None, session: str | None = None, agent: str | None = None
    ) -> Iterator[FollowUpRecord]:
        """Yield follow-ups, those of an entry or a session by their index."""
        if session is None:
            yield from self._guarded(lambda: follow_ups.read(self._connection, seq=seq))
        else:
            found = self._guarded(lambda: follow_ups.read_session(self._connection, session, agent))
            yield from (one for one in found if seq in {None, one.seq})

    def changed_follow_ups(self, since: datetime) -> Iterator[FollowUpRecord]:
        """Yield follow-ups, by an index."""
        yield from self._guarded(lambda: follow_ups.read_changed(self._connection, to_microseconds(since)))

    def stuck_follow_ups(self, *, seq: int | None = None) -> Iterator[FollowUpRecord]:
        """Yield parked and failed follow-ups."""
        yield from self._guarded(lambda: follow_ups.read_stuck(self._connection, seq=seq))

    def watched(self, *, agent: str | None = None) -> Iterator[Watched]:
        """Yield the agents' rows."""
        yield from self._guarded(lambda: iter(gaps.watched(self._connection, agent)))

    def gaps(self, *, agent: str | None = None) -> Iterator[Gap]:
        """Yield the ledger's rows."""
        yield from self._guarded(lambda: gaps.read(self._connection, agent))

    def quarantined(self, *, seq: int | None = None, after_seq: int = 0) -> Iterator[Quarantined]:
        """Yield what is in the quarantine, what waits to be tried again included."""
        yield from self._guarded(lambda: quarantine.read(self._connection, seq=seq, after_seq=after_seq))

    def statistics(self) -> Statistics:
        """Count by full scans of small columns: seconds for millions of entries."""
        with self._reading() as connection:
            count, first, last, first_at, last_at = entries.count(connection)
            return Statistics(
                entries=count,
                first_seq=first,
                last_seq=last,
                first_received_at=None if first_at is None else from_microseconds(first_at),
                last_received_at=None if last_at is None else from_microseconds(last_at),
                kinds=entries.count_kinds(connection),
                sessions=entries.count_sessions(connection),
                deliveries=deliveries.count(connection),
                follow_ups=dict(follow_ups.count(connection)),
                quarantined=quarantine.count(connection),
                bytes=_bytes(connection),
            )

    def backlog(self, handlers: Sequence[str], now: datetime) -> Backlog:
        """Count by indexes, and of each handler's deliveries a bounded number."""
        at = to_microseconds(now)
        with self._reading() as connection:
            return Backlog(
                deliveries={name: deliveries.backlog(connection, name, at) for name in handlers},
                due_for={name: _since(deliveries.next_due(connection, name), at) for name in handlers},
                dead=deliveries.count_dead(connection),
                follow_ups=follow_ups.backlog(connection),
                follow_ups_due_for=_since(follow_ups.next_due(connection), at),
                quarantined=quarantine.count(connection),
                bytes=_bytes(connection),
            )

    def verify(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Check SQLite's own structure, then each entry (checksum, number, predecessor), then the rest.

        Text that isn't UTF-8 any more is read in spite of that, so that its entry can be named. Where all of that finds
        nothing, everything else is read once.
        """
        is_sound = True
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            for check in self._checks(progress):
                for finding in self._guarded(check):
                    is_sound = False
                    yield finding
        except JournalError as error:
            is_sound = False
            yield Finding("the file", str(error))
        finally:
            self._connection.text_factory = str
        if is_sound:
            yield from self._unreadable()

    def redaction_key(self) -> bytes:
        """Return the journal's own key, made with it."""
        with self._reading() as connection:
            return fact(connection, "redaction_key")

    def act(self, on: GivenUp, kind: ActKind, *, by: str, at: datetime, because: str | None = None) -> bool:
        """Do it in a transaction of its own, which writes down who did it."""
        with self._changing() as connection:
            return acts.carry_out(connection, on, Act(on.id, kind, at, by, because))

    def acts(self, *, subject: str | None = None, since: datetime | None = None) -> Iterator[Act]:
        """Yield the table's rows, those of a subject or since a time by their index."""
        begin = None if since is None else to_microseconds(since)
        yield from self._guarded(lambda: acts.read(self._connection, subject=subject, since=begin))

    def note_reveal(self, at: datetime, by: str, command: str) -> None:
        """Write it in a transaction of its own."""
        with self._changing() as connection:
            reveals.note(connection, at, by, command)

    def reveals(self) -> Iterator[Reveal]:
        """Yield the table's rows."""
        yield from self._guarded(lambda: reveals.read(self._connection))

    def close(self) -> None:
        """Close the connection, where it is this reader's own."""
        if self._is_own:
            self._connection.close()

    def _guarded(self, read: Callable[[], Iterator[T]]) -> Iterator[T]:
        with self._reading():
            yield from read()

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Tell what can't be read as an error of the journal."""
        try:
            yield self._connection
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise JournalError(
                f"{self._path}: can't read the journal: {error}; see `fbsessiond journal verify`"
            ) from error

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection, None, None]:
        """Begin and end a short transaction of a person's, which waits up to 5 s for the daemon's to end.

        Its connection is its own: SQLite lets none wait that still reads what was there before.
        """
        with closing(open_to_read(self._path)) if self._is_own else nullcontext(self._connection) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                connection.rollback()
                raise JournalError(f"{self._path}: can't write the journal: {error}") from error

    def _checks(self, progress: Callable[[int, int], None]) -> Iterator[Callable[[], Iterator[Finding]]]:
        connection = self._connection
        yield lambda: _structure(connection)
        yield lambda: entries.check(connection, progress)
        parts = (
            dictionaries.check,
            quarantine.check,
            entries.check_sessions,
            deliveries.check,
            follow_ups.check,
            gaps.check,
        )
        for part in parts:
            yield partial(part, connection)

    def _unreadable(self) -> Iterator[Finding]:
        """Read it all as everybody else will, and tell what stands in the way: a value that somebody wrote by hand."""
        reads = (self.deliveries, self.follow_ups, self.gaps, self.watched, self.quarantined, self.acts, self.reveals)
        for read in reads:
            try:
                for _ in read():
                    pass
            except JournalError as error:
                yield Finding(read.__name__.replace("_", "-"), f"can't be read: {error.__cause__}")


def _since(due_at: int | None, now: int) -> timedelta:
    """Return for how long something has been due."""
    return timedelta(microseconds=0 if due_at is None else max(0, now - due_at))


def _bytes(connection: sqlite3.Connection) -> int:
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def _structure(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield what SQLite finds wrong with its file, and where its schema isn't the one that it was made with."""
    for (text,) in connection.execute("PRAGMA integrity_check"):
        if text != "ok":
            yield Finding("the file", text)
    with closing(open_to_write(MEMORY)) as pristine:
        made, there = schema(pristine), schema(connection)
    for name in sorted({name for name in made | there if made.get(name) != there.get(name)}):
        yield Finding("the schema", f"{name!r} isn't as it was made")

"""The journal's readers, whichever database it is in: what each verb reads, and what little a person changes."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
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
from fbsessiond.journal.sql import acts, deliveries, dictionaries, entries, follow_ups, gaps, quarantine, reveals
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.facts import fact
from fbsessiond.journal.sql.rows import from_microseconds, to_microseconds
from fbsessiond.reveal import Reveal

T = TypeVar("T")


class SqlReader(Reader):
    """A look at a journal in a database. An engine says how it is read, and how a person's change is made."""

    container: str
    """What `verify` calls what the journal is in."""

    def entries(self, *, session: str | None = None, agent: str | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """Yield entries as they are read: however many there are, few are in memory."""
        yield from self._guarded(
            lambda connection: entries.read(connection, session=session, agent=agent, after_seq=after_seq)
        )

    def place(self, at: datetime) -> int:
        """Read back from the last entry, which takes as long as what came since is long."""
        with self._reading() as connection:
            return entries.place(connection, to_microseconds(at))

    def sessions(self, *, is_open: bool = False) -> Iterator[SessionRecord]:
        """Yield sessions by an index, each with its next clock."""
        yield from self._guarded(lambda connection: entries.read_sessions(connection, is_open=is_open))

    def deliveries(
        self, *, seq: int | None = None, session: str | None = None, agent: str | None = None
    ) -> Iterator[DeliveryRecord]:
        """Yield settled and pending deliveries, those of an entry or a session by their index."""
        if session is None:
            yield from self._guarded(lambda connection: deliveries.read(connection, seq=seq))
        else:
            found = self._guarded(lambda connection: deliveries.read_session(connection, session, agent))
            yield from (one for one in found if seq in {None, one.seq})

    def settled(self, since: datetime) -> Iterator[DeliveryRecord]:
        """Yield settled deliveries, by an index."""
        yield from self._guarded(lambda connection: deliveries.read_settled(connection, to_microseconds(since)))

    def dead(self, *, seq: int | None = None, handler: str | None = None) -> Iterator[DeliveryRecord]:
        """Yield dead letters, by their index."""
        yield from self._guarded(lambda connection: deliveries.read_dead(connection, seq=seq, handler=handler))

    def follow_ups(
        self, *, seq: int | None = None, session: str | None = None, agent: str | None = None
    ) -> Iterator[FollowUpRecord]:
        """Yield follow-ups, those of an entry or a session by their index."""
        if session is None:
            yield from self._guarded(lambda connection: follow_ups.read(connection, seq=seq))
        else:
            found = self._guarded(lambda connection: follow_ups.read_session(connection, session, agent))
            yield from (one for one in found if seq in {None, one.seq})

    def changed_follow_ups(self, since: datetime) -> Iterator[FollowUpRecord]:
        """Yield follow-ups, by an index."""
        yield from self._guarded(lambda connection: follow_ups.read_changed(connection, to_microseconds(since)))

    def stuck_follow_ups(self, *, seq: int | None = None) -> Iterator[FollowUpRecord]:
        """Yield parked and failed follow-ups."""
        yield from self._guarded(lambda connection: follow_ups.read_stuck(connection, seq=seq))

    def watched(self, *, agent: str | None = None, is_in_doubt: bool = False) -> Iterator[Watched]:
        """Yield the agents' rows."""
        yield from self._guarded(lambda connection: iter(gaps.watched(connection, agent, is_in_doubt=is_in_doubt)))

    def gaps(self, *, agent: str | None = None) -> Iterator[Gap]:
        """Yield the ledger's rows."""
        yield from self._guarded(lambda connection: gaps.read(connection, agent))

    def quarantined(self, *, seq: int | None = None, after_seq: int = 0) -> Iterator[Quarantined]:
        """Yield what is in the quarantine, what waits to be tried again included."""
        yield from self._guarded(lambda connection: quarantine.read(connection, seq=seq, after_seq=after_seq))

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
                follow_ups=follow_ups.count(connection),
                quarantined=quarantine.count(connection),
                bytes=self._bytes(connection),
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
                bytes=self._bytes(connection),
            )

    def verify(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Check the database's own structure, then each entry (checksum, number, predecessor), then the rest.

        Where all of that finds nothing, everything else is read once.
        """
        is_sound = True
        for finding in self._checked(progress):
            is_sound = False
            yield finding
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
        yield from self._guarded(lambda connection: acts.read(connection, subject=subject, since=begin))

    def note_reveal(self, at: datetime, by: str, command: str) -> None:
        """Write it in a transaction of its own."""
        with self._changing() as connection:
            reveals.note(connection, at, by, command)

    def reveals(self) -> Iterator[Reveal]:
        """Yield the table's rows."""
        yield from self._guarded(reveals.read)

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]:
        """Hold what reads the journal; tell what can't be read as an error of the journal."""

    @abstractmethod
    def _changing(self) -> AbstractContextManager[Connection]:
        """Begin and end a short transaction of a person's."""

    @abstractmethod
    def _bytes(self, connection: Connection) -> int:
        """Return how large the journal is."""

    @abstractmethod
    def _structure(self, connection: Connection) -> Iterator[Finding]:
        """Yield what is wrong with the database itself."""

    def _guarded(self, read: Callable[[Connection], Iterator[T]]) -> Iterator[T]:
        with self._reading() as connection:
            yield from read(connection)

    def _checked(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Yield what is wrong, up to what can't be read at all."""
        checks = (
            self._structure,
            partial(entries.check, progress=progress),
            *(
                dictionaries.check,
                quarantine.check,
                entries.check_sessions,
                deliveries.check,
                follow_ups.check,
                gaps.check,
            ),
        )
        try:
            for check in checks:
                yield from self._guarded(check)
        except JournalError as error:
            yield Finding(self.container, str(error))

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

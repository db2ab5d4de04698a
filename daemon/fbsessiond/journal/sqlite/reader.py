"""The journal's readers: the verbs that look at it, and the few things that a person changes."""

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord, Entry, FollowUpRecord, Quarantined, Statistics
from fbsessiond.journal.sqlite import follow_ups
from fbsessiond.journal.sqlite.file import open_to_read, read_queries
from fbsessiond.journal.sqlite.rows import (
    Row,
    checksum,
    from_microseconds,
    quarantine_sum,
    to_delivery,
    to_entry,
    to_microseconds,
    to_quarantined,
)
from fbsessiond.transition import Kind

_SQL = read_queries()
_PROGRESS_EVERY = 1_000
_LAST = 2**63 - 1
_CHANGED = "its checksum doesn't fit: it was changed after it was written"

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
        query = _SQL["read_entries"] if session is None else _SQL["read_session"]
        yield from self._read(query, {"session": session, "agent": agent, "after_seq": after_seq}, to_entry)

    def deliveries(self, *, seq: int | None = None) -> Iterator[DeliveryRecord]:
        """Yield settled and pending deliveries."""
        first, last = (0, _LAST) if seq is None else (seq, seq)
        yield from self._read(_SQL["read_deliveries"], {"first": first, "last": last}, to_delivery)

    def dead(self, *, seq: int | None = None, handler: str | None = None) -> Iterator[DeliveryRecord]:
        """Yield dead letters, by their index."""
        yield from self._read(_SQL["read_dead"], {"seq": seq, "handler": handler}, to_delivery)

    def follow_ups(self, *, seq: int | None = None, session: str | None = None) -> Iterator[FollowUpRecord]:
        """Yield follow-ups, all or those of an entry or a session."""
        yield from self._guarded(lambda: follow_ups.read(self._connection, seq=seq, session=session))

    def stuck_follow_ups(self, *, seq: int | None = None) -> Iterator[FollowUpRecord]:
        """Yield parked and failed follow-ups."""
        yield from self._guarded(lambda: follow_ups.read_stuck(self._connection, seq=seq))

    def quarantined(self, *, seq: int | None = None) -> Iterator[Quarantined]:
        """Yield what is in the quarantine, what waits to be tried again included."""
        yield from self._read(_SQL["read_quarantined"], {"seq": seq}, to_quarantined)

    def statistics(self) -> Statistics:
        """Count by full scans of small columns: seconds for millions of entries."""
        entries, first, last, first_at, last_at = next(self._rows(_SQL["count_entries"]))
        return Statistics(
            entries=entries,
            first_seq=first,
            last_seq=last,
            first_received_at=None if first_at is None else from_microseconds(first_at),
            last_received_at=None if last_at is None else from_microseconds(last_at),
            kinds=dict(self._rows(_SQL["count_kinds"])),
            sessions=self._value(_SQL["count_sessions"]),
            deliveries=dict(self._rows(_SQL["count_deliveries"])),
            follow_ups=dict(self._guarded(lambda: follow_ups.count(self._connection))),
            quarantined=self._value(_SQL["count_quarantined"]),
            bytes=self._value("PRAGMA page_count") * self._value("PRAGMA page_size"),
        )

    def verify(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Check SQLite's own structure, then each entry (checksum, number, predecessor), then the rest.

        Text that isn't UTF-8 any more is read in spite of that, so that its entry can be named.
        """
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            for (text,) in self._rows("PRAGMA integrity_check"):
                if text != "ok":
                    yield Finding("the file", text)
            yield from self._verify_entries(progress)
            yield from self._verify_others()
        except JournalError as error:
            yield Finding("the file", str(error))
        finally:
            self._connection.text_factory = str

    def redaction_key(self) -> bytes:
        """Return the journal's own key, made with it."""
        key: bytes = self._value(_SQL["fact"], ("redaction_key",))
        return key

    def retry_dead(self, record: DeliveryRecord, now: datetime) -> bool:
        """Put a dead letter back before whatever waits, in one transaction."""
        key = {"handler": record.handler, "agent": record.agent, "session": record.session}
        with self._changing() as connection:
            if not connection.execute(_SQL["revive_dead"], (record.seq, record.handler)).rowcount:
                return False
            connection.execute(_SQL["step_back"], (*key.values(), record.seq))
            connection.execute(_SQL["revive_delivery"], {**key, "seq": record.seq, "now": to_microseconds(now)})
        return True

    def drop_dead(self, record: DeliveryRecord, reason: str, now: datetime) -> bool:
        """Mark a dead letter as withdrawn."""
        parameters = (reason, to_microseconds(now), record.seq, record.handler)
        with self._changing() as connection:
            return bool(connection.execute(_SQL["drop_dead"], parameters).rowcount)

    def retry_follow_up(self, record: FollowUpRecord, now: datetime) -> bool:
        """Intend a parked or failed follow-up anew, in one transaction."""
        with self._changing() as connection:
            return follow_ups.revive(connection, record, to_microseconds(now))

    def drop_follow_up(self, record: FollowUpRecord, reason: str, now: datetime) -> bool:
        """Mark a parked or failed follow-up as withdrawn."""
        with self._changing() as connection:
            return follow_ups.drop(connection, record, reason, to_microseconds(now))

    def retry_quarantined(self, seq: int) -> bool:
        """Mark a quarantined message: whoever writes the journal reads it again."""
        with self._changing() as connection:
            return bool(connection.execute(_SQL["retry_quarantined"], (seq,)).rowcount)

    def close(self) -> None:
        """Close the connection, where it is this reader's own."""
        if self._is_own:
            self._connection.close()

    def _read(self, query: str, parameters: Any, to_record: Callable[[Row], T]) -> Iterator[T]:
        return self._guarded(lambda: map(to_record, self._connection.execute(query, parameters)))

    def _guarded(self, read: Callable[[], Iterator[T]]) -> Iterator[T]:
        try:
            yield from read()
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise JournalError(
                f"{self._path}: can't read the journal: {error}; see `fbsessiond journal verify`"
            ) from error

    def _rows(self, query: str, parameters: Any = ()) -> Iterator[Row]:
        return self._read(query, parameters, tuple)

    def _value(self, query: str, parameters: Any = ()) -> Any:
        return next(self._rows(query, parameters))[0]

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

    def _verify_entries(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        count = next(self._rows(_SQL["count_entries"]))[0]
        first = expected = 0
        states: dict[tuple[str, str], str | None] = {}
        for done, row in enumerate(self._rows(_SQL["read_entries"], {"agent": None, "after_seq": 0})):
            if done % _PROGRESS_EVERY == 0:
                progress(done, count)
            where, session = f"entry {row[0]}", (row[3], row[5])
            first = first or row[0]
            if row[0] != (expected or first):
                yield Finding(where, f"follows entry {expected - 1}: entries between them are missing")
            expected = row[0] + 1
            if checksum(row[:-1]) != row[-1]:
                yield Finding(where, _CHANGED)
            elif row[6] == Kind.TRANSITION and (before := states.get(session, row[7] if first > 1 else None)) != row[7]:
                yield Finding(where, f"session {row[5]} changes from {row[7]}, but was {before} before")
            if row[6] == Kind.TRANSITION:
                states[session] = row[8]
        progress(count, count)

    def _verify_others(self) -> Iterator[Finding]:
        for row in self._rows(_SQL["check_quarantine"]):
            if checksum(quarantine_sum(row[:-1])) != row[-1]:
                yield Finding(f"quarantine {row[0]}", _CHANGED)
        for row in self._rows(_SQL["check_documents"]):
            if checksum(row[:-1]) != row[-1]:
                yield Finding(f"session {row[1]}", _CHANGED)
        for name in ("check_pending", "check_sessions"):
            yield from (Finding(where, what) for where, what in self._rows(_SQL[name]))
        yield from self._guarded(lambda: follow_ups.check(self._connection))

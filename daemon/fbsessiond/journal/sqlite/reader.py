"""The journal's readers: the verbs that look at it, and the few things that a person changes."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord, Entry, Quarantined, Statistics
from fbsessiond.journal.sqlite.file import fact, open_to_read, read_queries
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
        for row in self._rows(query, {"session": session, "agent": agent, "after_seq": after_seq}):
            yield to_entry(row)

    def deliveries(self, *, seq: int | None = None) -> Iterator[DeliveryRecord]:
        """Yield settled and pending deliveries."""
        yield from map(to_delivery, self._rows(_SQL["read_deliveries"], {"seq": seq}))

    def dead(self, *, seq: int | None = None, handler: str | None = None) -> Iterator[DeliveryRecord]:
        """Yield dead letters, by their index."""
        yield from map(to_delivery, self._rows(_SQL["read_dead"], {"seq": seq, "handler": handler}))

    def quarantined(self, *, seq: int | None = None) -> Iterator[Quarantined]:
        """Yield what is in the quarantine, what waits to be tried again included."""
        yield from map(to_quarantined, self._rows(_SQL["read_quarantined"], {"seq": seq}))

    def statistics(self) -> Statistics:
        """Count by full scans of small columns: seconds for millions of entries."""
        entries, first, last, first_at, last_at = next(self._rows(_SQL["count_entries"]))
        pages, size = (next(self._rows(f"PRAGMA {name}"))[0] for name in ("page_count", "page_size"))
        return Statistics(
            entries=entries,
            first_seq=first,
            last_seq=last,
            first_received_at=None if first_at is None else from_microseconds(first_at),
            last_received_at=None if last_at is None else from_microseconds(last_at),
            kinds=dict(self._rows(_SQL["count_kinds"])),
            sessions=next(self._rows("SELECT count(*) FROM sessions"))[0],
            deliveries=dict(self._rows(_SQL["count_deliveries"])),
            quarantined=next(self._rows("SELECT count(*) FROM quarantine WHERE state <> 'released'"))[0],
            bytes=pages * size,
        )

    def verify(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Check SQLite's own structure, then each entry (checksum, number, predecessor), then the rest."""
        for (text,) in self._rows("PRAGMA integrity_check"):
            if text != "ok":
                yield Finding("the file", text)
        yield from self._verify_entries(progress)
        yield from self._verify_quarantine()
        for name in ("check_pending", "check_sessions"):
            yield from (Finding(where, what) for where, what in self._rows(_SQL[name]))

    def redaction_key(self) -> bytes:
        """Return the journal's own key, made with it."""
        return fact(self._connection, "redaction_key")

    def retry_dead(self, record: DeliveryRecord, now: datetime) -> bool:
        """Put a dead letter back before whatever waits, in one transaction."""
        key = {"handler": record.handler, "agent": record.agent, "session": record.session}
        with self._transaction():
            if not self._change(_SQL["revive_dead"], (record.seq, record.handler)):
                return False
            self._change(_SQL["step_back"], (*key.values(), record.seq))
            self._change(_SQL["revive_delivery"], {**key, "seq": record.seq, "now": to_microseconds(now)})
        return True

    def drop_dead(self, record: DeliveryRecord, reason: str, now: datetime) -> bool:
        """Mark a dead letter as withdrawn."""
        with self._transaction():
            parameters = (reason, to_microseconds(now), record.seq, record.handler)
            return bool(self._change(_SQL["drop_dead"], parameters))

    def retry_quarantined(self, seq: int) -> bool:
        """Mark a quarantined message: whoever writes the journal reads it again."""
        with self._transaction():
            return bool(self._change(_SQL["retry_quarantined"], (seq,)))

    def close(self) -> None:
        """Close the connection, where it is this reader's own."""
        if self._is_own:
            self._connection.close()

    def _rows(self, query: str, parameters: Any = ()) -> Iterator[Row]:
        try:
            yield from self._connection.execute(query, parameters)
        except sqlite3.Error as error:
            raise JournalError(
                f"{self._path}: can't read the journal: {error}; see `fbsessiond journal verify`"
            ) from error

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection, self._path)

    def _change(self, query: str, parameters: Any) -> int:
        return self._connection.execute(query, parameters).rowcount

    def _verify_entries(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        count = next(self._rows("SELECT count(*) FROM entries"))[0]
        expected: int | None = None
        states: dict[tuple[str, str], str | None] = {}
        for done, row in enumerate(self._rows(_SQL["read_entries"], {"session": None, "agent": None, "after_seq": 0})):
            if done % _PROGRESS_EVERY == 0:
                progress(done, count)
            where = f"entry {row[0]}"
            if expected is not None and row[0] != expected:
                yield Finding(where, f"follows entry {expected - 1}: entries between them are missing")
            expected = row[0] + 1
            if checksum(row[:-1]) != row[-1]:
                yield Finding(where, "its checksum doesn't fit: it was changed after it was written")
            elif row[6] == Kind.TRANSITION:
                session = (row[3], row[5])
                if session in states and states[session] != row[7]:
                    yield Finding(where, f"session {row[5]} changes from {row[7]}, but was {states[session]} before")
                states[session] = row[8]
        progress(count, count)

    def _verify_quarantine(self) -> Iterator[Finding]:
        query = "SELECT seq, received_at, origin, agent, channel, error, raw, checksum FROM quarantine ORDER BY seq"
        for row in self._rows(query):
            if checksum(quarantine_sum(row[:-1])) != row[-1]:
                yield Finding(f"quarantine {row[0]}", "its checksum doesn't fit: it was changed after it was written")


class _Transaction:
    """A short transaction of a person's: it waits up to 5 s for the daemon's to end."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def __enter__(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._execute("COMMIT" if kind is None else "ROLLBACK")

    def _execute(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error as error:
            raise JournalError(f"{self._path}: can't write the journal: {error}") from error

"""The journal's writer.

A transaction runs in the loop's own thread: on a disk that syncs in less than about 0.3 ms that is faster than any
hand-over to another thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from fbsessiond.errors import JournalError
from fbsessiond.journal.interface import Reader, Timed
from fbsessiond.journal.records import DiskSpace, Draft, Lease, Misfit, Settlement
from fbsessiond.journal.sql import deliveries, entries, follow_ups, quarantine
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.engine import SqlJournal, point_in_time
from fbsessiond.journal.sql.facts import fact
from fbsessiond.journal.sql.retention import BITE_ENTRIES
from fbsessiond.journal.sql.rows import to_microseconds
from fbsessiond.journal.sqlite.file import MEMORY, Lock, Log, give_back, open_to_write, space_at, used_bytes
from fbsessiond.journal.sqlite.leases import WRITTEN_WITHIN, Leases
from fbsessiond.journal.sqlite.reader import SqliteReader
from fbsessiond.message import Batch

T = TypeVar("T")

_BITE_PAGES = 4 * BITE_ENTRIES
_LAST_PAGES = 10_000


class SqliteJournal(SqlJournal):
    """A journal in one SQLite file, written by one process."""

    def __init__(self, path: Path, now: datetime, *, is_claimed: bool = False) -> None:
        """Open the file, made or migrated if need be; deliveries that an earlier process had leased are due now.

        The right to write it is taken with it, unless the caller has it already.
        """
        super().__init__()
        self._path = path
        with ExitStack() as resources:
            if path != MEMORY and not is_claimed:
                resources.callback(Lock(path).release)
            self.connection = open_to_write(path)
            resources.callback(self.connection.close)
            self._begin(now)
            self._resources = resources.pop_all()
        self.log = Log(self.connection)
        self._leases = Leases()
        self._lease_timer: asyncio.TimerHandle | None = None

    def _begin(self, now: datetime) -> None:
        try:
            self.identity: str = fact(self.connection, "identity").decode()
            self._last_seq = entries.last_seq(self.connection)
            self._last_quarantined = quarantine.last_seq(self.connection)
            deliveries.end_leases(self.connection, to_microseconds(now))
            follow_ups.end_leases(self.connection, to_microseconds(now))
        except (sqlite3.Error, ValueError) as error:
            raise JournalError(f"{self._path}: can't open the journal: {error}") from error

    async def lease(self, handler: str, most: int, now: datetime, until: datetime) -> Sequence[Lease]:
        """Find what is due; the file is told with a later commit, or soon."""
        held = self._leases.held(handler)
        due = self._guarded(lambda: self._find_due(self.connection, handler, most, to_microseconds(now), held))
        for lease, before in due:
            self._leases.add(lease, to_microseconds(until), before)
        leases = [lease for lease, _ in due]
        if any(lease.wait for lease in leases):  # so that nothing takes them for clocks that run
            self._leases.age()
            await self._submit(lambda _: None)
        elif leases and self._lease_timer is None:
            seconds = WRITTEN_WITHIN.total_seconds()
            self._lease_timer = asyncio.get_running_loop().call_later(seconds, self._write_leases)
        return leases

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        """Write outcomes in one transaction."""
        known = [(settlement, self._leases.settle(settlement.lease)) for settlement in settlements]
        await self._submit(lambda connection: self._settle(connection, known, to_microseconds(now)))

    async def next_due(self, handler: str) -> datetime | None:
        """Read the first due date that isn't of something handed out."""
        held = self._leases.held(handler)
        return self._guarded(lambda: point_in_time(deliveries.next_due(self.connection, handler, held)))

    def space(self) -> DiskSpace | None:
        """Ask the file system."""
        return None if self._path == MEMORY else space_at(self._path)

    async def prune(self, before: datetime, most_bytes: int | None) -> int:
        """Forget a bite of the oldest entries, and give their pages back to the file system."""
        forgotten = await super().prune(before, most_bytes)
        self.log.add(self._guarded(lambda: give_back(self.connection, _BITE_PAGES)))
        return forgotten

    def time_with(self, timed: Timed) -> None:
        """Time them here and in the log."""
        super().time_with(timed)
        self.log.timed = timed

    def reader(self) -> Reader:
        """Return a reader with a connection of its own; of a journal in memory, through the only one that there is."""
        reader = SqliteReader(self._path, self.connection if self._path == MEMORY else None)
        self._resources.callback(reader.close)
        return reader

    def close(self) -> None:
        """Give free pages back, move the log into the file, close it, and end the lock; what is still queued fails.

        Raises `JournalError` where the log can't be moved: it keeps what was committed.
        """
        is_sound = self._failure is None
        if self._lease_timer is not None:
            self._lease_timer.cancel()
        self._failure = self._failure or JournalError(f"{self._path}: the journal is closed")
        try:
            if is_sound:
                give_back(self.connection, _LAST_PAGES)
                self.log.move(whole=True)
        except sqlite3.Error as error:
            raise self._named(error) from error
        finally:
            self._resources.close()

    async def _look(self, work: Callable[[Connection], T]) -> T:
        return self._guarded(lambda: work(self.connection))

    def _commit(self) -> None:
        queue, self._queue = self._queue, []
        results: list[Any] = []
        try:
            if self._failure is not None:
                raise self._failure  # noqa: TRY301  the one way out for all that is queued
            self.connection.execute("BEGIN IMMEDIATE")
            deliveries.write_leases(self.connection, self._leases.take())
            results = [work(self.connection) for work, _ in queue]
            with self._timed("commit"):
                self.connection.execute("COMMIT")
            self.log.move()
        except Exception as error:  # noqa: BLE001  whatever it is, every caller has to know
            with suppress(sqlite3.Error):
                self.connection.rollback()
            self._refuse(queue, self._named(error))
            return
        self._leases.settled()
        self._finish(queue, results)

    def _guarded(self, work: Callable[[], T]) -> T:
        if self._failure is not None:
            raise self._failure
        try:
            return work()
        except (sqlite3.Error, LookupError, ValueError, OverflowError) as error:  # all but the first: damage
            failure = self._named(error)
            self._refuse([], failure)
            raise failure from error

    def _named(self, error: Exception) -> JournalError:
        """Name a failure. What a failed write left behind can't be known, so nothing is tried again on this file."""
        if isinstance(error, JournalError):
            return error
        failure = JournalError(
            f"{self._path}: the journal failed: {error}. Nothing more is acknowledged; "
            "look at the disk and run `fbsessiond journal verify`, then restart"
        )
        failure.__cause__ = error
        return failure

    def _write_leases(self) -> None:
        self._lease_timer = None
        self._leases.age()
        if self._leases and not self._queue:
            self._commit()

    def _used_bytes(self, connection: Connection) -> int:
        del connection
        return used_bytes(self.connection)

    def _append(self, connection: Connection, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        self.log.add(sum(len(message.raw) for message in batch.messages))
        return super()._append(connection, batch, drafts, misfits)

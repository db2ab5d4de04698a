"""The journal's writer.

A transaction runs in a thread of its own, so that the loop goes on while the database works: whatever is submitted
meanwhile becomes the next one. What only reads has another thread, and another connection.

Whoever writes has the row of `counters` locked until its transaction ends, so that what several write at a time is what
they would write one after the other: the numbers are dense, and the order of each session's deliveries holds.

A connection that is lost is made anew, and the transaction run again. Where it was lost while it was being committed,
that may have happened: a row that the transaction changes as well says so.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from typing import Any, TypeVar

import psycopg

from fbsessiond.errors import JournalError
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.postgresql.connection import Writing
from fbsessiond.journal.postgresql.database import Database, described, migrate
from fbsessiond.journal.postgresql.link import Link
from fbsessiond.journal.postgresql.reader import PostgresqlReader
from fbsessiond.journal.recent import RecentEntries
from fbsessiond.journal.records import DiskSpace
from fbsessiond.journal.sql import deliveries, follow_ups
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.engine import Queue, SqlJournal
from fbsessiond.journal.sql.facts import fact
from fbsessiond.journal.sql.rows import to_microseconds

T = TypeVar("T")

_LEASES_OF_A_WRITER = 2**40
"""So many numbers are each writer's own, so that no two leases have the same one."""


class PostgresqlJournal(SqlJournal):
    """A journal in a PostgreSQL database, written by one process."""

    def __init__(self, database: Database, now: datetime, *, claimed: Link | None = None) -> None:
        """Open the journal, made or migrated if need be; deliveries that an earlier process had leased are due now.

        The right to write it is taken with it, unless the caller has it already.
        """
        super().__init__()
        self._database = database
        self._version = 0
        self._place = 0
        self._is_busy = False
        with ExitStack() as resources:
            self._writer = claimed or Link(database, is_writer=True)
            if claimed is None:
                resources.callback(self._writer.close)
            with database.opening():
                self._writer.run(lambda connection: self._begin(connection, to_microseconds(now)))
            self._looker = Link(database, is_writer=False)
            resources.callback(self._looker.close)
            self._looking = resources.enter_context(ThreadPoolExecutor(1, "journal-reader"))
            self._writing = resources.enter_context(ThreadPoolExecutor(1, "journal-writer"))
            self._resources = resources.pop_all()

    def _begin(self, writing: Writing, now: int) -> None:
        migrate(writing.connection, self._database.name)
        with writing.connection.transaction():
            self._lock(writing)
            self._place = self._last_seq
            self.identity: str = fact(writing, "identity").decode()
            writing.execute("DELETE FROM writers")
            (number,) = writing.execute("INSERT INTO writers DEFAULT VALUES RETURNING number").fetchone()
            deliveries.end_leases(writing, now)
            follow_ups.end_leases(writing, now)
        self._writer.number = number
        self._last_lease = number * _LEASES_OF_A_WRITER

    def space(self) -> DiskSpace | None:
        """Return nothing: the database's disk is somewhere else."""
        return None

    def last_place(self) -> int:
        """Return the last number that was committed."""
        return self._place

    def reader(self) -> Reader:
        """Return a reader with a connection of its own."""
        reader = PostgresqlReader(self._database)
        self._resources.callback(reader.close)
        return reader

    def close(self) -> None:
        """End what is under way, and close the connections; what is still queued fails."""
        self._failure = self._failure or JournalError(f"{self._database.name}: the journal is closed")
        links = (self._writer, self._looker)
        for link in links:
            link.closing.set()
        self._resources.close()
        for link in links:
            link.closing.clear()

    async def _look(self, work: Callable[[Connection], T]) -> T:
        if self._failure is not None:
            raise self._failure
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._looking, self._looker.run, work)
        except (psycopg.Error, LookupError, ValueError, OverflowError) as error:
            failure = self._named(error)
            self._refuse([], failure)
            raise failure from error

    def _commit(self) -> None:
        """Begin the next transaction, unless one is under way: then this one begins when that has ended."""
        if self._is_busy or not self._queue:
            return
        queue, self._queue = self._queue, []
        if self._failure is not None:
            self._refuse(queue, self._failure)
            return
        self._is_busy = True
        transaction = _Transaction(self, [work for work, _ in queue])
        done = asyncio.get_running_loop().run_in_executor(self._writing, self._writer.run, transaction)
        done.add_done_callback(lambda done: self._end(queue, done))

    def _end(self, queue: Queue, done: "asyncio.Future[list[Any]]") -> None:
        self._is_busy = False
        if (error := done.exception()) is not None:
            self._refuse(queue, self._named(error))
        else:
            self._place = self._last_seq
            self._finish(queue, done.result())
        self._commit()

    def _named(self, error: BaseException) -> JournalError:
        if isinstance(error, JournalError):
            return error
        failure = JournalError(
            f"{self._database.name}: the journal failed: {described(error)}. Nothing more is acknowledged; look at the "
            "database and run `fbsessiond journal verify`, then restart"
        )
        failure.__cause__ = error
        return failure

    def _used_bytes(self, connection: Connection) -> int:
        found: int = connection.execute("SELECT bytes FROM counters").fetchone()[0]
        return found

    # In the writer's thread.

    def transact(self, writing: Writing, works: Sequence[Callable[[Connection], T]]) -> list[T]:
        """Do some things in the transaction that is open, all but its commit."""
        self._woken.clear()
        self._arrived.clear()
        writing.packed_bytes = 0
        writing.renew()
        self._lock(writing)
        results = [work(writing) for work in works]
        self._version += 1
        counted = (self._last_seq, self._last_quarantined, self._version, writing.packed_bytes)
        writing.execute(
            "UPDATE counters SET last_seq = ?, last_quarantined = ?, version = ?, bytes = bytes + ?", counted
        )
        writing.execute("UPDATE writers SET version = ? WHERE number = ?", (self._version, self._writer.number))
        return results

    def start_over(self) -> None:
        """Forget what an attempt came to that was in vain: others may have got its numbers."""
        self._recent = RecentEntries()

    def was_committed(self, writing: Writing) -> bool:
        """Say whether the last transaction was committed: once the lock is had, it has ended, whatever became of it."""
        with writing.connection.transaction():
            writing.execute("SELECT FROM counters FOR UPDATE")
            query = "SELECT version FROM writers WHERE number = ?"
            (version,) = writing.execute(query, (self._writer.number,)).fetchone()
            is_last: bool = version == self._version
        return is_last

    def commit(self, writing: Writing) -> None:
        """Commit the transaction that is open."""
        with self._timed("commit"):
            writing.execute("COMMIT")

    def _lock(self, writing: Writing) -> None:
        query = "SELECT last_seq, last_quarantined, version FROM counters FOR UPDATE"
        self._last_seq, self._last_quarantined, self._version = writing.execute(query).fetchone()


class _Transaction:
    """What was submitted, to be done once, however often that has to be tried."""

    def __init__(self, journal: PostgresqlJournal, works: Sequence[Callable[[Connection], Any]]) -> None:
        self._journal = journal
        self._works = works
        self._results: list[Any] | None = None
        """Of the attempt whose commit was sent, and nobody knows what became of it."""
        self._is_again = False

    def __call__(self, writing: Writing) -> list[Any]:
        if self._results is not None and self._journal.was_committed(writing):
            return self._results
        if self._is_again:
            self._journal.start_over()
        self._is_again, self._results = True, None
        with writing.pipelined():
            writing.execute("BEGIN")
            results = self._journal.transact(writing, self._works)
        self._results = results
        self._journal.commit(writing)
        return results

"""The journal's writer.

All writing goes through `_submit`: whatever is submitted while the event loop goes round once becomes one transaction,
so that agents, settlements and leases share a sync to disk. It runs in the loop's own thread: on a disk that syncs in
less than about 0.3 ms that is faster than any hand-over to another thread.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fbsessiond.errors import JournalError
from fbsessiond.journal.documents import own_part
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryState, Draft, Lease, Misfit, Quarantined, Settlement
from fbsessiond.journal.sqlite.file import MEMORY, Lock, fact, open_to_write, read_queries
from fbsessiond.journal.sqlite.reader import SqliteReader
from fbsessiond.journal.sqlite.rows import (
    entry_row,
    from_microseconds,
    quarantine_row,
    to_entry,
    to_microseconds,
    to_quarantined,
)
from fbsessiond.message import Batch
from fbsessiond.notification import Document
from fbsessiond.transition import state_of

T = TypeVar("T")

PRUNE_ENTRIES = 500
"""How many entries one call of `prune` forgets at most: a few milliseconds' work."""

_SQL = read_queries()


class SqliteJournal(Journal):
    """A journal in one SQLite file, written by one process."""

    def __init__(self, path: Path, now: datetime) -> None:
        """Open the file, made or migrated if need be; deliveries that an earlier process had leased are due now."""
        self._path = path
        self._lock = None if path == MEMORY else Lock(path)
        try:
            self.connection = open_to_write(path)
            self._begin(now)
        except BaseException:
            self._release_lock()
            raise
        self._queue: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._failure: JournalError | None = None
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._last_lease = 0

    def _begin(self, now: datetime) -> None:
        self.identity = fact(self.connection, "identity").decode()
        self._last_seq = self._number("SELECT coalesce(max(seq), 0) FROM entries")
        self._last_quarantined = self._number("SELECT coalesce(max(seq), 0) FROM quarantine")
        self.connection.execute(_SQL["end_leases"], (to_microseconds(now),))

    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> None:
        """Write a batch in one transaction."""
        await self._submit(lambda: self._append(batch, drafts, misfits))
        self._wake({wanted.handler for draft in drafts for wanted in draft.wanted})

    async def known(self, agent: str, session: str) -> Document | None:
        """Read a session's last entry, one step by its key."""
        row = self._read(_SQL["known"], (agent, session)).fetchone()
        if row is None:
            return None
        kept, document, notification = row
        merged = kept if kept is not None else document
        return msgspec.json.decode(merged) if merged is not None else own_part(notification, session)

    async def lease(self, handler: str, most: int, now: datetime, until: datetime) -> Sequence[Lease]:
        """Postpone due dates, in the transaction that finds them."""
        return await self._submit(lambda: self._lease(handler, most, to_microseconds(now), to_microseconds(until)))

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        """Write outcomes in one transaction."""
        await self._submit(lambda: self._settle(settlements, now))
        self._wake({settlement.lease.handler for settlement in settlements})

    async def release(self, leases: Sequence[Lease], now: datetime) -> None:
        """Make leased deliveries due now."""
        due = DeliveryState.DUE
        await self.settle([Settlement(lease, due, lease.attempts, due_at=now) for lease in leases], now)

    async def next_due(self, handler: str) -> datetime | None:
        """Read the first due date, one step by its index."""
        number = self._read(_SQL["next_due"], (handler,)).fetchone()[0]
        return None if number is None else from_microseconds(number)

    def wakes(self, handler: str) -> asyncio.Event:
        """Return the handler's event; it knows of this process's own changes."""
        return self._wakes[handler]

    async def prune(self, before: datetime, most_bytes: int | None) -> int:
        """Forget up to `PRUNE_ENTRIES` of the oldest entries, and give their pages back to the file system."""
        forgotten = await self._submit(lambda: self._prune(before, most_bytes))
        self._read(f"PRAGMA incremental_vacuum({PRUNE_ENTRIES})", ()).fetchall()
        return forgotten

    async def take_retries(self) -> Sequence[Quarantined]:
        """Read what a person marked, in this process or another."""
        return [to_quarantined(row) for row in self._read(_SQL["retries"], ()).fetchall()]

    async def release_quarantined(self, quarantined: Quarantined, drafts: Sequence[Draft], error: str | None) -> None:
        """Write the entries, and that the message left the quarantine, in one transaction."""
        messages = tuple(draft.message for draft in drafts)
        batch = Batch(quarantined.agent, quarantined.origin, quarantined.received_at, messages)

        def work() -> None:
            if error is not None:
                self.connection.execute(_SQL["keep_quarantined"], (error, quarantined.seq))
                return
            self._append(batch, drafts, ())
            self.connection.execute(_SQL["release_quarantined"], (quarantined.seq,))

        await self._submit(work)
        self._wake({wanted.handler for draft in drafts for wanted in draft.wanted})

    def reader(self) -> Reader:
        """Return a reader that looks through the writer's own connection."""
        return SqliteReader(self._path, self.connection)

    def close(self) -> None:
        """Close the file and end the lock; what is still queued fails."""
        self._failure = self._failure or JournalError(f"{self._path}: the journal is closed")
        self.connection.close()
        self._release_lock()

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _wake(self, handlers: set[str]) -> None:
        for handler in handlers:
            self._wakes[handler].set()

    def _number(self, query: str) -> int:
        number: int = self.connection.execute(query).fetchone()[0]
        return number

    # One transaction for all that is submitted while the loop goes round once.

    def _submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._commit)
        self._queue.append((work, future))
        return future

    def _commit(self) -> None:
        queue, self._queue = self._queue, []
        results: list[Any] = []
        try:
            if self._failure is not None:
                raise self._failure  # noqa: TRY301  the one way out for all that is queued
            self.connection.execute("BEGIN IMMEDIATE")
            results = [work() for work, _ in queue]
            self.connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  whatever it is, every caller has to know
            self._failure = self._failed(error)
            for _, future in queue:
                if not future.cancelled():
                    future.set_exception(self._failure)
            return
        for (_, future), result in zip(queue, results, strict=True):
            if not future.cancelled():
                future.set_result(result)

    def _read(self, query: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        if self._failure is not None:
            raise self._failure
        try:
            return self.connection.execute(query, parameters)
        except sqlite3.Error as error:
            self._failure = self._failed(error)
            raise self._failure from error

    def _failed(self, error: Exception) -> JournalError:
        """Name the failure. What a failed write left behind can't be known, so nothing is tried again on this file."""
        if isinstance(error, JournalError):
            return error
        failure = JournalError(
            f"{self._path}: the journal failed: {error}. Nothing more is acknowledged; look at the disk, then restart"
        )
        failure.__cause__ = error
        return failure

    # What stands in the transactions.

    def _append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> None:
        received_at = to_microseconds(batch.received_at)
        first, self._last_seq = self._last_seq + 1, self._last_seq + len(drafts)
        numbered = list(enumerate(drafts, first))
        self.connection.executemany(
            _SQL["append_entry"], [entry_row(seq, batch, received_at, draft) for seq, draft in numbered]
        )
        self.connection.executemany(
            _SQL["keep_session"],
            [
                (batch.agent, draft.change.session, state_of(draft.change.document), received_at, seq)
                for seq, draft in numbered
                if draft.change.document is not None
            ],
        )
        self.connection.executemany(
            _SQL["append_delivery"],
            [
                {
                    "handler": wanted.handler,
                    "agent": batch.agent,
                    "session": draft.change.session,
                    "seq": seq,
                    "due_at": to_microseconds(wanted.due_at),
                }
                for seq, draft in numbered
                for wanted in draft.wanted
            ],
        )
        first, self._last_quarantined = self._last_quarantined + 1, self._last_quarantined + len(misfits)
        self.connection.executemany(
            _SQL["append_quarantined"],
            [quarantine_row(seq, batch, received_at, misfit) for seq, misfit in enumerate(misfits, first)],
        )

    def _lease(self, handler: str, most: int, now: int, until: int) -> Sequence[Lease]:
        leases: list[Lease] = []
        for row in self.connection.execute(_SQL["find_due"], (handler, now, most)).fetchall():
            self._last_lease += 1
            attempts, wanted_at = row[:2]
            leases.append(Lease(self._last_lease, handler, attempts, from_microseconds(wanted_at), to_entry(row[2:])))
        self.connection.executemany(_SQL["lease"], [(until, lease.number, *_key(lease)) for lease in leases])
        return leases

    def _settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        for settlement in settlements:
            if settlement.state is DeliveryState.DUE:
                due_at = to_microseconds(settlement.due_at or now)
                parameters = (due_at, settlement.attempts, settlement.because, *_key(settlement.lease))
                self.connection.execute(_SQL["postpone"], (*parameters, settlement.lease.number))
            elif self.connection.execute(
                _SQL["remove_pending"], (*_key(settlement.lease), settlement.lease.number)
            ).rowcount:
                self._end(settlement, to_microseconds(now))

    def _end(self, settlement: Settlement, now: int) -> None:
        handler, agent, session, seq = _key(settlement.lease)
        outcome = (settlement.state.value, settlement.attempts, settlement.because, now)
        self.connection.execute(_SQL["append_settled"], (seq, handler, agent, session, *outcome))
        self.connection.execute(_SQL["promote"], {"handler": handler, "agent": agent, "session": session})

    def _prune(self, before: datetime, most_bytes: int | None) -> int:
        first = self._number("SELECT coalesce(min(seq), 0) FROM entries")
        bound = self.connection.execute(_SQL["prune_bound"], {"before": to_microseconds(before)}).fetchone()[0]
        if most_bytes is not None and self._used_bytes() > most_bytes:
            bound = self.connection.execute(_SQL["prune_bound_by_size"]).fetchone()[0]
        self.connection.execute(_SQL["forget_quarantined"], (to_microseconds(before),))
        last = min((bound or 0) - 1, first + PRUNE_ENTRIES - 1)
        if not first or last < first:
            return 0
        self.connection.execute(_SQL["forget_finished"], (last,))
        for agent, session, document, notification in self.connection.execute(_SQL["sessions_of_entries"], (last,)):
            kept = document if document is not None else msgspec.json.encode(own_part(notification, session))
            self.connection.execute(_SQL["keep_document"], (kept, agent, session))
        self.connection.execute(_SQL["forget_entries"], (last,))
        self.connection.execute(_SQL["forget_settled"], (last,))
        return last - first + 1

    def _used_bytes(self) -> int:
        pages, free, size = (self._number(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size


def _key(lease: Lease) -> tuple[str, str, str | None, int]:
    return lease.handler, lease.entry.agent, lease.entry.session, lease.entry.seq

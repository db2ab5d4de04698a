"""The journal's writer.

All writing goes through `_submit`: whatever is submitted while the event loop goes round once becomes one transaction,
so that agents, settlements and leases share a sync to disk. It runs in the loop's own thread: on a disk that syncs in
less than about 0.3 ms that is faster than any hand-over to another thread.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fbsessiond.errors import JournalError
from fbsessiond.follow_up import Progress
from fbsessiond.journal.documents import own_part
from fbsessiond.journal.interface import FOLLOW_UPS, Journal, Reader
from fbsessiond.journal.records import DeliveryState, Draft, FollowUpLease, Lease, Misfit, Quarantined, Settlement
from fbsessiond.journal.sqlite import follow_ups
from fbsessiond.journal.sqlite.file import MEMORY, Lock, open_to_write, read_queries
from fbsessiond.journal.sqlite.reader import SqliteReader
from fbsessiond.journal.sqlite.retention import forget, give_back
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

_SQL = read_queries()


class SqliteJournal(Journal):
    """A journal in one SQLite file, written by one process."""

    def __init__(self, path: Path, now: datetime) -> None:
        """Open the file, made or migrated if need be; deliveries that an earlier process had leased are due now."""
        self._path = path
        with ExitStack() as resources:
            if path != MEMORY:
                resources.callback(Lock(path).release)
            self.connection = open_to_write(path)
            resources.callback(self.connection.close)
            self._begin(now)
            self._resources = resources.pop_all()
        self._queue: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._failure: JournalError | None = None
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._woken: set[str] = set()
        self._last_lease = 0
        self._arrivals: defaultdict[tuple[str, str | None], list[asyncio.Event]] = defaultdict(list)
        self._arrived: list[asyncio.Event] = []

    def _begin(self, now: datetime) -> None:
        try:
            self.identity: str = self.connection.execute(_SQL["fact"], ("identity",)).fetchone()[0].decode()
            self._last_seq, self._last_quarantined = self.connection.execute(_SQL["last_numbers"]).fetchone()
            self.connection.execute(_SQL["end_leases"], (to_microseconds(now),))
            follow_ups.end_leases(self.connection, to_microseconds(now))
        except sqlite3.Error as error:
            raise JournalError(f"{self._path}: can't open the journal: {error}") from error

    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> None:
        """Write a batch in one transaction."""
        await self._submit(lambda: self._append(batch, drafts, misfits))

    async def known(self, agent: str, session: str) -> Document | None:
        """Read a session's last entry, one step by its key."""
        return self._guarded(lambda: self._known(agent, session))

    async def lease(self, handler: str, most: int, now: datetime, until: datetime) -> Sequence[Lease]:
        """Postpone due dates, in the transaction that finds them."""
        return await self._submit(lambda: self._lease(handler, most, to_microseconds(now), to_microseconds(until)))

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        """Write outcomes in one transaction."""
        await self._submit(lambda: self._settle(settlements, now))

    async def release(self, leases: Sequence[Lease], now: datetime) -> None:
        """Make leased deliveries due now."""
        due = DeliveryState.DUE
        await self.settle([Settlement(lease, due, lease.attempts, due_at=now) for lease in leases], now)

    async def next_due(self, handler: str) -> datetime | None:
        """Read the first due date, one step by its index."""
        number = self._guarded(lambda: self.connection.execute(_SQL["next_due"], (handler,)).fetchone()[0])
        return None if number is None else from_microseconds(number)

    def wakes(self, handler: str) -> asyncio.Event:
        """Return the handler's event; it knows of this process's own changes."""
        return self._wakes[handler]

    async def lease_follow_ups(self, most: int, now: datetime, until: datetime) -> Sequence[FollowUpLease]:
        """Postpone due dates, in the transaction that finds them."""
        times = to_microseconds(now), to_microseconds(until)
        return await self._submit(lambda: self._lease_follow_ups(most, *times))

    async def record_follow_up(self, lease: FollowUpLease, progress: Progress, now: datetime) -> None:
        """Write progress in one transaction."""
        await self._submit(lambda: self._record_follow_up(lease, progress, to_microseconds(now)))

    async def release_follow_ups(self, leases: Sequence[FollowUpLease], now: datetime) -> None:
        """Make leased follow-ups due now."""
        await self._submit(lambda: self._release_follow_ups(leases, to_microseconds(now)))

    async def next_follow_up_due(self) -> datetime | None:
        """Read the first due date, one step by its index."""
        number = self._guarded(lambda: follow_ups.next_due(self.connection))
        return None if number is None else from_microseconds(number)

    async def notifications(self, agent: str, session: str, after: int) -> Sequence[tuple[int, bytes]]:
        """Read a session's notifications, by their index."""
        return self._guarded(lambda: follow_ups.notifications(self.connection, agent, session, after))

    def last_place(self) -> int:
        """Return the last number that was given."""
        return int(self._last_seq)

    @contextmanager
    def arrivals(self, agent: str, session: str) -> Generator[asyncio.Event, None, None]:
        """Hold an event for whoever waits for this session; without one, appends needn't care."""
        event = asyncio.Event()
        waiting = self._arrivals[agent, session]
        waiting.append(event)
        try:
            yield event
        finally:
            waiting.remove(event)
            if not waiting:
                del self._arrivals[agent, session]

    async def prune(self, before: datetime, most_bytes: int | None) -> int:
        """Forget a bite of the oldest entries, and give their pages back to the file system."""
        forgotten = await self._submit(lambda: forget(self.connection, before, most_bytes))
        self._guarded(lambda: give_back(self.connection))
        return forgotten

    async def take_retries(self) -> Sequence[Quarantined]:
        """Read what a person marked, in this process or another."""
        return self._guarded(lambda: [to_quarantined(row) for row in self.connection.execute(_SQL["retries"])])

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

    def reader(self) -> Reader:
        """Return a reader with a connection of its own; of a journal in memory, through the only one that there is."""
        reader = SqliteReader(self._path, self.connection if self._path == MEMORY else None)
        self._resources.callback(reader.close)
        return reader

    def close(self) -> None:
        """Close the file and end the lock; what is still queued fails."""
        self._failure = self._failure or JournalError(f"{self._path}: the journal is closed")
        self._resources.close()

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
            with suppress(sqlite3.Error):
                self.connection.rollback()
            for _, future in queue:
                if not future.cancelled():
                    future.set_exception(self._failure)
            return
        while self._woken:
            self._wakes[self._woken.pop()].set()
        while self._arrived:
            self._arrived.pop().set()
        for (_, future), result in zip(queue, results, strict=True):
            if not future.cancelled():
                future.set_result(result)

    def _guarded(self, work: Callable[[], T]) -> T:
        if self._failure is not None:
            raise self._failure
        try:
            return work()
        except (sqlite3.Error, LookupError, ValueError) as error:  # the last two from a record that is damaged
            self._failure = self._failed(error)
            raise self._failure from error

    def _failed(self, error: Exception) -> JournalError:
        """Name the failure. What a failed write left behind can't be known, so nothing is tried again on this file."""
        if isinstance(error, JournalError):
            return error
        failure = JournalError(
            f"{self._path}: the journal failed: {error}. Nothing more is acknowledged; "
            "look at the disk and run `fbsessiond journal verify`, then restart"
        )
        failure.__cause__ = error
        return failure

    # What stands in the transactions, and what is read.

    def _append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> None:
        received_at = to_microseconds(batch.received_at)
        self._woken.update(wanted.handler for draft in drafts for wanted in draft.wanted)
        if self._arrivals:
            sessions = {draft.change.session for draft in drafts}
            self._arrived += [event for session in sessions for event in self._arrivals.get((batch.agent, session), ())]
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

    def _known(self, agent: str, session: str) -> Document | None:
        row = self.connection.execute(_SQL["known"], (agent, session)).fetchone()
        if row is None:
            return None
        kept, document, notification = row
        merged = kept if kept is not None else document
        return msgspec.json.decode(merged) if merged is not None else own_part(notification, session)

    def _lease(self, handler: str, most: int, now: int, until: int) -> Sequence[Lease]:
        leases: list[Lease] = []
        for row in self.connection.execute(_SQL["find_due"], (handler, now, most)).fetchall():
            self._last_lease += 1
            attempts, wanted_at = row[:2]
            leases.append(Lease(self._last_lease, handler, attempts, from_microseconds(wanted_at), to_entry(row[2:])))
        self.connection.executemany(_SQL["lease"], [(until, lease.number, *_key(lease)) for lease in leases])
        return leases

    def _lease_follow_ups(self, most: int, now: int, until: int) -> Sequence[FollowUpLease]:
        leases = follow_ups.lease_due(self.connection, most, now, until, self._last_lease + 1)
        self._last_lease += len(leases)
        return leases

    def _record_follow_up(self, lease: FollowUpLease, progress: Progress, now: int) -> None:
        follow_ups.record(self.connection, lease, progress, now)
        self._woken.add(FOLLOW_UPS)

    def _release_follow_ups(self, leases: Sequence[FollowUpLease], now: int) -> None:
        follow_ups.release(self.connection, leases, now)
        self._woken.add(FOLLOW_UPS)

    def _settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        self._woken.update(settlement.lease.handler for settlement in settlements)
        for settlement in settlements:
            if settlement.state is DeliveryState.DUE:
                due_at = to_microseconds(settlement.due_at or now)
                parameters = (due_at, settlement.attempts, settlement.because, *_key(settlement.lease))
                self.connection.execute(_SQL["postpone"], (*parameters, settlement.lease.number))
            elif self.connection.execute(
                _SQL["remove_pending"], (*_key(settlement.lease), settlement.lease.number)
            ).rowcount:
                self._end(settlement, to_microseconds(now))
                if settlement.follow_ups:
                    follow_ups.intend(self.connection, settlement.lease, settlement.follow_ups, to_microseconds(now))
                    self._woken.add(FOLLOW_UPS)

    def _end(self, settlement: Settlement, now: int) -> None:
        handler, agent, session, seq = _key(settlement.lease)
        outcome = (settlement.state.value, settlement.attempts, settlement.because, now)
        self.connection.execute(_SQL["append_settled"], (seq, handler, agent, session, *outcome))
        self.connection.execute(_SQL["promote"], {"handler": handler, "agent": agent, "session": session})


def _key(lease: Lease) -> tuple[str, str, str | None, int]:
    return lease.handler, lease.entry.agent, lease.entry.session, lease.entry.seq

"""The journal's writer.

All writing goes through `_submit`: whatever is submitted while the event loop goes round once becomes one transaction,
so that agents, settlements and leases share a sync to disk. It runs in the loop's own thread: on a disk that syncs in
less than about 0.3 ms that is faster than any hand-over to another thread.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from fbsessiond.errors import JournalError
from fbsessiond.follow_up import Progress
from fbsessiond.gap import Watched
from fbsessiond.journal.interface import FOLLOW_UPS, Journal, Reader, Timed, gaps_of
from fbsessiond.journal.records import (
    DeliveryState,
    DiskSpace,
    Draft,
    Entry,
    FollowUpLease,
    Lease,
    Misfit,
    Quarantined,
    Settlement,
)
from fbsessiond.journal.sqlite import deliveries, entries, follow_ups, gaps, quarantine, reveals, waiting
from fbsessiond.journal.sqlite.file import MEMORY, Lock, Log, fact, open_to_write, space_at, untimed
from fbsessiond.journal.sqlite.reader import SqliteReader
from fbsessiond.journal.sqlite.retention import forget, give_back
from fbsessiond.journal.sqlite.rows import MICROSECOND, from_microseconds, to_microseconds
from fbsessiond.message import Batch
from fbsessiond.notification import Document
from fbsessiond.reveal import Reveal

T = TypeVar("T")


class SqliteJournal(Journal):
    """A journal in one SQLite file, written by one process."""

    def __init__(self, path: Path, now: datetime, *, is_claimed: bool = False) -> None:
        """Open the file, made or migrated if need be; deliveries that an earlier process had leased are due now.

        The right to write it is taken with it, unless the caller has it already.
        """
        self._path = path
        with ExitStack() as resources:
            if path != MEMORY and not is_claimed:
                resources.callback(Lock(path).release)
            self.connection = open_to_write(path)
            resources.callback(self.connection.close)
            self._begin(now)
            self._resources = resources.pop_all()
        self.log = Log(self.connection)
        self._queue: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._failure: JournalError | None = None
        self._timed: Timed = untimed
        self._has_failed = asyncio.Event()
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._woken: set[str] = set()
        self._last_lease = 0
        self._arrivals: defaultdict[tuple[str, str | None], list[asyncio.Event]] = defaultdict(list)
        self._arrived: list[asyncio.Event] = []

    def _begin(self, now: datetime) -> None:
        try:
            self.identity: str = fact(self.connection, "identity").decode()
            self._last_seq = entries.last_seq(self.connection)
            self._last_quarantined = quarantine.last_seq(self.connection)
            deliveries.end_leases(self.connection, to_microseconds(now))
            follow_ups.end_leases(self.connection, to_microseconds(now))
        except (sqlite3.Error, ValueError) as error:
            raise JournalError(f"{self._path}: can't open the journal: {error}") from error

    def space(self) -> DiskSpace | None:
        """Ask the file system."""
        return None if self._path == MEMORY else space_at(self._path)

    async def failed(self) -> JournalError:
        """Wait for the first failure."""
        await self._has_failed.wait()
        assert self._failure is not None  # noqa: S101  what the event says
        return self._failure

    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        """Write a batch in one transaction."""
        return await self._submit(lambda: self._append(batch, drafts, misfits))

    async def known(self, agent: str, session: str) -> Document | None:
        """Read a session's last entry, one step by its key."""
        return self._guarded(lambda: entries.known(self.connection, agent, session))

    async def open_sessions(self, agent: str) -> Mapping[str, str]:
        """Read sessions by their index."""
        return self._guarded(lambda: entries.open_sessions(self.connection, agent))

    async def standing(self) -> Sequence[Entry]:
        """Read the last transition of each open session, by its index."""
        return self._guarded(lambda: entries.standing(self.connection))

    async def clocks(self, handler: str) -> Sequence[Entry]:
        """Read what is pending of a handler."""
        return self._guarded(lambda: list(waiting.clocks(self.connection, handler)))

    async def wind(self, handler: str, clocks: Sequence[tuple[Entry, datetime]], now: datetime) -> None:
        """Set clocks in one transaction."""
        times = [(entry, to_microseconds(at)) for entry, at in clocks]
        await self._submit(lambda: self._wind(handler, times, to_microseconds(now)))

    async def shift(self, by: timedelta) -> None:
        """Move due dates in one transaction."""
        await self._submit(lambda: self._shift(by // MICROSECOND))

    async def watch(self, agent: str, now: datetime) -> Watched:
        """Mark the agent's chain as broken by a start."""
        await self._submit(lambda: gaps.watch(self.connection, agent, to_microseconds(now)))
        return await self.watched(agent)

    async def watched(self, agent: str) -> Watched:
        """Read the agent's row, and its gaps that aren't closed."""
        return self._guarded(lambda: gaps.watched(self.connection, agent)[0])

    async def is_in_doubt(self, agent: str) -> bool:
        """Look for the agent's break, and its gaps that aren't closed."""
        return self._guarded(lambda: gaps.is_in_doubt(self.connection, agent))

    async def doubt(self, agent: str) -> None:
        """Void the chain in one transaction."""
        await self._submit(lambda: gaps.doubt(self.connection, agent))

    async def agree(self, agent: str, at: datetime) -> None:
        """Close gaps in one transaction."""
        await self._submit(lambda: gaps.agree(self.connection, agent, to_microseconds(at)))

    async def lease(self, handler: str, most: int, now: datetime, until: datetime) -> Sequence[Lease]:
        """Postpone due dates, in the transaction that finds them."""
        return await self._submit(lambda: self._lease(handler, most, to_microseconds(now), to_microseconds(until)))

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        """Write outcomes in one transaction."""
        await self._submit(lambda: self._settle(settlements, to_microseconds(now)))

    async def release(self, leases: Sequence[Lease], now: datetime) -> None:
        """Make leased deliveries due now."""
        due = DeliveryState.DUE
        await self.settle([Settlement(lease, due, lease.attempts, due_at=now) for lease in leases], now)

    async def next_due(self, handler: str) -> datetime | None:
        """Read the first due date, one step by its index."""
        return self._guarded(lambda: _point_in_time(deliveries.next_due(self.connection, handler)))

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
        return self._guarded(lambda: _point_in_time(follow_ups.next_due(self.connection)))

    async def shown(self, agent: str, session: str, after: int) -> bool:
        """Look for an entry of the session, by its index."""
        return self._guarded(lambda: entries.shown(self.connection, agent, session, after))

    async def notifications(self, agent: str, session: str, after: int) -> Sequence[tuple[int, bytes]]:
        """Read a session's notifications, by their index."""
        return self._guarded(lambda: entries.notifications(self.connection, agent, session, after))

    def last_place(self) -> int:
        """Return the last number that was given."""
        return self._last_seq

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
        return self._guarded(lambda: quarantine.retries(self.connection))

    async def release_quarantined(self, quarantined: Quarantined, drafts: Sequence[Draft], error: str | None) -> bool:
        """Write the entries, and that the message left the quarantine, in one transaction."""
        messages = tuple(draft.message for draft in drafts)
        batch = Batch(quarantined.agent, quarantined.origin, quarantined.received_at, messages)

        def work() -> bool:
            if error is not None:
                return quarantine.keep(self.connection, quarantined.seq, error)
            is_there = quarantine.release(self.connection, quarantined.seq)
            if is_there:
                self._append(batch, drafts, ())
            return is_there

        return await self._submit(work)

    async def take_reveals(self) -> Sequence[Reveal]:
        """Read what a person's command wrote, in this process or another."""
        return self._guarded(lambda: list(reveals.read(self.connection, "to_pass_on")))

    async def pass_on_reveal(self, reveal: Reveal) -> None:
        """Mark it, in one transaction."""
        await self._submit(lambda: reveals.pass_on(self.connection, reveal))

    def time_with(self, timed: Timed) -> None:
        """Time them here and in the log."""
        self._timed = self.log.timed = timed

    def reader(self) -> Reader:
        """Return a reader with a connection of its own; of a journal in memory, through the only one that there is."""
        reader = SqliteReader(self._path, self.connection if self._path == MEMORY else None)
        self._resources.callback(reader.close)
        return reader

    def close(self) -> None:
        """Move the log into the file, close it, and end the lock; what is still queued fails.

        Raises `JournalError` where the log can't be moved: it keeps what was committed.
        """
        is_sound = self._failure is None
        self._failure = self._failure or JournalError(f"{self._path}: the journal is closed")
        try:
            if is_sound:
                self.log.move(whole=True)
        except sqlite3.Error as error:
            raise self._named(error) from error
        finally:
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
            with self._timed("commit"):
                self.connection.execute("COMMIT")
            self.log.move()
        except Exception as error:  # noqa: BLE001  whatever it is, every caller has to know
            failure = self._fail(error)
            with suppress(sqlite3.Error):
                self.connection.rollback()
            for _, future in queue:
                if not future.cancelled():
                    future.set_exception(failure)
            return
        for name in sorted(self._woken):  # in one order, so that a simulation can be repeated
            self._wakes[name].set()
        self._woken.clear()
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
        except (sqlite3.Error, LookupError, ValueError, OverflowError) as error:  # all but the first: damage
            raise self._fail(error) from error

    def _fail(self, error: Exception) -> JournalError:
        """Refuse everything from now on."""
        self._failure = self._named(error)
        self._has_failed.set()
        return self._failure

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

    # What stands in the transactions, and what it wakes.

    def _append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        if self._arrivals:
            sessions = {draft.change.session for draft in drafts}
            self._arrived += [event for session in sessions for event in self._arrivals.get((batch.agent, session), ())]
        self.log.add(sum(len(message.raw) for message in batch.messages))
        first = self._last_seq + 1
        entries.append(self.connection, batch, drafts, first)
        self._woken |= waiting.append(self.connection, batch, drafts, first)
        self._last_seq += len(drafts)
        quarantine.append(self.connection, batch, misfits, self._last_quarantined + 1)
        self._last_quarantined += len(misfits)
        if batch.proof is not None and gaps.prove(self.connection, batch.agent, batch.proof):
            self._woken.add(gaps_of(batch.agent))
        return first

    def _wind(self, handler: str, clocks: Sequence[tuple[Entry, int]], now: int) -> None:
        self._woken.add(handler)
        waiting.wind(self.connection, handler, clocks, now)

    def _shift(self, by: int) -> None:
        waiting.shift(self.connection, by)
        follow_ups.shift(self.connection, by)

    def _lease(self, handler: str, most: int, now: int, until: int) -> Sequence[Lease]:
        leases = deliveries.lease_due(self.connection, handler, most, now, until, self._last_lease + 1)
        self._last_lease += len(leases)
        return leases

    def _settle(self, settlements: Sequence[Settlement], now: int) -> None:
        for settlement in settlements:
            self._woken.add(settlement.lease.handler)
            if deliveries.settle(self.connection, settlement, now) and settlement.follow_ups:
                follow_ups.intend(self.connection, settlement.lease, settlement.follow_ups, now)
                self._woken.add(FOLLOW_UPS)

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


def _point_in_time(number: int | None) -> datetime | None:
    return None if number is None else from_microseconds(number)

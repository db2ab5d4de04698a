"""The journal's writer, whichever database it is in: what each of its methods reads or changes, and whom that wakes.

An engine says how that is run: `_look` runs what only reads, and `_commit` what was submitted: whatever is submitted
while the event loop goes round once becomes one transaction, so that agents, settlements and leases share a sync.
"""

import asyncio
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from fbsessiond.errors import JournalError
from fbsessiond.follow_up import Progress
from fbsessiond.gap import Break, Proof, Watched
from fbsessiond.journal.documents import entry_of
from fbsessiond.journal.interface import FOLLOW_UPS, Journal, Timed, gaps_of, untimed
from fbsessiond.journal.recent import RecentEntries
from fbsessiond.journal.records import (
    DeliveryState,
    Draft,
    Entry,
    FollowUpLease,
    Lease,
    Misfit,
    Quarantined,
    Settlement,
)
from fbsessiond.journal.sql import deliveries, dictionaries, entries, follow_ups, gaps, quarantine, reveals, waiting
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.retention import forget
from fbsessiond.journal.sql.rows import MICROSECOND, from_microseconds, to_microseconds
from fbsessiond.message import Batch
from fbsessiond.notification import Document
from fbsessiond.reveal import Reveal

T = TypeVar("T")

Queue: TypeAlias = list[tuple[Callable[[Connection], Any], asyncio.Future[Any]]]
"""What is to be done in the next transaction, and who waits for it."""


class SqlJournal(Journal):
    """A journal in a database, written by one process."""

    def __init__(self) -> None:
        self._queue: Queue = []
        self._failure: JournalError | None = None
        self._timed: Timed = untimed
        self._has_failed = asyncio.Event()
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._woken: set[str] = set()
        self._last_seq = 0
        self._last_quarantined = 0
        self._last_lease = 0
        self._looked_at = 0
        self._recent = RecentEntries()
        self._arrivals: defaultdict[tuple[str, str | None], list[asyncio.Event]] = defaultdict(list)
        self._arrived: set[tuple[str, str | None]] = set()

    async def failed(self) -> JournalError:
        """Wait for the first failure."""
        await self._has_failed.wait()
        assert self._failure is not None  # noqa: S101  what the event says
        return self._failure

    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        """Write a batch in one transaction."""
        return await self._submit(lambda connection: self._append(connection, batch, drafts, misfits))

    async def prove(self, proofs: Mapping[str, Proof]) -> None:
        """Write proofs in one transaction."""
        await self._submit(lambda connection: self._prove_all(connection, proofs))

    async def known(self, agent: str, session: str) -> Document | None:
        """Read a session's last entry, one step by its key."""
        return await self._look(lambda connection: entries.known(connection, agent, session))

    async def open_sessions(self, agent: str) -> Mapping[str, str]:
        """Read sessions by their index."""
        return await self._look(lambda connection: entries.open_sessions(connection, agent))

    async def standing(self) -> Sequence[Entry]:
        """Read the last transition of each open session, by its index."""
        return await self._look(entries.standing)

    async def clocks(self, handler: str) -> Sequence[Entry]:
        """Read what is pending of a handler."""
        return await self._look(lambda connection: list(waiting.clocks(connection, handler)))

    async def wind(self, handler: str, clocks: Sequence[tuple[Entry, datetime]], now: datetime) -> None:
        """Set clocks in one transaction."""
        times = [(entry, to_microseconds(at)) for entry, at in clocks]
        await self._submit(lambda connection: self._wind(connection, handler, times, to_microseconds(now)))

    async def shift(self, by: timedelta) -> None:
        """Move due dates in one transaction."""
        await self._submit(lambda connection: self._shift(connection, by // MICROSECOND))

    async def watch(self, agent: str, now: datetime) -> Watched:
        """Mark the agent's chain as broken by a start."""
        await self._submit(lambda connection: gaps.watch(connection, agent, to_microseconds(now)))
        return await self.watched(agent)

    async def watched(self, agent: str) -> Watched:
        """Read the agent's row, and its gaps that aren't closed."""
        return await self._look(lambda connection: gaps.watched(connection, agent)[0])

    async def is_in_doubt(self, agent: str) -> bool:
        """Look for the agent's break, and its gaps that aren't closed."""
        return await self._look(lambda connection: gaps.is_in_doubt(connection, agent))

    async def doubt(self, agent: str) -> None:
        """Void the chain in one transaction."""
        await self._submit(lambda connection: gaps.doubt(connection, agent))

    async def agree(self, agent: str, at: datetime) -> None:
        """Close gaps in one transaction."""
        await self._submit(lambda connection: gaps.agree(connection, agent, to_microseconds(at)))

    async def lease(self, handler: str, most: int, now: datetime, until: datetime) -> Sequence[Lease]:
        """Postpone due dates, in the transaction that finds them."""
        return await self._submit(
            lambda connection: self._lease(connection, handler, most, to_microseconds(now), to_microseconds(until))
        )

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        """Write outcomes in one transaction."""
        known = [(settlement, settlement.lease.number) for settlement in settlements]
        await self._submit(lambda connection: self._settle(connection, known, to_microseconds(now)))

    async def release(self, leases: Sequence[Lease], now: datetime) -> None:
        """Make leased deliveries due now."""
        due = DeliveryState.DUE
        await self.settle([Settlement(lease, due, lease.attempts, due_at=now) for lease in leases], now)

    async def next_due(self, handler: str) -> datetime | None:
        """Read the first due date, one step by its index."""
        return await self._look(lambda connection: point_in_time(deliveries.next_due(connection, handler)))

    def wakes(self, handler: str) -> asyncio.Event:
        """Return the handler's event; it knows of this process's own changes."""
        return self._wakes[handler]

    async def lease_follow_ups(self, most: int, now: datetime, until: datetime) -> Sequence[FollowUpLease]:
        """Postpone due dates, in the transaction that finds them."""
        times = to_microseconds(now), to_microseconds(until)
        return await self._submit(lambda connection: self._lease_follow_ups(connection, most, *times))

    async def record_follow_up(self, lease: FollowUpLease, progress: Progress, now: datetime) -> None:
        """Write progress in one transaction."""
        await self._submit(lambda connection: self._record_follow_up(connection, lease, progress, to_microseconds(now)))

    async def release_follow_ups(self, leases: Sequence[FollowUpLease], now: datetime) -> None:
        """Make leased follow-ups due now."""
        await self._submit(lambda connection: self._release_follow_ups(connection, leases, to_microseconds(now)))

    async def next_follow_up_due(self) -> datetime | None:
        """Read the first due date, one step by its index."""
        return await self._look(lambda connection: point_in_time(follow_ups.next_due(connection)))

    async def shown(self, agent: str, session: str, after: int) -> bool:
        """Look for an entry of the session, by its index."""
        return await self._look(lambda connection: entries.shown(connection, agent, session, after))

    async def notifications(self, agent: str, session: str, after: int) -> Sequence[tuple[int, bytes]]:
        """Read a session's notifications, by their index."""
        return await self._look(lambda connection: entries.notifications(connection, agent, session, after))

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
        """Forget a bite of the oldest entries, in one transaction; when all are, look for a better dictionary."""

        def work(connection: Connection) -> int:
            is_too_large = most_bytes is not None and self._used_bytes(connection) > most_bytes
            forgotten = forget(connection, before, is_too_large=is_too_large)
            if not forgotten:
                self._looked_at = dictionaries.renew(connection, self._last_seq, self._looked_at)
            return forgotten

        return await self._submit(work)

    async def take_retries(self) -> Sequence[Quarantined]:
        """Read what a person marked, in this process or another."""
        return await self._look(quarantine.retries)

    async def release_quarantined(self, quarantined: Quarantined, drafts: Sequence[Draft], error: str | None) -> bool:
        """Write the entries, and that the message left the quarantine, in one transaction."""
        messages = tuple(draft.message for draft in drafts)
        batch = Batch(quarantined.agent, quarantined.origin, quarantined.received_at, messages)

        def work(connection: Connection) -> bool:
            if error is not None:
                return quarantine.keep(connection, quarantined.seq, error)
            is_there = quarantine.release(connection, quarantined.seq)
            if is_there:
                self._append(connection, batch, drafts, ())
            return is_there

        return await self._submit(work)

    async def take_reveals(self) -> Sequence[Reveal]:
        """Read what a person's command wrote, in this process or another."""
        return await self._look(lambda connection: list(reveals.read(connection, "to_pass_on")))

    async def pass_on_reveal(self, reveal: Reveal) -> None:
        """Mark it, in one transaction."""
        await self._submit(lambda connection: reveals.pass_on(connection, reveal))

    def time_with(self, timed: Timed) -> None:
        """Time the commits."""
        self._timed = timed

    @abstractmethod
    async def _look(self, work: Callable[[Connection], T]) -> T:
        """Read something."""

    @abstractmethod
    def _commit(self) -> None:
        """Run all that is queued in one transaction, then `_finish` or `_refuse` it."""

    @abstractmethod
    def _used_bytes(self, connection: Connection) -> int:
        """Return how much of the journal's room is used."""

    def _submit(self, work: Callable[[Connection], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._commit)
        self._queue.append((work, future))
        return future

    def _finish(self, queue: Queue, results: Sequence[Any]) -> None:
        """Say what came of a transaction that is on disk, and wake whom it concerns."""
        for name in sorted(self._woken):  # in one order, so that a simulation can be repeated
            self._wakes[name].set()
        self._woken.clear()
        for session in self._arrived:
            for event in self._arrivals.get(session, ()):
                event.set()
        self._arrived.clear()
        for (_, future), result in zip(queue, results, strict=True):
            if not future.cancelled():
                future.set_result(result)

    def _refuse(self, queue: Queue, failure: JournalError) -> None:
        """Refuse what was queued, and everything from now on."""
        self._failure = failure
        self._has_failed.set()
        for _, future in queue:
            if not future.cancelled():
                future.set_exception(failure)

    # What stands in the transactions, and what it wakes.

    def _append(self, connection: Connection, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        if self._arrivals:
            self._arrived |= {(batch.agent, draft.change.session) for draft in drafts}
        first = self._last_seq + 1
        entries.append(connection, batch, drafts, first)
        for seq, draft in enumerate(drafts, first):
            if draft.wanted:
                self._recent.add(entry_of(seq, batch, draft))
        self._woken |= waiting.append(connection, batch, drafts, first)
        self._last_seq += len(drafts)
        quarantine.append(connection, batch, misfits, self._last_quarantined + 1)
        self._last_quarantined += len(misfits)
        if batch.proof is not None:
            self._prove(connection, batch.agent, batch.proof)
        return first

    def _prove_all(self, connection: Connection, proofs: Mapping[str, Proof]) -> None:
        for agent, proof in proofs.items():
            self._prove(connection, agent, proof)

    def _prove(self, connection: Connection, agent: str, proof: Proof | Break) -> None:
        if gaps.prove(connection, agent, proof):
            self._woken.add(gaps_of(agent))

    def _wind(self, connection: Connection, handler: str, clocks: Sequence[tuple[Entry, int]], now: int) -> None:
        self._woken.add(handler)
        waiting.wind(connection, handler, clocks, now)

    def _shift(self, connection: Connection, by: int) -> None:
        waiting.shift(connection, by)
        follow_ups.shift(connection, by)

    def _lease(self, connection: Connection, handler: str, most: int, now: int, until: int) -> Sequence[Lease]:
        leases = [lease for lease, _ in self._find_due(connection, handler, most, now, ())]
        deliveries.write_leases(connection, [(lease, until) for lease in leases])
        return leases

    def _find_due(
        self, connection: Connection, handler: str, most: int, now: int, held: Collection[deliveries.SessionKey]
    ) -> Sequence[tuple[Lease, int]]:
        number = self._last_lease + 1
        due = list(deliveries.find_due(connection, handler, most, now, held, self._recent, number))
        self._last_lease += len(due)
        return due

    def _settle(self, connection: Connection, settlements: Sequence[tuple[Settlement, int]], now: int) -> None:
        """Settle each by its lease's number in the database."""
        for settlement, number in settlements:
            self._woken.add(settlement.lease.handler)
            if deliveries.settle(connection, settlement, number, now) and settlement.follow_ups:
                follow_ups.intend(connection, settlement.lease, settlement.follow_ups, now)
                self._woken.add(FOLLOW_UPS)

    def _lease_follow_ups(self, connection: Connection, most: int, now: int, until: int) -> Sequence[FollowUpLease]:
        leases = follow_ups.lease_due(connection, most, now, until, self._last_lease + 1)
        self._last_lease += len(leases)
        return leases

    def _record_follow_up(self, connection: Connection, lease: FollowUpLease, progress: Progress, now: int) -> None:
        follow_ups.record(connection, lease, progress, now)
        self._woken.add(FOLLOW_UPS)

    def _release_follow_ups(self, connection: Connection, leases: Sequence[FollowUpLease], now: int) -> None:
        follow_ups.release(connection, leases, now)
        self._woken.add(FOLLOW_UPS)


def point_in_time(number: int | None) -> datetime | None:
    """Return a point in time of a query, if there is one."""
    return None if number is None else from_microseconds(number)

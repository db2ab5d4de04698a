"""A lane: deliveries of one kind, leased, carried out side by side, and settled or handed back.

Each handler is a lane, and the follow-ups on GWS are one. A lane says what is due and how it is carried out; the worker
does what is the same for all: how many at a time, when to look again, and how it ends.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

import structlog

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.errors import FbsessiondError

log = structlog.get_logger(__name__)

FINISH_SECONDS = 5.0
"""How long what runs may go on when the daemon stops."""

LONGEST_BACKOFF = timedelta(hours=1)

POLL_SECONDS = 1.0
"""How often a worker looks for what nothing in this process announced: a person's retry, another daemon's work."""


class Leased(Protocol):
    """Something handed out."""

    @property
    def id(self) -> str:
        """Its name, the same at every lease."""
        ...


L = TypeVar("L", bound=Leased)


class Lane(Protocol[L]):
    """What a worker needs to know of a kind of deliveries."""

    @property
    def name(self) -> str:
        """Its name, in the log and for `Journal.wakes`."""
        ...

    @property
    def concurrency(self) -> int:
        """How many at a time."""
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next one is due, which can be in the past."""
        ...

    async def lease(self, most: int, now: datetime) -> Sequence[L]:
        """Hand out up to `most` that are due."""
        ...

    async def release(self, leases: Sequence[L], now: datetime) -> None:
        """Hand back what was interrupted."""
        ...

    async def carry_out(self, lease: L, current: Callable[[], L]) -> None:
        """Carry one out and settle it, by the lease that is `current` then: it may have got a new one meanwhile.

        Raises `FbsessiondError`, which ends the daemon; whatever else goes wrong is settled as its failure.
        """
        ...


def backoff(first: timedelta, failures: int, longest: timedelta, chance: Chance) -> timedelta:
    """Return a pause of full jitter: anything up to a limit that doubles with each failure."""
    limit = min(longest, first * 2 ** min(failures - 1, 20))
    return timedelta(seconds=chance.between(0, limit.total_seconds()))


class Worker(Generic[L]):
    """Carries out what is due in a lane."""

    def __init__(self, lane: Lane[L], wake: asyncio.Event, clock: Clock) -> None:
        """Take a lane, and the event that is set when something in it may have become due."""
        self.lane = lane
        self._clock = clock
        self._wake = wake
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """What runs."""
        self._leases: dict[str, L] = {}
        """What was handed out and isn't settled."""
        self._leasing: asyncio.Future[Sequence[L]] | None = None
        self._moved = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def has_failed(self) -> bool:
        """Whether something failed that ends the daemon; what runs beside it may still be finished."""
        return self._failure is not None

    async def run(self) -> None:
        """Lease and start what is due, then wait for the next reason to look, until cancelled.

        Raises `FbsessiondError`.
        """
        while self._failure is None:
            await self._look()
        raise self._failure

    async def stop(self) -> BaseException | None:
        """Let what runs finish, interrupt what takes too long, and make what isn't settled due again.

        Return the first failure of all, if there was one.
        """
        try:
            if self._leasing is not None:
                self._leases.update((lease.id, lease) for lease in await self._leasing)
            await self._finish(FINISH_SECONDS)
            for task in self._tasks.values():
                task.cancel()
            await self._finish(None)
            if self._leases:
                await self.lane.release(list(self._leases.values()), self._clock.now())
                log.info("deliveries.handed_back", handler=self.lane.name, count=len(self._leases))
        except FbsessiondError as error:
            self._fail(error)
        return self._failure

    async def drain(self) -> None:
        """Return when nothing is due any more and nothing runs."""
        while self._leasing or self._tasks or self._is_due(await self.lane.next_due()):
            self._moved.clear()
            await self._moved.wait()

    async def _look(self) -> None:
        """Start what is due, or else wait until something may be: an announcement, a clock, or the next poll."""
        self._wake.clear()
        due_at = await self.lane.next_due()
        room = self.lane.concurrency - len(self._tasks)
        pause = POLL_SECONDS
        if room and due_at is not None:
            if self._is_due(due_at):
                if await self._start_due(room):
                    return
            else:
                pause = min(pause, (due_at - self._clock.now()).total_seconds())
        self._moved.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()

    def _is_due(self, due_at: datetime | None) -> bool:
        return due_at is not None and due_at <= self._clock.now()

    async def _start_due(self, room: int) -> int:
        """Start as many deliveries as are due and as there is room for; return how many were to be had."""
        self._leasing = asyncio.ensure_future(self.lane.lease(room, self._clock.now()))
        leases = await asyncio.shield(self._leasing)
        self._leasing = None
        for lease in leases:
            self._start(lease)
        return len(leases)

    def _start(self, lease: L) -> None:
        """Carry a delivery out; one that still runs, though its lease ran out, has got a new lease, and runs on."""
        name = lease.id
        self._leases[name] = lease
        if name not in self._tasks:
            task = asyncio.create_task(self._carry_out(lease), name=f"delivery {name}")
            self._tasks[name] = task
            task.add_done_callback(lambda _: self._ended(name))

    async def _carry_out(self, lease: L) -> None:
        settled_by = lease

        def current() -> L:
            nonlocal settled_by
            settled_by = self._leases[lease.id]
            return settled_by

        await self.lane.carry_out(lease, current)
        left = self._leases.pop(lease.id)
        if left is not settled_by:  # handed out anew while the lease before settled it, which then settled nothing
            await self.lane.release([left], self._clock.now())

    def _ended(self, name: str) -> None:
        task = self._tasks.pop(name)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self._moved.set()
        self._wake.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error

    async def _finish(self, seconds: float | None) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)

"""A lane: deliveries of one kind, leased, carried out side by side, and settled or handed back.

Each handler is a lane, and the follow-ups on GWS are one. A lane says what is due and how it is carried out; the worker
does what is the same for all: how many at a time, for how long, when to look again, and how it ends.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import structlog

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.errors import FbsessiondError
from fbsessiond.tasks import within

log = structlog.get_logger(__name__)

FINISH_SECONDS = 5.0
"""How long what runs may go on when the daemon stops."""

CANCEL_SECONDS = 5.0
"""How long what was cancelled may take to clean up before the log says that it doesn't stop."""

LONGEST_BACKOFF = timedelta(hours=1)

MOST_AT_ONCE = 128
"""How many are leased together where none of those before had to wait for anything."""

POLL_SECONDS = 1.0
"""How often a worker looks for what nothing in this process announced: a person's retry, another daemon's work."""


class Leased(Protocol):
    """Something handed out."""

    @property
    def id(self) -> str:
        """Its name, the same at every lease."""
        ...


L = TypeVar("L", bound=Leased)
E = TypeVar("E")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Hold(Generic[L]):
    """Something handed out, from its lease until it is settled or handed back."""

    id: str
    """Its name, the same at every lease."""
    lease: L
    """The one that counts: what takes long may get another one meanwhile."""
    context: Context = field(default_factory=copy_context)
    """In which it is carried out, a copy of its own for each."""
    settled_by: L | None = None
    """The lease by which its end was written down."""
    is_expired: bool = False
    """Whether it took too long, and was cancelled."""
    is_interrupted: bool = False
    """Whether it was cancelled because the daemon stops."""
    timer: asyncio.TimerHandle | None = None


class Lane(Protocol[L, E]):
    """What a worker needs to know of a kind of deliveries."""

    @property
    def name(self) -> str:
        """Its name, in the log and for `Journal.wakes`."""
        ...

    @property
    def concurrency(self) -> int:
        """How many at a time."""
        ...

    @property
    def timeout(self) -> timedelta | None:
        """How long one may take; None: what it does is bounded otherwise."""
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next one is due, which can be in the past."""
        ...

    async def lease(self, most: int, now: datetime) -> Sequence[L]:
        """Hand out up to `most` that are due."""
        ...

    async def release(self, leases: Sequence[L], now: datetime) -> None:
        """Hand back what was interrupted, or not begun."""
        ...

    async def carry_out(self, hold: Hold[L]) -> E:
        """Carry one out, and return how it ended.

        Raises `FbsessiondError`, which ends the daemon; whatever else goes wrong is a way to end. Raises
        `CancelledError` only where it was interrupted.
        """
        ...

    async def settle(self, ended: Sequence[tuple[Hold[L], E]]) -> None:
        """Write down how some ended, each by the lease that it has now, if that isn't done; then it is on disk."""
        ...


def backoff(first: timedelta, failures: int, longest: timedelta, chance: Chance) -> timedelta:
    """Return a pause of full jitter: anything up to a limit that doubles with each failure."""
    limit = min(longest, first * 2 ** min(failures - 1, 20))
    return timedelta(seconds=chance.between(0, limit.total_seconds()))


class Worker(Generic[L, E]):
    """Carries out what is due in a lane.

    What waits for nothing is carried out one after the other in one task. As soon as one has to wait, that task is its
    own, and the next one gets another.
    """

    def __init__(self, lane: Lane[L, E], wake: asyncio.Event, clock: Clock) -> None:
        """Take a lane, and the event that is set when something in it may have become due."""
        self.lane = lane
        self._clock = clock
        self._wake = wake
        self._holds: dict[str, Hold[L]] = {}
        """What was handed out and isn't settled."""
        self._queue: deque[Hold[L]] = deque()
        """What is to be begun at once."""
        self._taking: asyncio.Task[None] | None = None
        """The task that takes from the queue."""
        self._running: dict[asyncio.Task[None], Hold[L]] = {}
        self._ended: list[tuple[Hold[L], E]] = []
        self._most = lane.concurrency
        """How many are leased where nothing runs."""
        self._writing: asyncio.Task[Any] | None = None
        """What must not be cut short: it is handing out, handing back, or settling."""
        self._moved = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def has_failed(self) -> bool:
        """Whether something failed that ends the daemon; what runs beside it may still be finished."""
        return self._failure is not None

    async def run(self) -> None:
        """Lease and start what is due, settle what ended, then wait for the next reason to look, until cancelled.

        Raises `FbsessiondError`.
        """
        while self._failure is None:
            await self._look()
        raise self._failure

    async def stop(self) -> BaseException | None:
        """Let what runs finish, interrupt what takes too long, and make what isn't settled due again.

        Return the first failure of all, if there was one.
        """
        self._taking = None
        await self._try(self._end_writing())
        await self._finish(FINISH_SECONDS)
        for task, hold in self._running.items():
            hold.is_interrupted = True
            task.cancel()
        await self._finish(CANCEL_SECONDS)
        for hold in self._running.values():
            self._forget_limit(hold)
            self._say_it_does_not_stop(hold)
        await self._try(self._let_go())
        return self._failure

    async def drain(self) -> None:
        """Return when nothing is due any more and nothing runs."""
        while self._writing or self._holds or self._is_due(await self.lane.next_due()):
            self._moved.clear()
            await self._moved.wait()

    async def _look(self) -> None:
        """Settle what ended, start what is due; or wait until something may be: an end, a clock, or the next poll."""
        self._wake.clear()
        if self._ended:
            await self._write(self._settle())
        due_at = await self.lane.next_due()
        room = self.lane.concurrency - len(self._running)
        pause = POLL_SECONDS
        if room > 0 and due_at is not None:
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
        most = room if self._running else self._most
        leases = await self._write(self.lane.lease(most, self._clock.now()))
        self._take(leases)
        await self._begin()
        return len(leases)

    def _take(self, leases: Sequence[L]) -> None:
        """Queue what was handed out; what still runs, though its lease ran out, has got a new lease, and runs on."""
        for lease in leases:
            name = lease.id
            if (hold := self._holds.get(name)) is not None:
                hold.lease = lease
            else:
                self._holds[name] = hold = Hold(name, lease)
                self._queue.append(hold)

    async def _begin(self) -> None:
        """Carry out what is in the queue, as far as there is room; what is left is handed back."""
        had_to_wait = False
        while self._queue and len(self._running) < self.lane.concurrency and self._failure is None:
            self._taking = task = asyncio.create_task(self._carry_out())
            task.add_done_callback(self._task_ended)
            await asyncio.sleep(0)
            if (hold := self._running.get(task)) is not None:
                had_to_wait = True
                self._limit(hold, task)
        self._taking = None
        if self._queue:
            await self._write(self._hand_back())
        self._most = self.lane.concurrency if had_to_wait else min(2 * self._most, max(MOST_AT_ONCE, self._most))

    async def _carry_out(self) -> None:
        """Carry out one after the other; once it had to wait, another task takes what is left."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  this is one
        while self._queue and self._taking is task and not task.cancelling():
            self._running[task] = hold = self._queue.popleft()
            task.set_name(f"delivery {hold.id}")
            end = await within(hold.context, self.lane.carry_out(hold))
            self._ended.append((hold, end))
            self._forget_limit(hold)
            del self._running[task]

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if (hold := self._running.pop(task, None)) is not None:
            self._forget_limit(hold)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self._moved.set()
        self._wake.set()

    def _limit(self, hold: Hold[L], task: "asyncio.Task[None]") -> None:
        """Give one that has to wait so much time as the lane allows."""
        if self.lane.timeout is not None:
            seconds = self.lane.timeout.total_seconds()
            hold.timer = asyncio.get_running_loop().call_later(seconds, self._expire, hold, task)

    def _expire(self, hold: Hold[L], task: "asyncio.Task[None]") -> None:
        hold.is_expired = True
        task.cancel()
        self._have_patience(hold, CANCEL_SECONDS)

    def _have_patience(self, hold: Hold[L], seconds: float) -> None:
        """Wait for one that was cancelled, as its session's next one has to, and say so, each time later."""

        def run_out() -> None:
            self._say_it_does_not_stop(hold)
            self._have_patience(hold, seconds * 2)

        hold.timer = asyncio.get_running_loop().call_later(seconds, run_out)

    def _forget_limit(self, hold: Hold[L]) -> None:
        if hold.timer is not None:
            hold.timer.cancel()

    def _say_it_does_not_stop(self, hold: Hold[L]) -> None:
        log.error("handler.does_not_stop", handler=self.lane.name, delivery=hold.id)

    async def _settle(self) -> None:
        """Write down what ended. What got a new lease just before is handed back: the old one settled nothing."""
        ended, self._ended = self._ended, []
        if not ended:
            return
        await self.lane.settle(ended)
        for hold, _ in ended:
            del self._holds[hold.id]
        if anew := [hold.lease for hold, _ in ended if hold.lease is not hold.settled_by]:
            await self.lane.release(anew, self._clock.now())

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        """Note that something fails; what comes after it is done all the same."""
        try:
            await work
        except FbsessiondError as error:
            self._fail(error)

    async def _end_writing(self) -> None:
        if self._writing is not None:
            self._take(await self._writing or ())

    async def _let_go(self) -> None:
        """Settle what has ended, and hand the rest back."""
        await self._settle()
        if self._holds:
            await self.lane.release([hold.lease for hold in self._holds.values()], self._clock.now())
            log.info("deliveries.handed_back", handler=self.lane.name, count=len(self._holds))

    async def _hand_back(self) -> None:
        leases = [self._holds.pop(hold.id).lease for hold in self._queue]
        self._queue.clear()
        await self.lane.release(leases, self._clock.now())

    async def _write(self, work: Coroutine[Any, Any, T]) -> T:
        """Let a change of the journal come to its end even if the worker is cancelled meanwhile."""
        self._writing = writing = asyncio.create_task(work)
        result = await asyncio.shield(writing)
        self._writing = None
        return result

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error

    async def _finish(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

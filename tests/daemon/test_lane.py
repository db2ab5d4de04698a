"""What is the same for all that is leased and carried out, on virtual time."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from fbsessiond.chance import SeededChance
from fbsessiond.errors import DiskError, FbsessiondError, RefusedError
from fbsessiond.lane import CANCEL_SECONDS, FINISH_SECONDS, LONGEST_BACKOFF, POLL_SECONDS, Hold, Worker, backoff
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let a test run on virtual time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        run_virtual(test(*arguments, **named))

    return run


@dataclass(frozen=True, slots=True)
class Job:
    """Something handed out."""

    id: str
    lease: int = 0


class Jobs:
    """A lane of jobs, each with its due date; a lease is a postponed one."""

    name = "jobs"
    timeout: timedelta | None = None

    def __init__(self, do: Callable[[Job], Awaitable[None]], *, concurrency: int = 2, seconds: float = 60) -> None:
        self.concurrency = concurrency
        self.due: dict[str, datetime] = {}
        self.begun: list[tuple[str, int]] = []
        self.done: list[Job] = []
        self.released: list[Job] = []
        self.looked = 0
        self.leasing: asyncio.Event | None = None
        """Where it is given, leasing takes until it is set."""
        self.settling = 0.0
        """How many seconds it takes to settle one while it is carried out, if any; an old lease settles nothing."""
        self.refuses_lease: FbsessiondError | None = None
        self.refuses_release: FbsessiondError | None = None
        self._do = do
        self._seconds = seconds
        self._last_lease = 0
        self._leases: dict[str, Job] = {}

    def add(self, *names: str, seconds: float = 0) -> None:
        """Add jobs that are due some seconds after the beginning."""
        self.due |= dict.fromkeys(names, EPOCH + timedelta(seconds=seconds))

    async def next_due(self) -> datetime | None:
        """Return when the next one is due."""
        self.looked += 1
        return min(self.due.values(), default=None)

    async def lease(self, most: int, now: datetime) -> Sequence[Job]:
        """Hand out what is due."""
        if self.leasing is not None:
            await self.leasing.wait()
        if self.refuses_lease is not None:
            raise self.refuses_lease
        jobs: list[Job] = []
        for name in sorted(name for name, at in self.due.items() if at <= now)[:most]:
            self._last_lease += 1
            self.due[name] = now + timedelta(seconds=self._seconds)
            self._leases[name] = Job(name, self._last_lease)
            jobs.append(self._leases[name])
        return jobs

    async def release(self, leases: Sequence[Job], now: datetime) -> None:
        """Make interrupted ones due again."""
        if self.refuses_release is not None:
            raise self.refuses_release
        self.released += leases
        self.due |= {job.id: now for job in leases}

    async def carry_out(self, hold: Hold[Job]) -> str:
        """Do one."""
        self.begun.append((hold.lease.id, round(asyncio.get_running_loop().time())))
        await self._do(hold.lease)
        if self.settling:
            hold.settled_by = hold.lease
            await asyncio.sleep(self.settling)
            self._write(hold)
        return hold.lease.id

    async def settle(self, ended: Sequence[tuple[Hold[Job], str]]) -> None:
        """Settle those that weren't when they were carried out, by the leases that they have now."""
        for hold, name in ended:
            assert name == hold.lease.id
            if hold.settled_by is None:
                hold.settled_by = hold.lease
                self._write(hold)

    def _write(self, hold: Hold[Job]) -> None:
        if (job := hold.settled_by) is not None and self._leases[job.id] == job:
            self.done.append(job)
            del self.due[job.id]


@dataclass
class Working:
    """A worker at work."""

    worker: Worker[Job, str]
    wake: asyncio.Event
    task: asyncio.Task[None]
    is_stopped: bool = False

    async def stop(self) -> BaseException | None:
        """Stop it as the dispatch does, unless that was done."""
        if self.is_stopped:
            return None
        self.is_stopped = True
        self.task.cancel()
        await asyncio.wait([self.task])
        return await self.worker.stop()


@asynccontextmanager
async def working(jobs: Jobs) -> AsyncGenerator[Working]:
    """Let a worker carry out jobs."""
    wake = asyncio.Event()
    worker = Worker[Job, str](jobs, wake, VirtualClock())
    work = Working(worker, wake, asyncio.create_task(worker.run()))
    try:
        yield work
    finally:
        await work.stop()


async def nothing(_: Job) -> None:
    """Take no time."""


def taking(seconds: float) -> Callable[[Job], Awaitable[None]]:
    """Take so long."""
    return lambda _: asyncio.sleep(seconds)


@virtual
async def test_side_by_side() -> None:
    """As many run at a time as the lane allows, and the next as soon as one ends."""
    jobs = Jobs(taking(10))
    jobs.add("a", "b", "c")
    async with working(jobs):
        await asyncio.sleep(30)
    assert jobs.begun == [("a", 0), ("b", 0), ("c", 10)]
    assert sorted(job.id for job in jobs.done) == ["a", "b", "c"]


@virtual
async def test_due_later() -> None:
    """What is due later is begun then, to the moment."""
    jobs = Jobs(nothing)
    jobs.add("a", seconds=7)
    jobs.add("b", seconds=7.4)
    async with working(jobs):
        await asyncio.sleep(7.2)
        assert jobs.begun == [("a", 7)]
        await asyncio.sleep(0.21)
        assert len(jobs.begun) == 2


@virtual
async def test_due_while_another_runs() -> None:
    """What is due later is begun to the moment, too, where something that was due before still runs."""
    jobs = Jobs(taking(10))
    jobs.add("a")
    jobs.add("b", seconds=0.4)
    async with working(jobs):
        await asyncio.sleep(0.41)
        assert len(jobs.begun) == 2


@virtual
async def test_announced() -> None:
    """What is announced is begun at once; what isn't is found at the next look."""
    jobs = Jobs(nothing)
    async with working(jobs) as work:
        await asyncio.sleep(0.1)
        jobs.add("a")
        await asyncio.sleep(0.1)
        assert jobs.begun == []
        work.wake.set()
        await asyncio.sleep(0.1)
        assert jobs.begun == [("a", 0)]
        jobs.add("b")
        await asyncio.sleep(POLL_SECONDS)
        assert [name for name, _ in jobs.begun] == ["a", "b"]


@virtual
async def test_nothing_to_be_had() -> None:
    """Where something is due that another has, the worker looks again later, and not all the time."""
    jobs = Jobs(nothing, concurrency=1)

    async def nobody(_most: int, _now: datetime) -> Sequence[Job]:
        return []

    jobs.lease = nobody  # type: ignore[method-assign]
    jobs.add("a")
    async with working(jobs):
        await asyncio.sleep(10 * POLL_SECONDS)
    assert jobs.looked in range(10, 13)


@virtual
async def test_lease_ran_out() -> None:
    """What takes longer than its lease runs on under the new one, and is settled by that."""
    jobs = Jobs(taking(100), seconds=60)
    jobs.add("a")
    async with working(jobs):
        await asyncio.sleep(101)
    assert jobs.begun == [("a", 0)]
    assert jobs.done == [Job("a", 2)]


@virtual
async def test_lease_ran_out_while_settled() -> None:
    """What is handed out anew just before it is settled by the old lease is due again at once, not after a lease."""
    jobs = Jobs(taking(50), seconds=60)
    jobs.settling = 15
    jobs.add("a")
    async with working(jobs):
        await asyncio.sleep(66)
        assert jobs.released == [Job("a", 2)]
        jobs.settling = 0
        await asyncio.sleep(51)
    assert jobs.begun == [("a", 0), ("a", 65)]
    assert jobs.done == [Job("a", 3)]


@virtual
async def test_finished_at_the_stop() -> None:
    """What ends soon after the stop counts; what doesn't is interrupted and handed back."""
    jobs = Jobs(lambda job: asyncio.sleep(3 if job.id == "a" else 100))
    jobs.add("a", "b")
    async with working(jobs) as work:
        await asyncio.sleep(1)
        with capture_logs() as logged:
            assert await work.stop() is None
        assert asyncio.get_running_loop().time() == 1 + FINISH_SECONDS
    assert [job.id for job in jobs.done] == ["a"]
    assert jobs.released == [Job("b", 2)]
    assert logged == [{"event": "deliveries.handed_back", "handler": "jobs", "count": 1, "log_level": "info"}]


@virtual
async def test_interrupted_at_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    """What is interrupted is handed back only once it has cleaned up; to be interrupted is no failure."""
    cleaned_up: list[bool] = []

    async def clean_up(_: Job) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(2)
            cleaned_up.append(not jobs.released)

    jobs = Jobs(clean_up)
    jobs.add("a")
    async with working(jobs) as work:
        await asyncio.sleep(1)
        assert await work.stop() is None
        assert cleaned_up == [True]
    assert [job.id for job in jobs.released] == ["a"]
    assert caplog.records == []


@virtual
async def test_stop_while_leasing() -> None:
    """What was being handed out at the stop is handed back."""
    jobs = Jobs(nothing)
    jobs.leasing = asyncio.Event()
    jobs.add("a")
    async with working(jobs) as work:
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(1, jobs.leasing.set)
        assert await work.stop() is None
        assert jobs.released == [Job("a", 1)]
    assert jobs.begun == []


@virtual
async def test_stop_when_idle() -> None:
    """A worker with nothing to do stops at once, and hands nothing back."""
    jobs = Jobs(nothing)
    async with working(jobs) as work:
        await asyncio.sleep(1)
        with capture_logs() as logged:
            assert await work.stop() is None
        assert asyncio.get_running_loop().time() == 1
    assert (jobs.released, logged) == ([], [])


@virtual
async def test_failure() -> None:
    """An error ends the worker and reaches its caller, the first if there are several."""
    first, second = RefusedError("credentials"), DiskError("no sync")

    async def fail(job: Job) -> None:
        await asyncio.sleep(1 if job.id == "a" else 2)
        raise first if job.id == "a" else second

    jobs = Jobs(fail)
    jobs.add("a", "b")
    async with working(jobs) as work:
        assert not work.worker.has_failed
        await asyncio.wait([work.task])
        assert work.worker.has_failed
        assert work.task.exception() is first
        assert asyncio.get_running_loop().time() == 1
        assert await work.stop() is first
    assert [job.id for job in jobs.released] == ["a", "b"]


@virtual
async def test_failure_while_stopping() -> None:
    """What can't be handed back is a failure that the stop returns."""
    jobs = Jobs(taking(100))
    jobs.refuses_release = DiskError("no sync")
    jobs.add("a")
    async with working(jobs) as work:
        await asyncio.sleep(1)
        assert await work.stop() is jobs.refuses_release


@virtual
async def test_failure_while_handing_out() -> None:
    """Where nothing more can be handed out, what runs is brought to its end all the same."""
    jobs = Jobs(taking(1000))
    jobs.add("a")
    jobs.add("b", seconds=1)
    async with working(jobs) as work:
        await asyncio.sleep(0.5)
        jobs.leasing = asyncio.Event()
        jobs.refuses_lease = DiskError("no sync")
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(1, jobs.leasing.set)
        assert await work.stop() is jobs.refuses_lease
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "delivery a"]
    assert [job.id for job in jobs.released] == ["a"]


@virtual
async def test_drain() -> None:
    """Draining takes until nothing is due and nothing runs; it doesn't wait for what is due later."""
    jobs = Jobs(taking(5))
    jobs.add("a", "b", "c")
    jobs.add("later", seconds=1000)
    async with working(jobs) as work:
        await work.worker.drain()
        assert asyncio.get_running_loop().time() in range(10, 12)
        assert sorted(job.id for job in jobs.done) == ["a", "b", "c"]


@virtual
async def test_drain_while_leasing() -> None:
    """What is just being handed out isn't done yet, though nothing is due any more."""
    jobs = Jobs(nothing)
    jobs.add("a")
    lease = jobs.lease

    async def slowly(most: int, now: datetime) -> Sequence[Job]:
        leases = await lease(most, now)
        await asyncio.sleep(3)
        return leases

    jobs.lease = slowly  # type: ignore[method-assign]
    async with working(jobs) as work:
        await asyncio.sleep(1)
        await work.worker.drain()
        assert [job.id for job in jobs.done] == ["a"]


@virtual
async def test_drain_of_nothing() -> None:
    """Where nothing is left, or another took it, there is nothing to wait for."""
    jobs = Jobs(nothing)
    async with working(jobs) as work:
        await work.worker.drain()
        jobs.concurrency = 0
        jobs.add("a")
        asyncio.get_running_loop().call_later(5, jobs.due.clear)
        await work.worker.drain()
        assert asyncio.get_running_loop().time() in range(5, 7)


def test_backoff() -> None:
    """Pauses are anything up to a limit that doubles with each failure, and that has a limit itself."""
    chance, second = SeededChance(1), timedelta(seconds=1)
    for failures in (1, 2, 5, 100):
        pauses = [backoff(second, failures, LONGEST_BACKOFF, chance) for _ in range(200)]
        limit = min(LONGEST_BACKOFF, second * 2 ** min(failures - 1, 12))
        assert timedelta(0) <= min(pauses) < limit * 0.1
        assert limit * 0.9 < max(pauses) <= limit
    assert backoff(second * 0, 3, LONGEST_BACKOFF, chance) == timedelta(0)


async def stubbornly(_: Job) -> None:
    """Take 100 seconds, whoever cancels that."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 100
    while loop.time() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(until - loop.time())


@virtual
async def test_time_out() -> None:
    """What takes too long is cancelled; where that doesn't end it, the log says so, after longer and longer pauses."""
    jobs = Jobs(stubbornly)
    jobs.timeout = timedelta(seconds=2)
    jobs.add("a")
    async with working(jobs):
        with capture_logs() as logged:
            await asyncio.sleep(101)
    assert [line["event"] for line in logged] == ["handler.does_not_stop"] * 4  # after 7, 17, 37 and 77 seconds
    assert [job.id for job in jobs.done] == ["a"]


@virtual
async def test_never_stops() -> None:
    """What doesn't end when the daemon stops is handed back, and named in the log; the stop goes on without it."""
    jobs = Jobs(stubbornly)
    jobs.add("a")
    async with working(jobs) as work:
        await asyncio.sleep(1)
        with capture_logs() as logged:
            assert await work.stop() is None
        assert asyncio.get_running_loop().time() == 1 + FINISH_SECONDS + CANCEL_SECONDS
    assert [line["event"] for line in logged] == ["handler.does_not_stop", "deliveries.handed_back"]
    assert [job.id for job in jobs.released] == ["a"]


@virtual
async def test_more_at_once() -> None:
    """Where nothing had to wait, more are handed out the next time; those that then have no room are handed back."""
    jobs = Jobs(slowly)
    jobs.add("a", "b")
    async with working(jobs) as work:
        await asyncio.sleep(0.1)
        jobs.add("slow 1", "slow 2", "slow 3", "slow 4")
        work.wake.set()
        await asyncio.sleep(0.1)
        assert [name for name, _ in jobs.begun] == ["a", "b", "slow 1", "slow 2"]
        assert [job.id for job in jobs.released] == ["slow 3", "slow 4"]
        await asyncio.sleep(20)
    assert len(jobs.done) == 6


async def slowly(job: Job) -> None:
    """Wait for some seconds where the name says so; else for nothing."""
    if job.id.startswith("slow"):
        await asyncio.sleep(5)

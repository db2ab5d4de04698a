import asyncio
import inspect
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager

from structlog.testing import capture_logs
from structlog.typing import EventDict

from fbsessiond.clock import SystemClock
from fbsessiond.watch import PLACES, LoopWatch

BLOCKED_SECONDS = 0.1
LOOK_SECONDS = 0.02
MOST_SECONDS = 1.3
"""How long a test blocks at most, however slow the machine is."""


PLACE = re.compile(re.escape(__file__) + r":(\d+) in (.+)")


@contextmanager
def watching() -> Generator[list[EventDict], None, None]:
    """Watch the running loop, and lend what is logged."""
    watch = LoopWatch(SystemClock(), blocked_seconds=BLOCKED_SECONDS, look_seconds=LOOK_SECONDS)
    with capture_logs() as logged, watch:
        yield logged


def block_until(logged: list[EventDict], count: int, *, least: float = 0.0) -> None:
    """Keep the loop from going round until so many lines are logged, and at least some seconds."""
    clock = SystemClock()
    begun = clock.monotonic()
    while clock.monotonic() - begun < MOST_SECONDS and (len(logged) < count or clock.monotonic() - begun < least):
        pass


async def test_named_while_it_blocks() -> None:
    """Who blocks the loop is named, with file and line, while it still blocks."""
    with watching() as logged:

        async def handle() -> int:
            block_until(logged, 1)
            return len(logged)

        seen_while_blocking = await asyncio.create_task(handle(), name="handler slow")
    assert seen_while_blocking == 1
    (line,) = logged
    assert (line["event"], line["log_level"], line["by"]) == ("loop.blocked", "error", "handler slow")
    for function in (block_until, handle):
        source, first = inspect.getsourcelines(function)
        (number,) = [
            int(found[1])
            for place in line["where"]
            if (found := PLACE.fullmatch(place)) and found[2] == function.__qualname__
        ]
        assert first < number <= first + len(source)
    assert "asyncio.to_thread" in line["hint"]


async def test_once_each_time() -> None:
    """Each time that the loop is blocked is told once, however long it lasts."""
    with watching() as logged:
        for count in (1, 2):
            block_until(logged, count, least=4 * BLOCKED_SECONDS)
            assert len(logged) == count
            went_round = asyncio.Event()
            asyncio.get_running_loop().call_later(3 * LOOK_SECONDS, went_round.set)
            await went_round.wait()
    assert len(logged) == 2


async def test_nobody_in_particular() -> None:
    """What blocks outside of any task, in a callback, has no name but a place."""
    with watching() as logged:
        done = asyncio.Event()

        def callback() -> None:
            block_until(logged, 1)
            done.set()

        asyncio.get_running_loop().call_soon(callback)
        await done.wait()
    (line,) = logged
    assert line["by"] == "unknown"
    assert any("callback" in place for place in line["where"])


async def test_waiting() -> None:
    """A loop that waits isn't blocked."""
    with watching() as logged:
        waited = asyncio.Event()
        asyncio.get_running_loop().call_later(4 * BLOCKED_SECONDS, waited.set)
        await waited.wait()
    assert logged == []


async def test_lag() -> None:
    """At each look it is told how late the loop was for it."""
    told: list[float] = []
    with LoopWatch(SystemClock(), late=told.append, look_seconds=LOOK_SECONDS):
        block_until([], 0, least=5 * LOOK_SECONDS)
        went_round = asyncio.Event()
        asyncio.get_running_loop().call_later(2 * LOOK_SECONDS, went_round.set)
        await went_round.wait()
    assert 3 * LOOK_SECONDS < told[0] < MOST_SECONDS
    assert all(late >= 0 for late in told)


async def test_stop() -> None:
    """Once stopped, nothing is watched: no thread and no timer is left."""
    with watching():
        assert any(thread.name == "loop watch" for thread in threading.enumerate())
    assert not any(thread.name == "loop watch" for thread in threading.enumerate())
    with capture_logs() as logged:
        block_until([], 0, least=3 * BLOCKED_SECONDS)
    assert logged == []


async def test_deep() -> None:
    """Of calls that go deep, the innermost ones are told."""
    with watching() as logged:

        def deep(calls: int) -> None:
            deep(calls - 1) if calls else block_until(logged, 1)

        deep(100)
    assert len(logged[0]["where"]) == PLACES
    assert any("block_until" in place for place in logged[0]["where"])

"""What a notification costs, in counts that are the same on every machine; `make bench` has the times."""

import asyncio
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from daemons import CHANNEL, compact, document
from fbsessiond import Delivery, Done, Handler, Outcome
from fbsessiond.chance import SeededChance
from fbsessiond.clock import SystemClock
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.route import Route
from fbsessiond.service import Pipeline

BURST = 100
HANDLERS = ("first", "second", "third")

MOST = {"commits": 4, "tasks": 40, "callbacks": 150, "Python calls": 36_000}
"""What a burst may cost: less than one commit, task or callback a notification more than it does."""


class Nothing(Handler):
    """A handler that does nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:  # noqa: ARG002  the interface's
        """Do nothing."""
        return Done()


def test_burst(tmp_path: Path) -> None:
    """A burst of notifications, journaled, handled by three handlers and settled, shares commits, tasks and turns."""
    counts = costs(tmp_path)
    assert {what: counts[what] for what, most in MOST.items() if counts[what] > most} == {}
    assert all(counts[what] > 0 for what in MOST), "something isn't counted any more"


def costs(folder: Path) -> Counter[str]:
    """Return what the second burst costs; the first warms up."""
    clock = SystemClock()
    with closing(open_journal("sqlite:journal.db", folder, clock.now())) as journal:
        routes = [Route(name, Nothing()) for name in HANDLERS]
        pipeline = Pipeline(journal, routes, clock, SeededChance(1))

        async def run() -> Counter[str]:
            dispatching = asyncio.create_task(pipeline.dispatch.run())
            await settle(pipeline, burst("warm-up", clock))
            with counting(journal, asyncio.get_running_loop()) as counts:
                await settle(pipeline, burst("measured", clock))
            dispatching.cancel()
            await asyncio.wait([dispatching])
            return counts

        return asyncio.run(run())


async def settle(pipeline: Pipeline, batch: Batch) -> None:
    """Have a batch journaled, and its deliveries settled."""
    await pipeline.intake.take(batch)
    await pipeline.dispatch.drain()


def burst(name: str, clock: SystemClock) -> Batch:
    """Return a notification of each of many sessions."""
    documents = [compact(document(f"{name}-{number}", "Chatting")) for number in range(BURST)]
    return Batch("agent1", Origin.LIVE, clock.now(), tuple(Message(b"", CHANNEL, each) for each in documents))


@contextmanager
def counting(journal: Journal, loop: asyncio.AbstractEventLoop) -> Generator[Counter[str]]:
    """Count commits, tasks, what the event loop calls, and what Python calls."""
    counts: Counter[str] = Counter()
    call_soon = loop.call_soon

    @contextmanager
    def timed(step: Literal["commit", "checkpoint"]) -> Generator[None]:
        counts["commits"] += step == "commit"
        yield

    def counted_task(of: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
        counts["tasks"] += 1
        return asyncio.Task(coroutine, loop=of, **named)

    def counted_call(*call: Any, **named: Any) -> asyncio.Handle:
        counts["callbacks"] += 1
        return call_soon(*call, **named)

    def profile(_: FrameType, event: str, __: object) -> None:
        counts["Python calls"] += event == "call"

    journal.time_with(timed)
    loop.set_task_factory(counted_task)
    loop.call_soon = counted_call  # type: ignore[method-assign, assignment]
    sys.setprofile(profile)
    try:
        yield counts
    finally:
        sys.setprofile(None)

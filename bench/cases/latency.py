"""How soon a notification is on disk and with its handlers, where they come singly."""

import asyncio
import time  # noqa: TID251  what a benchmark is about
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import field
from pathlib import Path

from cases.path import connect
from fbsessiond import Delivery, Done, Handler, Outcome
from fbsessiond.events import BatchTaken, Event
from fbsessiond.route import Route
from measure import Figure, Table, percentile
from server import serving
from work import CLOCK, HANDLERS, log, messages, opened, pipeline

COUNT = 2_000
EVERY_MS = 5


class _Timing(Handler):
    """A handler that notes how long after a notification's arrival it started."""

    seconds: list[float] = field(default_factory=list)

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note it."""
        self.seconds.append((CLOCK.now() - delivery.transition.at).total_seconds())
        return Done()


def _look(folder: Path) -> Iterable[Figure]:
    durable: list[float] = []
    started = _Timing(seconds=[])

    def observe(event: Event) -> None:
        if isinstance(event, BatchTaken) and event.batch.messages:
            waited = (CLOCK.now() - event.batch.received_at).total_seconds()
            durable.extend([waited] * len(event.batch.messages))

    with serving() as server, opened(folder) as journal:
        way = pipeline(journal, [Route(name, started) for name in HANDLERS], observe)

        async def receive() -> None:
            async with AsyncExitStack() as stack:
                await connect(stack, server, way)
                server.send(COUNT, burst=1, every_ms=EVERY_MS)
                while len(started.seconds) < COUNT * len(HANDLERS):
                    await asyncio.sleep(0.01)

        asyncio.run(receive())
    bare = _appends(folder)
    yield _milliseconds("received to durable, p50", durable, 50, 1)
    yield _milliseconds("received to durable, p99", durable, 99, 10)
    yield _milliseconds("received to handler started, p99", started.seconds, 99, 20)
    yield _milliseconds("the limit: a write and an `fdatasync`, p50", bare, 50)
    yield _milliseconds("the limit: a write and an `fdatasync`, p99", bare, 99)


def _appends(folder: Path) -> list[float]:
    """Return how long it takes to append notifications to a plain file, each by itself."""
    seconds: list[float] = []
    with log(folder) as append:
        for message in messages(COUNT):
            began_at = time.perf_counter()
            append(message.raw)
            seconds.append(time.perf_counter() - began_at)
    return seconds


def _milliseconds(name: str, seconds: list[float], percent: float, at_most: float | None = None) -> Figure:
    return Figure(name, [percentile(seconds, percent) * 1e3], "ms", at_most=at_most)


LATENCY = Table(
    "latency",
    "200 notifications a second, singly, from a CometD server in another process. Received is when the response was "
    "read; durable is when the commit returned.",
    _look,
)

"""What the journal takes on disk, and how it does when it is large."""

import asyncio
import itertools
import time  # noqa: TID251  what a benchmark is about
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

from fbsessiond.intake import Intake
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Journal
from fbsessiond.message import Batch, Origin
from fbsessiond.route import Route
from measure import Figure, Table, percentile
from work import CLOCK, COUNT, HANDLERS, JOURNAL, SESSIONS, Counting, bodies, bursts, messages, opened, pipeline, settle

ENTRIES = 1_000_000
BATCH = 2_000
BACKLOG = 10_000
"""How many of the large journal's last entries have a delivery that waits."""
EACH = 10
"""So many notifications has a session of which what each takes is looked at: what is once a session hardly counts."""
OPENINGS = 5
TIMELINES = 50
FORGOTTEN = 100_000
ALONE_SECONDS = 2.0


def _look(folder: Path) -> Iterable[Figure]:
    yield Figure("a notification as received", [sum(map(len, bodies(COUNT))) / COUNT], "bytes")
    for each, words in ((1, "one a session"), (EACH, f"{EACH} a session")):
        alone = asyncio.run(_bytes_each(folder / f"alone-{each}", (), each))
        yield Figure(f"on disk, {words}: the entry, and its share of the session", [alone], "bytes", at_most=400)
        whole = asyncio.run(_bytes_each(folder / f"whole-{each}", HANDLERS, each))
        most = 400 if each == EACH else None
        yield Figure(f"on disk, {words}: with three handlers' settled deliveries", [whole], "bytes", at_most=most)
    large = folder / "large"
    asyncio.run(_fill(large))
    yield Figure("1,000,000 entries: opened, the first delivery leased", _openings(large), "s", at_most=1)
    yield from _timelines(large)
    yield from asyncio.run(_retention(large))


async def _bytes_each(folder: Path, handlers: Iterable[str], each: int) -> float:
    """Journal so many notifications of each session, and have them handled; return how many bytes each takes."""
    with opened(folder) as journal:
        way = pipeline(journal, [Route(name, Counting()) for name in handlers])
        for first in range(0, each * SESSIONS, COUNT):
            await settle(way, bursts(messages(COUNT, first)))
    return (folder / "journal.db").stat().st_size / (each * SESSIONS)


async def _fill(folder: Path) -> None:
    """Journal a million notifications, by the daemon's own intake; the last have a delivery that waits."""
    with opened(folder) as journal:
        for first in range(0, ENTRIES, BATCH):
            routes = [Route("first", Counting())] if first >= ENTRIES - BACKLOG else []
            batch = Batch("agent", Origin.LIVE, CLOCK.now(), tuple(messages(BATCH, first)))
            await Intake(journal, routes, CLOCK).take(batch)


def _openings(folder: Path) -> list[float]:
    async def lease(journal: Journal) -> None:
        now = CLOCK.now()
        assert await journal.lease("first", 1, now, now + timedelta(minutes=1))

    def open_and_lease() -> None:
        with opened(folder) as journal:
            asyncio.run(lease(journal))

    return [_seconds(open_and_lease) for _ in range(OPENINGS)]


def _timelines(folder: Path) -> Iterable[Figure]:
    sessions = [f"0002DaAVKJ{number:06}" for number in range(0, SESSIONS, SESSIONS // TIMELINES)]
    with closing(open_reader(JOURNAL, folder)) as reader:

        def read(session: str) -> None:
            assert len(list(reader.entries(session=session))) == ENTRIES // SESSIONS
            list(reader.deliveries(session=session))

        milliseconds = [_seconds(partial(read, session)) * 1e3 for session in sessions]
    name = f"its session's timeline of {ENTRIES // SESSIONS} entries"
    yield Figure(f"{name}, p50", [percentile(milliseconds, 50)], "ms", at_most=5)
    yield Figure(f"{name}, p99", [percentile(milliseconds, 99)], "ms")


async def _retention(folder: Path) -> Iterable[Figure]:
    """Take notifications, one after the other, first alone, then while the oldest entries are forgotten."""
    with opened(folder) as journal:
        intake = Intake(journal, (), CLOCK)
        arriving = itertools.cycle(messages())

        async def take_until(over: asyncio.Task[None]) -> float:
            longest = 0.0
            while not over.done():
                batch = Batch("agent", Origin.LIVE, CLOCK.now(), (next(arriving),))
                began_at = time.perf_counter()
                await intake.take(batch)
                longest = max(longest, time.perf_counter() - began_at)
                await asyncio.sleep(0.001)
            return longest * 1e3

        alone = await take_until(asyncio.create_task(asyncio.sleep(ALONE_SECONDS)))
        meanwhile = await take_until(asyncio.create_task(_forget(journal)))
    return (
        Figure("the longest that intake takes for one notification", [alone], "ms"),
        Figure(f"the same while {FORGOTTEN:,} old entries are forgotten", [meanwhile], "ms", at_most=20),
    )


async def _forget(journal: Journal) -> None:
    """Forget what is old, as the daemon does."""
    forgotten = 0
    while forgotten < FORGOTTEN:
        forgotten += await journal.prune(CLOCK.now(), None)
        await asyncio.sleep(0)


def _seconds(do: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    do()
    return time.perf_counter() - began_at


JOURNAL_CASE = Table(
    "journal",
    "What a notification takes on disk, and how a journal of 1,000,000 entries in 10,000 sessions does.",
    _look,
    most_rounds=1,
)

"""How fast a journal is rehearsed, and fixtures are replayed."""

import asyncio
import time  # noqa: TID251  what a benchmark is about
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from fbsessiond.chance import SeededChance
from fbsessiond.fixtures import Fixture
from fbsessiond.journal.engines import IN_MEMORY, open_journal, open_reader
from fbsessiond.rehearsing import Rehearsal
from fbsessiond.replaying import replay_fixtures
from fbsessiond.route import Route
from fbsessiond.testing import run_virtual
from measure import Figure, Table
from work import CLOCK, HANDLERS, JOURNAL, Counting, bursts, messages, opened, pipeline_to, take

ENTRIES = 20_000
AT_LEAST = 20_000


def _look(folder: Path) -> Iterable[Figure]:
    with opened(folder) as journal:
        way, _ = pipeline_to(journal)
        asyncio.run(take(way, bursts(messages(ENTRIES))))
    for handlers in (HANDLERS, HANDLERS[:1], ()):
        yield _figure(f"rehearsal, {_told(handlers)}", _rehearse(folder, handlers))
    for handlers in (HANDLERS, HANDLERS[:1]):
        yield _figure(f"replay, {_told(handlers)}", _replay(handlers))


def _rehearse(folder: Path, handlers: Sequence[str]) -> float:
    with (
        closing(open_reader(JOURNAL, folder)) as reader,
        closing(open_journal(IN_MEMORY, Path(), CLOCK.now())) as journal,
    ):
        counting = Counting()
        rehearsal = Rehearsal(journal, [Route(name, counting) for name in handlers], SeededChance(1))
        began_at = time.perf_counter()
        run_virtual(rehearsal.run(reader.entries(), lambda _: None))
        seconds = time.perf_counter() - began_at
        assert counting.counts[0] == ENTRIES * len(handlers)
    return seconds


def _replay(handlers: Sequence[str]) -> float:
    fixtures = [Fixture(message) for message in messages(ENTRIES)]
    with closing(open_journal(IN_MEMORY, Path(), CLOCK.now())) as journal:
        counting = Counting()
        routes = [Route(name, counting) for name in handlers]
        began_at = time.perf_counter()
        asyncio.run(replay_fixtures(fixtures, journal, routes, clock=CLOCK, chance=SeededChance(1)))
        seconds = time.perf_counter() - began_at
        assert counting.counts[0] == ENTRIES * len(handlers)
    return seconds


def _figure(name: str, seconds: float) -> Figure:
    return Figure(name, [ENTRIES / seconds], "entries/s", at_least=AT_LEAST)


def _told(handlers: Sequence[str]) -> str:
    return {3: "three handlers that want every transition", 1: "one such handler", 0: "no handler"}[len(handlers)]


REHEARSAL = Table(
    "rehearsal",
    f"A journal of {ENTRIES:,} entries, rehearsed with handlers that only count; and as many fixtures, replayed.",
    _look,
    most_rounds=3,
)

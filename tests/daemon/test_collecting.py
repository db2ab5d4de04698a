"""fbsessiond.collecting: what lives as long as the daemon isn't looked at by the garbage collector."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from fbsessiond.collecting import LOOK_SECONDS, THRESHOLDS, begin, freeze_the_grown
from fbsessiond.testing import run_virtual


class Agent:
    """Something that refers to itself, as tasks and their clients do."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Generator[None]:
    """Leave the collector as it was."""
    thresholds = gc.get_threshold()
    gc.collect()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def counted(play: Callable[[dict[str, int | None]], Coroutine[Any, Any, None]]) -> None:
    """Freeze what has grown beside something that says how far it has."""

    async def main() -> None:
        grown: dict[str, int | None] = {"agents": None}
        freezing = asyncio.create_task(freeze_the_grown(lambda: grown["agents"]))
        await play(grown)
        freezing.cancel()
        await asyncio.wait([freezing])

    run_virtual(main())


async def turn() -> None:
    """Let it look once."""
    await asyncio.sleep(LOOK_SECONDS * 1.5)


def test_begin() -> None:
    """From the start on passes are rarer, and what there is already is left alone."""
    begin()
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() > 0


def test_grown() -> None:
    """What there is when all have begun is frozen once; at the end all of it is looked at again."""

    async def play(grown: dict[str, int | None]) -> None:
        before = gc.get_freeze_count()
        agents = [Agent() for _ in range(1_000)]
        await turn()
        assert gc.get_freeze_count() == before
        grown["agents"] = 1_000
        await turn()
        frozen = gc.get_freeze_count()
        assert frozen > before
        agents += [Agent()]
        await turn()
        assert gc.get_freeze_count() <= frozen

    begin()
    counted(play)
    assert gc.get_freeze_count() == 0


def test_left() -> None:
    """Whoever is left is freed when there are others, frozen or not."""

    async def play(grown: dict[str, int | None]) -> None:
        agent = Agent()
        left = weakref.ref(agent)
        grown["agents"] = 1
        await turn()
        del agent
        gc.collect()
        assert left() is not None
        grown["agents"] = 2
        await turn()
        assert left() is None

    begin()
    counted(play)


def test_in_another_process() -> None:
    """A process that didn't begin so, such as one that runs tests, stays as it is."""

    async def play(grown: dict[str, int | None]) -> None:
        grown["agents"] = 1
        await turn()
        assert gc.get_freeze_count() == 0

    counted(play)

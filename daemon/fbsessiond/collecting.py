"""When Python's garbage collector works.

A full pass looks at every object, and nothing else runs meanwhile: with the 300 objects of each of 5,000 agents that
is some tenths of a second, again and again. What lives as long as the daemon needn't be looked at: it is frozen, after
the start and once more when all agents have begun. What dies without a cycle is freed at once, with or without this.
"""

import asyncio
import gc
from collections.abc import Callable

THRESHOLDS = (10_000, 20, 20)
"""A young pass after so many new objects, an older one after so many of these, and so on; by default (700, 10, 10)."""

LOOK_SECONDS = 10.0


def begin() -> None:
    """Freeze what was imported and configured, and have passes be rarer from now on."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


async def freeze_the_grown(count: Callable[[], int | None]) -> None:
    """Freeze what there is each time that `count` gives another number; None: it still grows. Goes on until cancelled.

    What is garbage by then is collected first, what was frozen before included: an agent may have been left meanwhile.
    In a process that didn't begin so, nothing is frozen.
    """
    frozen: int | None = None
    began_so = gc.get_freeze_count() > 0
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if began_so and (grown := count()) is not None and grown != frozen:
                gc.unfreeze()
                gc.collect()
                gc.freeze()
                frozen = grown
    finally:
        gc.unfreeze()

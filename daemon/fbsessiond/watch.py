"""Naming what holds up the event loop.

A handler that blocks instead of awaiting holds up everything, intake included, for as long as it blocks. A thread
watches the loop go round, and says in the log which task doesn't let it, and at which lines, while it happens.
"""

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Self

import structlog

from fbsessiond.clock import Clock

log = structlog.get_logger(__name__)

BLOCKED_SECONDS = 1.0
"""A loop that doesn't go round for so long is reported."""

LOOK_SECONDS = 0.25
"""How often the loop notes that it goes round, and the thread looks at that note."""

PLACES = 10
"""How many calls deep a place is told: who blocks is rarely the one who called the library that does."""


class LoopWatch:
    """A context manager that watches the running loop from another thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        late: Callable[[float], None] = lambda _: None,
        blocked_seconds: float = BLOCKED_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Watch; `late` is told at each look how many seconds the loop was late for it."""
        self._late = late
        self._clock = clock
        self._blocked_seconds = blocked_seconds
        self._look_seconds = look_seconds
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)

    def __enter__(self) -> Self:
        self._turned_at = self._clock.monotonic()
        self._plan_turn()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._turn.cancel()
        self._thread.join()

    def _plan_turn(self) -> None:
        self._turn = self._loop.call_later(self._look_seconds, self._note_turn)

    def _note_turn(self) -> None:
        before, self._turned_at = self._turned_at, self._clock.monotonic()
        self._late(max(0.0, self._turned_at - before - self._look_seconds))
        self._plan_turn()

    def _watch(self) -> None:
        reported: float | None = None
        while not self._stopped.wait(self._look_seconds):
            turned_at = self._turned_at
            if self._clock.monotonic() - turned_at > self._blocked_seconds and reported != turned_at:
                reported = turned_at
                self._report()

    def _report(self) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  documented, the one way to another thread's stack
        log.error(
            "loop.blocked",
            by=task.get_name() if task else "unknown",
            where=list(itertools.islice(_places(frame), PLACES)),
            hint="await what takes time, or hand it to asyncio.to_thread",
        )


def _places(frame: FrameType | None) -> Iterator[str]:
    """Yield where it is, and from where that was called, up to the event loop."""
    while frame is not None and frame.f_code.co_filename != asyncio.events.__file__:
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        frame = frame.f_back

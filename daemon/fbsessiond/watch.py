"""Naming what holds up the event loop.

A handler that blocks instead of awaiting holds up everything, intake included, for as long as it blocks. A thread
watches the loop go round, and says in the log which task doesn't let it, and at which line, while it happens.
"""

import asyncio
import sys
import threading
from types import FrameType

import structlog

from fbsessiond.clock import Clock

log = structlog.get_logger(__name__)

BLOCKED_SECONDS = 1.0
"""A loop that doesn't go round for so long is reported."""

LOOK_SECONDS = 0.25


class LoopWatch:
    """Watches the running loop from another thread, from `start` to `stop`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)
        self._turned_at = clock.monotonic()
        self._turn: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._note_turn()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        if self._turn is not None:
            self._turn.cancel()
        self._thread.join()

    def _note_turn(self) -> None:
        self._turned_at = self._clock.monotonic()
        self._turn = self._loop.call_later(LOOK_SECONDS, self._note_turn)

    def _watch(self) -> None:
        reported: float | None = None
        while not self._stopped.wait(LOOK_SECONDS):
            turned_at = self._turned_at
            if self._clock.monotonic() - turned_at > BLOCKED_SECONDS and reported != turned_at:
                reported = turned_at
                self._report()

    def _report(self) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  documented, the one way to another thread's stack
        log.error(
            "loop.blocked",
            by=task.get_name() if task else "unknown",
            at=_place(frame) if frame else "unknown",
            hint="await what takes time, or hand it to asyncio.to_thread",
        )


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"

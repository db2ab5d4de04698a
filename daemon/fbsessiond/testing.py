"""The kit for handler authors, and for the daemon's own tests: time that passes at once."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""What a `VirtualClock` shows when a virtual loop starts."""


class VirtualClock:
    """A clock that shows the time of the running event loop: virtual under `run_virtual`."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start

    def now(self) -> datetime:
        """Return the start's time plus the loop's, in UTC."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the running loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    def step(self, by: timedelta) -> None:
        """Set the wall clock forward, or back, as an administrator or NTP would; `monotonic` doesn't notice."""
        self._start += by


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time: a pause of an hour takes no time, and nothing depends on the machine's speed.

    Raises `RuntimeError` when everything waits for something that can't happen any more. There is no real I/O.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything can run, and then jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.virtual_time = 0.0

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self.virtual_time


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if ready := super().select(0):
            return ready
        if timeout is None:
            raise RuntimeError("nothing can happen any more: every task waits, and no timer runs")
        self._loop.virtual_time += timeout
        return []

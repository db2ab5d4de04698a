"""The one place where time comes in.

The time of day runs on evenly while the machine's time is set: `Clock.stepped` tells, and from then on it is followed.
So the daemon can move what is due later by as much, and a clock of 5 minutes takes 5 minutes.

Wall-clock times are aware datetimes in UTC; durations between events of this process are measured on the
monotonic clock, in seconds. Pauses and time-outs run on the event loop's own clock (`asyncio.sleep`,
`asyncio.timeout`): under a loop with virtual time, and with a clock that follows it, the whole daemon runs on
virtual time.
"""

import time  # noqa: TID251  the one place
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the daemon asks the time of."""

    def now(self) -> datetime:
        """Return the time of day, in UTC; it goes back only where `stepped` said so."""
        ...

    def stepped(self) -> timedelta:
        """Return by how much the machine's time was set since this was last asked, and follow it from now on."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        ...


STEP = timedelta(seconds=1)
"""What differs by less is no step: time servers slow a clock down and speed it up, and both clocks follow that."""


class SystemClock:
    """The machine's clock, also while it sleeps."""

    def __init__(self) -> None:
        self._begin = _wall() - _boot()

    def now(self) -> datetime:
        """Return the machine's time, in UTC, as it was before it was set."""
        return self._begin + _boot()

    def stepped(self) -> timedelta:
        """Compare the time of day with the time since boot; the difference changes only where the first was set."""
        by = _wall() - _boot() - self._begin
        if abs(by) < STEP:
            return timedelta()
        self._begin += by
        return by

    def monotonic(self) -> float:
        """Return the machine's monotonic time, in seconds."""
        return time.monotonic()


def _wall() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  the one place


def _boot() -> timedelta:
    return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))

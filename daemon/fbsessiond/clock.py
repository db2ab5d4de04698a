"""The one place where time comes in.

Wall-clock times are aware datetimes in UTC; durations between events of this process are measured on the
monotonic clock, in seconds. Pauses and time-outs run on the event loop's own clock (`asyncio.sleep`,
`asyncio.timeout`): under a loop with virtual time, and with a clock that follows it, the whole daemon runs on
virtual time.
"""

import time  # noqa: TID251  the one place
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the daemon asks the time of."""

    def now(self) -> datetime:
        """Return the time of day, in UTC; it can be stepped, backwards too."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time, in UTC."""
        return datetime.now(UTC)  # noqa: TID251  the one place

    def monotonic(self) -> float:
        """Return the machine's monotonic time, in seconds."""
        return time.monotonic()

"""The disk's reserve: intake stops before the journal's disk is full, and goes on when there is room again.

What is in the reserve is for what runs: outcomes, follow-ups, and what a server had sent already. A disk that is full
all the same lets a commit fail, which ends the daemon.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from fbsessiond.clock import Clock
from fbsessiond.journal.records import DiskSpace
from fbsessiond.readiness import Check

if TYPE_CHECKING:
    from datetime import datetime

log = structlog.get_logger(__name__)

MOST_BYTES: Final = 64 << 20
"""The reserve where none is set, on a disk that is large enough: the write-ahead log may grow to so much."""

SHARE: Final = 8
"""Of a smaller disk, the reserve is one part in so many."""

LOOK_SECONDS: Final = 1.0
"""How often a full disk is looked at."""


class Reserve:
    """Says whether there is room for more than what is on its way already."""

    def __init__(self, space: Callable[[], DiskSpace | None], clock: Clock, reserve_bytes: int | None = None) -> None:
        """Take how to look at the disk (None: it has no limit that is known), and how much of it to keep free.

        Without `reserve_bytes` it is 64 MiB, or an eighth of a smaller disk.
        """
        self._space = space
        self._clock = clock
        self._reserve_bytes = reserve_bytes
        self._full_since: datetime | None = None

    @property
    def is_used(self) -> bool:
        """Whether intake waits for room."""
        return self._full_since is not None

    async def kept(self) -> None:
        """Return when there is room; at once if there is."""
        while not self._look().is_ok:  # noqa: ASYNC110  nothing announces that somebody made room
            await asyncio.sleep(LOOK_SECONDS)

    def check(self) -> Check:
        """Say how full the disk is, and what follows from that."""
        return self._look()

    def _look(self) -> Check:
        """Look at the disk; once full, it is so until a quarter of the reserve more is free."""
        space = self._space()
        if space is None:
            return Check("disk", True, "no limit")
        reserve = min(MOST_BYTES, space.size_bytes // SHARE) if self._reserve_bytes is None else self._reserve_bytes
        needed = reserve + reserve // 4 if self.is_used else reserve
        free = in_words(space.free_bytes)
        if space.free_bytes >= needed:
            if self.is_used:
                self._full_since = None
                log.info("intake.resumed", free=free)
            return Check("disk", True, f"{free} free")
        if self._full_since is None:
            self._full_since = self._clock.now()
            log.error(
                "intake.paused",
                free=free,
                reserve=in_words(reserve),
                hint="the journal's disk is nearly full: make room, then it goes on by itself",
            )
        return Check("disk", False, f"{free} free: nothing is taken in until {in_words(needed)} are", self._full_since)


def in_words(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"

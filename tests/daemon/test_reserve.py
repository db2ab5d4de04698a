"""fbsessiond.reserve: when intake waits for room, and when it goes on."""

import asyncio

import pytest
from structlog.testing import capture_logs

from fbsessiond.journal.records import DiskSpace
from fbsessiond.readiness import Check
from fbsessiond.reserve import LOOK_SECONDS, MOST_BYTES, Reserve, in_words
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual

MIB = 1 << 20


class Disk:
    """A disk with so much room."""

    def __init__(self, free: int, size: int = 1 << 40) -> None:
        self.free, self.size = free, size

    def space(self) -> DiskSpace:
        """Say how much."""
        return DiskSpace(self.free, self.size)


def reserve_of(disk: Disk, reserve_bytes: int | None = None) -> Reserve:
    """Return the reserve of a disk."""
    return Reserve(disk.space, VirtualClock(), reserve_bytes)


@pytest.mark.parametrize(
    ("size", "set_bytes", "needed"),
    [
        (1 << 40, None, MOST_BYTES),
        (80 * MIB, None, 10 * MIB),
        (80 * MIB, 30 * MIB, 30 * MIB),
        (80 * MIB, 0, 0),
        (8 * MOST_BYTES, None, MOST_BYTES),
    ],
)
def test_size(size: int, set_bytes: int | None, needed: int) -> None:
    """The reserve is what is set, else 64 MiB, else an eighth of a smaller disk; exactly so much free is enough."""
    assert run_virtual(_check(Disk(needed, size), set_bytes)).is_ok
    if needed:
        assert not run_virtual(_check(Disk(needed - 1, size), set_bytes)).is_ok


async def _check(disk: Disk, reserve_bytes: int | None) -> Check:
    return reserve_of(disk, reserve_bytes).check()


def test_waiting() -> None:
    """With too little room it waits; it goes on when a quarter of the reserve more is free, and says both once."""

    async def wait() -> None:
        disk = Disk(100 * MIB)
        reserve = reserve_of(disk, 40 * MIB)
        async with asyncio.timeout(LOOK_SECONDS / 2):
            await reserve.kept()
        assert reserve.check() == Check("disk", True, "100.0 MiB free")
        assert not reserve.is_used
        disk.free = 40 * MIB - 1
        waiting = asyncio.create_task(reserve.kept())
        await asyncio.sleep(5 * LOOK_SECONDS)
        assert reserve.is_used
        assert reserve.check() == Check("disk", False, "40.0 MiB free: nothing is taken in until 50.0 MiB are", EPOCH)
        disk.free = 50 * MIB - 1
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert not waiting.done()
        disk.free = 50 * MIB
        await asyncio.sleep(LOOK_SECONDS)
        assert waiting.done()
        assert not reserve.is_used
        disk.free = 40 * MIB
        assert reserve.check().is_ok

    with capture_logs() as logs:
        run_virtual(wait())
    assert [(line["event"], line["log_level"], line["free"]) for line in logs] == [
        ("intake.paused", "error", "40.0 MiB"),
        ("intake.resumed", "info", "50.0 MiB"),
    ]
    assert logs[0]["reserve"] == "40.0 MiB"


async def test_no_limit() -> None:
    """Where no limit is known, there is room."""
    reserve = Reserve(lambda: None, VirtualClock())
    async with asyncio.timeout(LOOK_SECONDS / 2):
        await reserve.kept()
    assert reserve.check() == Check("disk", True, "no limit")


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (3 << 29, "1.5 GiB")],
)
def test_in_words(count: int, words: str) -> None:
    """A number of bytes is told in the largest unit of which there is at least one."""
    assert in_words(count) == words

import asyncio

from fbsessiond.looking import LOOK_SECONDS, Looks
from fbsessiond.testing import run_virtual


def test_changes() -> None:
    """Each look says what has changed since the one before, and nothing where nothing has."""

    async def look() -> None:
        versions = iter((1, 1, 2, 2, 7))
        looks = Looks(lambda: next(versions), asyncio.Event())
        began = asyncio.get_running_loop().time()
        assert [await anext(looks) for _ in range(4)] == [None, 2, None, 7]
        assert asyncio.get_running_loop().time() - began == 4 * LOOK_SECONDS

    run_virtual(look())


def test_stop() -> None:
    """Told to stop it ends at once, in the middle of a pause, too."""

    async def look() -> None:
        stopping = asyncio.Event()
        looks = Looks(lambda: 1, stopping)
        assert await anext(looks) is None
        asyncio.get_running_loop().call_later(LOOK_SECONDS / 2, stopping.set)
        began = asyncio.get_running_loop().time()
        assert [one async for one in looks] == []
        assert asyncio.get_running_loop().time() - began == LOOK_SECONDS / 2

    run_virtual(look())

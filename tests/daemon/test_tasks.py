"""fbsessiond.tasks: pieces of work side by side."""

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from fbsessiond.errors import DiskError, JournalError
from fbsessiond.tasks import stopped, to_the_end, until_first, within
from fbsessiond.testing import run_virtual


def now() -> float:
    """Return the seconds since the test began."""
    return asyncio.get_running_loop().time()


async def ends(seconds: float, error: Exception | None = None) -> None:
    """End after some seconds, perhaps with an error."""
    await asyncio.sleep(seconds)
    if error is not None:
        raise error


async def fails_to_stop(error: Exception) -> None:
    """Run until cancelled, and then raise an error."""
    try:
        await asyncio.sleep(3600)
    finally:
        raise error


def test_until_first() -> None:
    """When the first part ends, the others are stopped; all have ended then."""
    stopped: list[str] = []

    async def other(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(seconds)
            stopped.append(name)

    async def main() -> float:
        await until_first(other("slow", 2), ends(5), other("fast", 1))
        return now()

    assert run_virtual(main()) == 7
    assert stopped == ["fast", "slow"]


def test_error_of_the_first() -> None:
    """What the first part raised is raised, whatever the others raise because they are stopped."""
    with pytest.raises(DiskError, match="first"):
        run_virtual(until_first(fails_to_stop(LookupError("second")), ends(1, DiskError("first"))))


def test_error_while_stopping() -> None:
    """What a part raises while it is stopped is raised, where the first one ended well."""
    with pytest.raises(JournalError, match="can't hand back"):
        run_virtual(until_first(ends(1), ends(9), fails_to_stop(JournalError("can't hand back"))))


def test_cancelled_parts() -> None:
    """Who is cancelled stops all parts first."""
    stopped = asyncio.Event()

    async def part() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await until_first(part())

    run_virtual(main())
    assert stopped.is_set()


def test_error_of_cancelled_parts() -> None:
    """Where it is cancelled itself, what a part raises while it is stopped isn't lost."""

    async def main() -> None:
        running = asyncio.create_task(until_first(ends(9), fails_to_stop(JournalError("the last batch"))))
        await asyncio.sleep(1)
        running.cancel()
        await running

    with pytest.raises(JournalError, match="the last batch"):
        run_virtual(main())


def test_stopped() -> None:
    """Tasks are stopped, waited for, and what they raised meanwhile is told."""

    async def main() -> tuple[list[str], float]:
        tasks = [asyncio.create_task(part) for part in (ends(1), fails_to_stop(JournalError("no")), ends(9))]
        await asyncio.sleep(2)
        return [str(error) for error in (await stopped(tasks)).values()], now()

    assert run_virtual(main()) == (["no"], 2)
    assert run_virtual(stopped([])) == {}


def test_to_the_end() -> None:
    """Work that is cancelled is finished first; whoever waits for it is cancelled then."""
    done: list[float] = []

    async def work() -> None:
        await asyncio.sleep(5)
        done.append(now())

    async def main() -> float:
        task = asyncio.create_task(to_the_end(work()))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await to_the_end(work())
        return now()

    assert run_virtual(main()) == 10
    assert done == [5, 10]


PLACE: ContextVar[str] = ContextVar("PLACE", default="outside")


def test_within() -> None:
    """Work has a context of its own, and what it waits for reaches it, errors and cancellations included."""

    async def work(failing: asyncio.Future[None]) -> str:
        PLACE.set("inside")
        await asyncio.sleep(1)
        with pytest.raises(DiskError):
            await failing
        return PLACE.get()

    async def cancelled(told: list[str]) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def main() -> None:
        context, told = copy_context(), list[str]()
        failing = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(2, failing.set_exception, DiskError("no sync"))
        assert await within(context, work(failing)) == "inside"
        assert (PLACE.get(), context[PLACE]) == ("outside", "inside")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await within(copy_context(), cancelled(told))
        assert told == ["cancelled"]

    run_virtual(main())

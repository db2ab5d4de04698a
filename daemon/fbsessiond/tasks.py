"""Pieces of work side by side, and to their ends: whoever stops waits, and no error is lost."""

import asyncio
import types
from collections.abc import Coroutine, Generator, Iterable
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


async def until_first(*parts: Coroutine[Any, Any, object]) -> None:
    """Run parts side by side until the first ends; then stop the others.

    Raises what that first part raised, or else what any of the others raised while it stopped; so it does in the place
    of the cancellation where it is cancelled itself.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    first: set[asyncio.Task[object]] = set()
    try:
        first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        for error in (await stopped(tasks)).values():
            raise error from None
        raise
    errors = await stopped(tasks)
    for _, error in sorted(errors.items(), key=lambda ended: ended[0] not in first):
        raise error


async def stopped(tasks: Iterable[asyncio.Task[Any]]) -> dict[asyncio.Task[Any], BaseException]:
    """Stop tasks, wait until they have ended, and return what each raised, of those that did."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending)
    errors = {task: task.exception() for task in ending if not task.cancelled()}  # of all: asyncio tells the others
    return {task: error for task, error in errors.items() if error is not None}


async def to_the_end(work: Coroutine[Any, Any, object]) -> None:
    """Finish a piece of work even if cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@types.coroutine
def within(context: Context, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a piece of work in a context of its own, as a task of its own would run it, in the task that awaits."""
    given: Any = None
    error: BaseException | None = None
    while True:
        try:
            waits_for = context.run(work.send, given) if error is None else context.run(work.throw, error)
        except StopIteration as ended:
            result: T = ended.value
            return result
        given = error = None
        try:
            given = yield waits_for
        except BaseException as raised:  # noqa: BLE001  whatever it is, it is the work's
            error = raised

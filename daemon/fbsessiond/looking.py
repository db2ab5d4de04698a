"""Looking at something a few times a second, for whoever wants to follow what happens."""

import asyncio
from collections.abc import Callable
from typing import Final, Self

LOOK_SECONDS: Final = 0.25


class Looks:
    """Looks until told to stop, at once: each yields the version where it has changed since the last, and else None.

    Nothing piles up for whoever is slow, and nobody who writes has to know who looks.
    """

    def __init__(self, version: Callable[[], int], stopping: asyncio.Event) -> None:
        """`version` returns a number that changes with whatever is looked at; what it is now is known."""
        self._version = version
        self._seen = version()
        self._stopping = stopping

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int | None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            is_told = (await asyncio.wait((stopping,), timeout=LOOK_SECONDS))[0]
        finally:
            stopping.cancel()
        if is_told:
            raise StopAsyncIteration
        before, self._seen = self._seen, self._version()
        return None if self._seen == before else self._seen

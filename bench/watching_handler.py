"""A handler that sees how late the event loop is, and how long after its sending each notification comes here."""

import asyncio
import json
import time  # noqa: TID251  what a benchmark is about
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import field
from pathlib import Path

from fbsessiond import Delivery, Done, Handler, Outcome

LOOK_SECONDS = 0.02
WAIT_SECONDS = 0.25


class Watching(Handler):
    """Looks while there is a file `look`, and writes what it saw to `looked`."""

    folder: Path
    handled: list[tuple[str, float]] = field(default_factory=list)

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note how long it took."""
        sent_at = delivery.transition.notification["sent_at"]
        self.handled.append((delivery.transition.agent, time.monotonic() - sent_at))
        return Done()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Look beside it all."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()

    async def _look(self) -> None:
        wanted = self.folder / "look"
        while True:
            while not wanted.exists():
                await asyncio.sleep(WAIT_SECONDS)
            self.handled.clear()
            lags: list[float] = []
            while wanted.exists():
                began_at = time.monotonic()
                await asyncio.sleep(LOOK_SECONDS)
                lags.append(time.monotonic() - began_at - LOOK_SECONDS)
            written = self.folder / "looked.part"
            written.write_text(json.dumps([lags, self.handled]))
            written.rename(self.folder / "looked")

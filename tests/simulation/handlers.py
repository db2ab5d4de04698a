"""The handlers of a simulated daemon: they tell the world what they get."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fbsessiond import Delivery, Done, Handler, Outcome
from fbsessiond.chance import happens
from simulation.world import HERE, TIMED


class Recorder(Handler):
    """Notes what it gets; now and then it fails, or takes long."""

    name: str
    """What its table is called."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Note from when to when it is there."""
        with HERE.get().configured(self.name):
            yield

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note the entry, unless the attempt fails."""
        here = HERE.get()
        if delivery.handler in TIMED:  # when it came is what they are there for
            here.note(delivery)
            return Done()
        with here.working():
            await asyncio.sleep(here.chance.between(0, here.work_seconds))
        if here.is_wrong and happens(here.chance, 0.05):
            here.failures[delivery.id] += 1
            raise RuntimeError("bad luck")
        here.note(delivery)
        return Done()


class Unstartable(Handler):
    """Can't have what it needs."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Fail."""
        raise PermissionError(13, "Permission denied", "/unstartable")
        yield

    async def handle(self, delivery: Delivery) -> Outcome:
        """Never get anything."""
        raise AssertionError(delivery)

"""A busy platform, and a daemon that comes and goes, on virtual time and a network in memory."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from fbsessiond.chance import SeededChance
from fbsessiond.follow_up import FollowUpState
from fbsessiond.gap import Gap
from fbsessiond.journal.engines import open_journal, open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.route import Route
from fbsessiond.session import TERMINAL_STATES, VANISHED
from fbsessiond.simulator.bayeux_client import Client
from fbsessiond.simulator.faults import FaultKind, FaultTable
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock
from floor import AGENT, Watching, watching

OPEN = {state.value for state in FollowUpState if state.is_open}

HOLD = timedelta(seconds=8)
SNAPSHOTS = SnapshotSettings(every=timedelta(minutes=2), settling=timedelta(seconds=2))

BUSY: dict[str, Any] = {
    "customers": {"per_minute": 12, "chat": ["4s", "12s"]},
    "gws": {"hold": "8s", "max_interval": "10s"},
    "agents": {"wrap_up": 0.7},
}


@dataclass
class World:
    """A busy platform, a daemon that comes and goes, and what should be in its ledger."""

    simulator: Simulator
    url: str
    chance: SeededChance
    stack: AsyncExitStack
    routes: Sequence[Route] = ()
    daemon: Watching = field(init=False)
    customers: asyncio.Task[None] = field(init=False)
    handled: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The entries of each session, as a handler got them, repeats included."""
    sent: list[tuple[datetime, bytes]] = field(default_factory=list[tuple[datetime, bytes]])
    """What the platform tells about sessions, and when, whether anybody listens or not."""

    def __post_init__(self) -> None:
        publish = self.simulator.bayeux.publish

        def note(agent: str, channel: str, data: Any) -> int:
            self.sent.append((self.now(), msgspec.json.encode(data)))
            return publish(agent, channel, data)

        self.simulator.bayeux.publish = note  # type: ignore[method-assign]

    def now(self) -> datetime:
        """Return the time of day."""
        return VirtualClock().now()

    def reader(self) -> Reader:
        """Return a look at the journal."""
        return open_reader(self.url, Path())

    def gaps(self) -> list[Gap]:
        """Return the ledger."""
        return list(self.daemon.journal.reader().gaps())

    def client(self) -> Client:
        """Return the newest CometD client."""
        bayeux = self.simulator.bayeux
        return max([*bayeux.gone, *bayeux.clients.values()], key=lambda client: client.handshaken_at)

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 900) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110  virtual time: it looks from outside, at no cost
                await asyncio.sleep(0.05)

    async def has_connected_since(self, at: datetime) -> bool:
        """Say whether the newest client was answered after a time, and is subscribed."""
        client = self.client()
        connected_at = client.connected_at
        return connected_at is not None and connected_at > at and bool(client.subscriptions) and client.gone_at is None

    async def is_covered(self) -> bool:
        """Say whether the chain holds, and every gap is repaired."""
        watched = await self.daemon.journal.watched(AGENT)
        return watched.broken is None and not watched.gaps

    async def is_true(self) -> bool:
        """Say whether every session is known as the server has it."""
        known = {
            session: state
            for session, state in (await self.daemon.journal.open_sessions(AGENT)).items()
            if state != VANISHED
        }
        sessions = self.simulator.platform.sessions(AGENT)
        return known == {each["id"]: each["state"] for each in sessions if each["state"] not in TERMINAL_STATES}

    async def calm_down(self) -> None:
        """Let nobody come any more, and wait until the daemon has done and knows everything."""
        self.customers.cancel()
        await asyncio.wait([self.customers])
        self.switch(**{kind.value: None for kind in FaultKind})
        await asyncio.sleep(10)
        await self.until(self.is_covered)
        await self.until(self.is_true)
        await self.until(self.is_done)

    async def is_done(self) -> bool:
        """Say whether nothing is left to deliver or to carry out."""
        counts = self.daemon.journal.reader().statistics()
        return not set(counts.deliveries) & {"due", "running", "waiting"} and not set(counts.follow_ups) & OPEN

    def switch(self, **faults: Any) -> None:
        """Switch faults on, or off."""
        table = {name.replace("_", "-").strip("-"): fault for name, fault in faults.items()}
        self.simulator.faults.switch(FaultTable.model_validate(table))

    async def restart(self, seconds: float, *, crash: bool) -> None:
        """End the daemon, and start it again on its journal after some time."""
        await (self.daemon.crash() if crash else self.daemon.stop())
        await self.stack.aclose()
        await asyncio.sleep(seconds)
        await self.start()

    async def start(self) -> None:
        """Start a daemon."""
        journal = open_journal(self.url, Path(), self.now())
        running = watching(self.simulator, journal, *self.routes, chance=self.chance, snapshots=SNAPSHOTS)
        self.daemon = await self.stack.enter_async_context(running)


@asynccontextmanager
async def world(
    folder: Path, seed: int, *routes: Route, acknowledge: bool = True, **tables: Any
) -> AsyncGenerator[World, None]:
    """Let customers come, and run a daemon; both end with it."""
    chance = SeededChance(seed)
    busy = Scenario.model_validate({**BUSY, "gws": {**BUSY["gws"], "acknowledge": acknowledge}, **tables})
    async with simulating(busy, clock=VirtualClock(), chance=chance) as simulator, AsyncExitStack() as stack:
        here = World(simulator, f"sqlite:{folder / 'journal.db'}", chance, stack, routes)
        here.customers = asyncio.create_task(simulator.script.run())
        await here.start()
        try:
            await asyncio.sleep(30)
            await here.until(here.is_covered)
            yield here
        finally:
            here.customers.cancel()
            await asyncio.wait([here.customers])

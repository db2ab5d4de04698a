"""A busy platform, and a daemon that comes and goes, on virtual time and a network in memory."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from fbsessiond.chance import SeededChance, choose, happens
from fbsessiond.errors import JournalError, RefusedError
from fbsessiond.follow_up import FollowUpState
from fbsessiond.gap import Gap
from fbsessiond.journal.engines import open_journal, open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import Log
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.route import Route
from fbsessiond.session import TERMINAL_STATES, VANISHED
from fbsessiond.simulator.bayeux_client import Client
from fbsessiond.simulator.faults import FaultKind, FaultTable
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock
from floor import AGENT, Watching, watching
from simulation.disk import Disk
from virtual_network import PROCESS, NetworkedLoop

OPEN = {state.value for state in FollowUpState if state.is_open}

HOLD = timedelta(seconds=8)
SNAPSHOTS = SnapshotSettings(every=timedelta(minutes=2), settling=timedelta(seconds=2))


@dataclass(frozen=True)
class Span:
    """The time in which something was wrong."""

    name: str
    begin: datetime
    end: datetime


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
    loop: NetworkedLoop = field(init=False)
    daemon: Watching = field(init=False)
    customers: asyncio.Task[None] = field(init=False)
    handled: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The entries of each session, as a handler got them, repeats included."""
    sent: list[tuple[datetime, bytes]] = field(default_factory=list[tuple[datetime, bytes]])
    """What the platform tells about sessions, and when, whether anybody listens or not."""
    spans: list[Span] = field(default_factory=list[Span])
    """When something was wrong, as far as it has ended."""
    late: float = 0.0
    """With this probability a notification is overtaken by later ones."""
    pretences: int = 0
    """How often the daemon went on though its disk had failed."""
    is_wrong: bool = True
    """Whether things may go wrong at all."""
    fresh_seconds: float = 0.0
    """How long it took, after everything was well again, until something new was handled."""
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    """The sessions that the daemon took for open in the end, with their states."""

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NetworkedLoop)
        self.loop = loop
        self.disk = Disk(self.chance, self.loop.pass_time)
        self._process = 0
        self._turn = asyncio.Lock()
        publish = self.simulator.bayeux.publish

        def note(agent: str, channel: str, data: Any) -> int:
            self.sent.append((self.now(), msgspec.json.encode(data)))
            return publish(agent, channel, data)

        def tell(agent: str, channel: str, data: Any) -> int:
            if not happens(self.chance, self.late):
                return note(agent, channel, data)
            self.loop.call_later(self.chance.between(0, 3), note, agent, channel, data)
            return 0

        self.simulator.bayeux.publish = tell  # type: ignore[method-assign]

    @contextmanager
    def wrong(self, name: str) -> Generator[None, None, None]:
        """Take note of how long something is wrong."""
        begin = self.now()
        try:
            yield
        finally:
            self.spans.append(Span(name, begin, self.now()))

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

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 900, every: float = 0.25) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110  virtual time: it looks from outside, at no cost
                await asyncio.sleep(every)

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
        self.known = {
            session: state
            for session, state in (await self.daemon.journal.open_sessions(AGENT)).items()
            if state != VANISHED
        }
        return self.known == self.open_sessions()

    def open_sessions(self) -> dict[str, str]:
        """Return the sessions that the server has open, with their states."""
        sessions = self.simulator.platform.sessions(AGENT)
        return {each["id"]: each["state"] for each in sessions if each["state"] not in TERMINAL_STATES}

    async def calm_down(self) -> None:
        """Let nobody come any more, and wait until the daemon has done and knows everything."""
        self.customers.cancel()
        await asyncio.wait([self.customers])
        self.mend()
        await asyncio.sleep(10)
        await self.until(self.is_covered)
        await self.until(self.is_true)
        await self.until(self.is_done)

    def mend(self) -> None:
        """Switch everything off that goes wrong."""
        self.switch(**{kind.value: None for kind in FaultKind})
        self.is_wrong = False
        self.late, self.loop.delay, self.disk.slow_seconds, self.disk.is_failing = 0.0, float, 0.0, False
        self.disk.is_failing_later = self.disk.is_full = False

    async def is_done(self) -> bool:
        """Say whether nothing is left to deliver or to carry out."""
        counts = self.daemon.journal.reader().statistics()
        return not set(counts.deliveries) & {"due", "running", "waiting"} and not set(counts.follow_ups) & OPEN

    async def is_settled(self) -> bool:
        """Say whether all is covered, known and done."""
        return await self.is_covered() and await self.is_true() and await self.is_done()

    def switch(self, **faults: Any) -> None:
        """Switch faults on, or off."""
        table = {name.replace("_", "-").strip("-"): fault for name, fault in faults.items()}
        self.simulator.faults.switch(FaultTable.model_validate(table))

    async def restart(self, seconds: float, *, crash: bool) -> None:
        """End the daemon, and start it again on its journal after some time."""
        async with self._turn:
            if crash:
                self.crash()
            await self._start_again(seconds)

    async def crash_at(self, step: int, seconds: float) -> None:
        """Crash the daemon after so many rounds of the event loop: between any two of its awaits."""
        async with self._turn:
            crashed = asyncio.Event()

            def crash() -> None:
                self.crash()
                crashed.set()

            self.loop.after_rounds(step, crash)
            await crashed.wait()
            await self._start_again(seconds)

    async def reload(self) -> None:
        """Let it go on with another configuration."""
        async with self._turn:
            most = choose(self.chance, (1, 2, 8))
            settings = {"concurrency": most}
            self.routes = [replace(route, delivery=route.delivery.model_copy(update=settings)) for route in self.routes]
            await self._start_again(0)

    async def break_disk(self, seconds: float, *, later: bool = False) -> None:
        """Let a commit fail, or what follows it, see that the daemon ends because of it, and start it again."""
        async with self._turn:
            self.disk.is_failing, self.disk.is_failing_later = not later, later
            if later and isinstance(journal := self.daemon.journal, SqliteJournal):
                journal.log.most_bytes = 0
            await asyncio.wait(self.daemon.tasks, return_when=asyncio.FIRST_COMPLETED, timeout=HOLD.total_seconds() * 8)
            failures = [task.exception() for task in self.daemon.tasks if task.done() and not task.cancelled()]
            was_written = not (
                self.disk.is_failing or self.disk.is_failing_later
            )  # in a black hole nothing comes to be
            self.disk.is_failing = self.disk.is_failing_later = False
            has_ended = any(isinstance(failure, JournalError | RefusedError) for failure in failures)
            self.pretences += was_written and not has_ended
            await self._start_again(seconds)

    @property
    def is_running(self) -> bool:
        """Whether a daemon is there, and isn't about to end."""
        return not self._turn.locked()

    async def revive(self) -> None:
        """Start the daemon again where it ended because its credentials were refused, as a person does then."""
        async with self._turn:
            failures = [task.exception() for task in self.daemon.tasks if task.done() and not task.cancelled()]
            if any(isinstance(failure, RefusedError) for failure in failures):
                await self._start_again(0)

    def crash(self) -> None:
        """End the daemon at once: nothing more of it reaches the disk, or anybody else."""
        self.loop.sever(self._name)
        self.daemon.journal.close()

    async def start(self) -> None:
        """Start a daemon."""
        self._process += 1
        token = PROCESS.set(self._name)
        journal = open_journal(self.url, Path(), self.now())
        assert isinstance(journal, SqliteJournal)
        journal.connection = self.disk.under(journal.connection)
        journal.log = Log(journal.connection)
        journal.space = self.disk.space  # type: ignore[method-assign]
        running = watching(self.simulator, journal, *self.routes, chance=self.chance, snapshots=SNAPSHOTS)
        self.daemon = await self.stack.enter_async_context(running)
        PROCESS.reset(token)

    @property
    def _name(self) -> str:
        return f"daemon {self._process}"

    async def _start_again(self, seconds: float) -> None:
        await self.daemon.stop()
        await self.stack.aclose()
        await asyncio.sleep(seconds)
        await self.start()


@asynccontextmanager
async def world(
    folder: Path,
    seed: int,
    *routes: Route,
    acknowledge: bool = True,
    watch: Callable[[World], None] = lambda _: None,
    **tables: Any,
) -> AsyncGenerator[World, None]:
    """Let customers come, and run a daemon; both end with it. `watch` gets to know the world before it begins."""
    chance = SeededChance(seed)
    busy = Scenario.model_validate({**BUSY, "gws": {**BUSY["gws"], "acknowledge": acknowledge}, **tables})
    async with simulating(busy, clock=VirtualClock(), chance=chance) as simulator, AsyncExitStack() as stack:
        here = World(simulator, f"sqlite:{folder / 'journal.db'}", chance, stack, routes)
        watch(here)
        here.customers = asyncio.create_task(simulator.script.run())
        with here.wrong("start"):
            await here.start()
        try:
            await asyncio.sleep(20)
            yield here
        finally:
            here.customers.cancel()
            await asyncio.wait([here.customers])

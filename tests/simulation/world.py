"""A busy platform, and a daemon that comes and goes, on virtual time and a network in memory."""

import asyncio
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from fbsessiond.chance import SeededChance, choose, happens
from fbsessiond.configuration import load
from fbsessiond.errors import JournalError, RefusedError
from fbsessiond.follow_up import FollowUpState
from fbsessiond.gap import Gap
from fbsessiond.handler import Delivery
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.route import Route
from fbsessiond.session import TERMINAL_STATES, VANISHED
from fbsessiond.simulator.bayeux_client import Client
from fbsessiond.simulator.faults import FaultKind, FaultTable
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock
from floor import AGENT
from simulation.disk import Disk
from simulation.process import Process
from virtual_network import NetworkedLoop

OPEN = {state.value for state in FollowUpState if state.is_open}

HOLD = timedelta(seconds=8)
SNAPSHOTS = SnapshotSettings(every=timedelta(minutes=2), settling=timedelta(seconds=2))

WORK_SECONDS = 0.5
"""How long a handler takes, at most, unless it is to be interrupted."""

GRACE_SECONDS = 10.0
"""How long the daemon may take to stop: as long as container engines wait until they kill it."""

PLATFORM = """state_directory = "{folder}"
[gws]
url = "{url}"
username = "agent1"
password = {{ file = "{folder}/password" }}
[http]
listen = ""
[snapshots]
every = "2m"
settling = "2s"
[follow_ups]
attempts = 4
"""

RECORDER = """[handlers.{name}]
use = "simulation.handlers:Recorder"
name = "{name}"
delivery = {{ attempts = 1000, backoff = "1s", concurrency = {concurrency} }}
"""

SECOND = "second"
"""The handler that comes and goes."""

LASTS = timedelta(seconds=6)
WITHIN = timedelta(seconds=30)
AFTER = timedelta(seconds=20)
"""How long a state has to last for the handler `patient`; how long `seldom` and `last` let one of several count."""

TIMED_HANDLERS = f"""[handlers.patient]
use = "simulation.handlers:Recorder"
name = "patient"
on = {{ to = "Chatting", for = "{LASTS.seconds}s", when = 'before != "Completed" && !("Accept" in capabilities)' }}
delivery = {{ attempts = 1000, backoff = "1s" }}
[handlers.seldom]
use = "simulation.handlers:Recorder"
name = "seldom"
on = {{ to = "Chatting", once_within = "{WITHIN.seconds}s", once_per = "agent" }}
delivery = {{ attempts = 1000, backoff = "1s" }}
[handlers.last]
use = "simulation.handlers:Recorder"
name = "last"
on = {{ to = "Chatting", once_after = "{AFTER.seconds}s", once_per = "agent" }}
delivery = {{ attempts = 1000, backoff = "1s" }}
"""

TIMED = {"patient", "seldom", "last"}
ALWAYS = {"recorder", *TIMED}
"""The recorders that are always there, and which of them have clocks and throttles."""

WRAP_UP = """[handlers.wrap-up]
use = "operations"
on = { to = "LeftChat" }
steps = [ { operation = "SetDisposition", disposition = "resolved" }, { operation = "Complete" } ]
"""

REFUSED: Mapping[str, str] = {
    "unreadable": "[handlers.recorder",
    "unknown key": "[journal]\nretian = '1d'\n",
    "unstartable": "[handlers.unstartable]\nuse = 'simulation.handlers:Unstartable'\n",
    "another journal": "[journal]\nurl = 'sqlite:another.db'\n",
}
"""What can stand at the end of a configuration with which the daemon mustn't go on."""

HERE: ContextVar["World"] = ContextVar("HERE")
"""Where handlers are."""


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
    folder: Path
    chance: SeededChance
    has_handlers: bool = False
    loop: NetworkedLoop = field(init=False)
    daemon: Process = field(init=False)
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
    work_seconds: float = WORK_SECONDS
    """How long a handler takes, at most."""
    at_work: int = 0
    """How many deliveries are being handled now."""
    failures: Counter[str] = field(default_factory=Counter[str])
    """How often each delivery's handler failed."""
    done: defaultdict[str, list[Process]] = field(default_factory=lambda: defaultdict(list))
    """Where each delivery's handler came to its end, in this order."""
    broken_off: list[Process] = field(default_factory=list[Process])
    """The processes that could not end in order."""
    present: defaultdict[str, list[list[datetime]]] = field(default_factory=lambda: defaultdict(list))
    """From when to when each handler was there; what still is has no end."""
    complaints: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What was seen not to hold while it happened, by the oracle that tells it."""

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NetworkedLoop)
        self.loop = loop
        self.disk = Disk(self.chance, self.loop.pass_time)
        self._processes = 0
        self._turn = asyncio.Lock()
        self._concurrency = 8
        self.has_second = False
        self.clock = WorldClock(loop)
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
        return open_reader("sqlite:journal.db", self.folder)

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "fbsessiond.toml"

    def configure(self, wrong: str = "") -> None:
        """Write the configuration as it should be, and what is wrong with it."""
        names = ["recorder", SECOND] if self.has_second else ["recorder"]
        tables = [RECORDER.format(name=name, concurrency=self._concurrency) for name in names]
        text = PLATFORM.format(folder=self.folder, url=self.simulator.url)
        self.config.write_text(
            "".join([text, *([*tables, TIMED_HANDLERS, WRAP_UP] if self.has_handlers else []), wrong])
        )

    def routes(self) -> Sequence[Route]:
        """Return the handlers as they are configured."""
        return load(self.config).routes()

    # What handlers tell.

    @contextmanager
    def configured(self, name: str) -> Generator[None, None, None]:
        """Note from when to when a handler is there."""
        span = [self.now()]
        self.present[name].append(span)
        try:
            yield
        finally:
            span.append(self.now())

    @contextmanager
    def working(self) -> Generator[None, None, None]:
        """Count what is being handled."""
        self.at_work += 1
        try:
            yield
        finally:
            self.at_work -= 1

    def note(self, delivery: Delivery) -> None:
        """Note that a delivery was handled."""
        self.done[delivery.id].append(self.daemon)
        if delivery.handler == "recorder":
            self.handled[delivery.transition.session.id].append(delivery.transition.seq)

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

    async def drain(self, seconds: float) -> None:
        """End the daemon while handlers are at work that take longer than it may wait, and start it again."""
        async with self._turn:
            await self._get_busy()
            await self._start_again(seconds)
            self.work_seconds = WORK_SECONDS

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
        """Let it go on with another configuration, if that is right; handlers are at work, or not."""
        async with self._turn:
            if happens(self.chance, 0.5):
                await self._get_busy()
            if happens(self.chance, 0.5):
                await self._reload_right(second=happens(self.chance, 0.5))
            else:
                await self._reload_wrong(choose(self.chance, list(REFUSED)))
            self.work_seconds = WORK_SECONDS

    async def bring_all_back(self) -> None:
        """Let every handler that ever was there finish what is left for it."""
        async with self._turn:
            if self.present[SECOND] and not self.has_second:
                with self.wrong("reloaded"):
                    await self._reload_right(second=True)

    async def _get_busy(self) -> None:
        """Let handlers take their time, until some are at work, if anything comes."""
        self.work_seconds = GRACE_SECONDS * 2

        async def is_busy() -> bool:
            return self.at_work > 0

        if self.has_handlers:
            with suppress(TimeoutError):
                await self.until(is_busy, 30)

    async def _reload_right(self, *, second: bool) -> None:
        """Let it go on with another configuration."""
        self._concurrency, self.has_second = choose(self.chance, (1, 2, 8)), second
        self.configure()
        await self._reload(1, "what is right")

    async def _reload_wrong(self, kind: str) -> None:
        """Show it a configuration with which it mustn't go on."""
        self.configure(REFUSED[kind])
        await self._reload(1 if kind == "unstartable" else 0, f"what is {kind}")
        self.configure()

    async def _reload(self, openings: int, what: str) -> None:
        """Send SIGHUP, and see that it goes on; that opens its journal so often anew."""
        opened = self.daemon.opened + openings

        async def has_ended_or_opened() -> bool:
            return self.daemon.task.done() or (openings > 0 and self.daemon.opened >= opened)

        waited = self.disk.waited_seconds
        self.loop.raise_signal(signal.SIGHUP)
        with suppress(TimeoutError):
            await self.until(has_ended_or_opened, GRACE_SECONDS if openings else 1.0)
        while not await has_ended_or_opened() and self.disk.waited_seconds > waited:
            waited = self.disk.waited_seconds  # the disk held it up
            await asyncio.sleep(GRACE_SECONDS)
        there = {name for name, spans in self.present.items() if len(spans[-1]) == 1}
        wanted = ALWAYS | {SECOND} if self.has_second else ALWAYS
        if self.daemon.task.done():
            if not isinstance(self.daemon.failure, RefusedError):
                self.complaints["reloading"].append(f"at {what} it ended with {self.daemon.status}")
                self.configure()
                await self._start_again(0)
        elif self.daemon.opened != opened or there != wanted:
            self.complaints["reloading"].append(f"after {what} there is {sorted(there)} instead of {sorted(wanted)}")

    async def break_disk(self, seconds: float, *, later: bool = False) -> None:
        """Let a commit fail, or what follows it, see that the daemon ends because of it, and start it again."""
        async with self._turn:
            self.disk.is_failing, self.disk.is_failing_later = not later, later
            if later:
                self.daemon.journal.log.most_bytes = 0
            await asyncio.wait({self.daemon.task}, timeout=HOLD.total_seconds() * 8)
            was_written = not (
                self.disk.is_failing or self.disk.is_failing_later
            )  # in a black hole nothing comes to be
            self.disk.is_failing = self.disk.is_failing_later = False
            has_ended = isinstance(self.daemon.failure, JournalError | RefusedError)
            self.pretences += was_written and not has_ended
            self.broken_off.append(self.daemon)
            await self._start_again(seconds)

    @property
    def is_running(self) -> bool:
        """Whether a daemon is there, and isn't about to end."""
        return not self._turn.locked()

    async def revive(self) -> None:
        """Start the daemon again where it ended because its credentials were refused, as a person does then."""
        async with self._turn:
            if isinstance(self.daemon.failure, RefusedError):
                await self._start_again(0)

    def crash(self) -> None:
        """End the daemon at once: nothing more of it reaches the disk, or anybody else."""
        self.broken_off.append(self.daemon)
        self.daemon.crash()

    async def start(self) -> None:
        """Start a daemon."""
        self._processes += 1
        name = f"daemon {self._processes}"
        self.daemon = await Process.start(self.loop, self.disk, name, self.config, self.clock, self.chance)

    async def stop(self) -> None:
        """End the daemon as a service manager does, and see that it ends well, and soon."""
        if not self.daemon.task.done() and not self.daemon.has_crashed:
            seconds = await self.daemon.stop()
            if seconds > GRACE_SECONDS:
                self.complaints["stopping"].append(f"it took {seconds} s to end")
            if self.daemon.failure is not None and not isinstance(self.daemon.failure, RefusedError):
                self.complaints["stopping"].append(f"it ended with {self.daemon.status}")
        await self.daemon.bury()

    async def _start_again(self, seconds: float) -> None:
        await self.stop()
        await asyncio.sleep(seconds)
        await self.start()


class WorldClock(VirtualClock):
    """A clock that a thread can look at."""

    def __init__(self, loop: NetworkedLoop) -> None:
        super().__init__()
        self._loop = loop

    def monotonic(self) -> float:
        """Return the loop's time, in seconds."""
        return self._loop.time()


@asynccontextmanager
async def world(
    folder: Path, seed: int, *, handlers: bool = False, acknowledge: bool = True, **tables: Any
) -> AsyncGenerator[World, None]:
    """Let customers come, and run a daemon, with handlers or without; both end with it."""
    chance = SeededChance(seed)
    busy = Scenario.model_validate({**BUSY, "gws": {**BUSY["gws"], "acknowledge": acknowledge}, **tables})
    async with simulating(busy, clock=VirtualClock(), chance=chance) as simulator:
        here = World(simulator, folder, chance, handlers)
        HERE.set(here)
        (folder / "password").write_text("simulated")
        here.configure()
        here.customers = asyncio.create_task(simulator.script.run())
        with here.wrong("start"):
            await here.start()
        try:
            await asyncio.sleep(20)
            yield here
        finally:
            here.customers.cancel()
            await asyncio.wait([here.customers])
            await here.stop()

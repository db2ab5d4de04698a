"""A floor to test on: the simulated GWS and the daemon's whole pipeline, on virtual time over real sockets."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr

from fbsessiond import Delivery, Done, Handler, Operation, Outcome
from fbsessiond.carrying import Patience
from fbsessiond.chance import Chance, SeededChance
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.conditions import Condition
from fbsessiond.follow_up import FollowUpState
from fbsessiond.follow_ups import FollowUpLane, FollowUpSettings
from fbsessiond.gws.access import Access, Basic
from fbsessiond.gws.rest import Rest
from fbsessiond.intake import Intake
from fbsessiond.journal.engines import IN_MEMORY, open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import FollowUpRecord
from fbsessiond.metrics import Metrics
from fbsessiond.reconciling import Reconciler, SnapshotSettings
from fbsessiond.reserve import Reserve
from fbsessiond.route import Route
from fbsessiond.service import Pipeline
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock

AGENT = "agent1"
SNAPSHOTS = SnapshotSettings()
PATIENCE = Patience(confirmation=timedelta(seconds=30), settling=timedelta(seconds=5), attempts=4)


class Asking(Handler):
    """A handler that asks for what a test says."""

    _ask: Callable[[Delivery], Sequence[Operation]] = PrivateAttr()

    @classmethod
    def for_(cls, ask: Callable[[Delivery], Sequence[Operation]]) -> Self:
        """Return a handler that asks for this."""
        handler = cls()
        handler._ask = ask
        return handler

    async def handle(self, delivery: Delivery) -> Outcome:
        """Ask."""
        return Done(*self._ask(delivery))


def asking(name: str, to: str, ask: Callable[[Delivery], Sequence[Operation]]) -> Route:
    """Return a handler's instance that asks for operations when a session enters a state."""
    return Route(name, Asking.for_(ask), (Condition.model_validate({"to": to}),))


WRAP_UP = asking(
    "wrap-up",
    "LeftChat",
    lambda delivery: (
        Operation.set_disposition(delivery.transition.session, "resolved"),
        Operation.complete(delivery.transition.session),
    ),
)


@dataclass
class Floor:
    """The simulated platform, one agent's daemon, and its journal."""

    simulator: Simulator
    daemon: "Watching"

    @property
    def journal(self) -> Journal:
        """The daemon's journal."""
        return self.daemon.journal

    @property
    def rest(self) -> Rest:
        """The daemon's REST client."""
        return self.daemon.rest

    async def chat(self) -> str:
        """Let a customer come, and the agent accept; return the session."""
        session = self.simulator.platform.arrive()
        self.simulator.back_end.tell(self.simulator.platform.invite(AGENT, session))
        await self.rest.operate(Operation.accept(session, "Marat"))
        await self.until(lambda: self.simulator.platform.state(AGENT, session) == "Chatting")
        await asyncio.sleep(2)
        return session

    async def until(self, holds: Callable[[], object], seconds: float = 600) -> None:
        """Wait on virtual time until something holds."""
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110  virtual time: it looks from outside, at no cost
                await asyncio.sleep(0.1)

    def follow_ups(self, session: str) -> list[FollowUpRecord]:
        """Return a session's follow-ups."""
        return list(self.journal.reader().follow_ups(session=session))

    def states(self, session: str) -> list[FollowUpState]:
        """Return the states of a session's follow-ups."""
        return [record.progress.state for record in self.follow_ups(session)]

    async def settled(self, session: str, count: int = 1) -> list[FollowUpRecord]:
        """Wait until a session's follow-ups have ended."""
        await self.until(
            lambda: len(states := self.states(session)) >= count and not any(state.is_open for state in states)
        )
        return self.follow_ups(session)


@dataclass
class Watching:
    """One agent's daemon, without its process: all its parts, put together as `run_daemon` does."""

    journal: Journal
    rest: Rest
    source: CometdSource
    intake: Intake
    metrics: Metrics
    tasks: list[asyncio.Task[None]]

    async def stop(self) -> None:
        """Stop it as SIGTERM does."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        self.journal.close()


@asynccontextmanager
async def watching(
    simulator: Simulator,
    journal: Journal,
    *routes: Route,
    chance: Chance,
    settings: FollowUpSettings | None = None,
    snapshots: SnapshotSettings = SNAPSHOTS,
) -> AsyncGenerator[Watching]:
    """Run the daemon's parts for an agent of a simulated platform."""
    clock = VirtualClock()
    async with Access(Basic(AGENT, "simulated")) as access:
        metrics = Metrics(clock)
        rest = Rest(simulator.url, access, metrics.observe)
        watched = await journal.watch(AGENT, clock.now())
        lane = FollowUpLane(journal, {AGENT: rest}, clock, chance, settings or FollowUpSettings(PATIENCE))
        intake = Intake(journal, routes, clock, Reserve(journal.space, clock), metrics.observe)
        pipeline = Pipeline(journal, routes, clock, chance, lane, intake, metrics.observe)
        address = f"{simulator.url}/api/v2"
        source = CometdSource(
            CometdSettings(AGENT, f"{address}/notifications", sign_in_url=f"{address}/me", keep=True),
            access,
            clock=clock,
            chance=chance,
            position=watched.position,
        )
        reconciler = Reconciler(
            AGENT,
            journal,
            intake,
            rest,
            clock=clock,
            chance=chance,
            renew=source.renew,
            settings=snapshots,
            observe=metrics.observe,
        )
        running: list[Awaitable[None]] = [pipeline.take_all(source), pipeline.dispatch.run(), reconciler.run()]
        tasks = [asyncio.ensure_future(part) for part in running]
        here = Watching(journal, rest, source, intake, metrics, tasks)
        try:
            yield here
        finally:
            await here.stop()


@asynccontextmanager
async def floor(
    *routes: Route,
    journal: Journal | None = None,
    settings: FollowUpSettings | None = None,
    snapshots: SnapshotSettings = SNAPSHOTS,
    **tables: Any,
) -> AsyncGenerator[Floor]:
    """Serve a quiet platform, and run the daemon's parts against it."""
    clock, chance = VirtualClock(), SeededChance(7)
    scenario = Scenario.model_validate({"customers": {"per_minute": 0}, **tables})
    journal = journal or open_journal(IN_MEMORY, Path(), clock.now())
    async with (
        simulating(scenario, clock=clock, chance=chance) as simulator,
        watching(simulator, journal, *routes, chance=chance, settings=settings, snapshots=snapshots) as daemon,
    ):
        here = Floor(simulator, daemon)
        await here.until(lambda: daemon.source.status.healthy)
        yield here

"""The whole daemon: its parts, put together, from start to stop."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from fbsessiond.agent import watching
from fbsessiond.agents import Agents, all_watched
from fbsessiond.carrying import Patience
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.collecting import freeze_the_grown
from fbsessiond.cometd.events import ConnectionEvent
from fbsessiond.configuration import Configuration
from fbsessiond.dispatch import Dispatch
from fbsessiond.errors import ConfigurationError, DiskError, RefusedError
from fbsessiond.events import Event, Observe, unobserved
from fbsessiond.follow_ups import FollowUpLane, FollowUpSettings
from fbsessiond.http_interface import serving
from fbsessiond.intake import Intake
from fbsessiond.journal.engines import Opening, claimed
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.message import Batch, Source
from fbsessiond.page.figures import Figures
from fbsessiond.page.guard import Guard, place_of
from fbsessiond.page.interface import Page
from fbsessiond.proofs import Proofs
from fbsessiond.readiness import Check, Checks, is_ready
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.reserve import Reserve
from fbsessiond.revealing import pass_on_reveals
from fbsessiond.route import Route
from fbsessiond.service_manager import ServiceManager
from fbsessiond.settings import FollowUpsSettings, JournalSettings, TracesSettings
from fbsessiond.signals import Asked, asking, examine
from fbsessiond.tasks import to_the_end, until_first
from fbsessiond.watch import LoopWatch
from fbsessiond.winding import wind_clocks

if TYPE_CHECKING:
    from fbsessiond.gauges import Readings
    from fbsessiond.metrics import Metrics  # whose library takes its time to import
    from fbsessiond.traces import Traces

log = structlog.get_logger(__name__)

HANDSHAKES = 16
"""So many agents begin a CometD session at a time: a server that restarts isn't stormed by all of them at once."""

HOUSEKEEPING_SECONDS = 1.0
"""How often the journal is asked for what a person wants done."""

PRUNE_EVERY = 60
"""Looks for what is too old once in so many rounds of housekeeping."""


class Pipeline:
    """Source to settlement: what the daemon and a replay have in common."""

    def __init__(
        self,
        journal: Journal,
        routes: Sequence[Route],
        clock: Clock,
        chance: Chance,
        follow_ups: FollowUpLane | None = None,
        intake: Intake | None = None,
        observe: Observe = unobserved,
        proofs: Proofs | None = None,
    ) -> None:
        """Put them together; without `follow_ups`, what handlers ask for is written down, and nothing is sent.

        Without `proofs`, which somebody runs, what an empty batch proves is written at once.
        """
        self.intake = intake or Intake(journal, routes, clock)
        self._proofs = proofs
        self.dispatch = Dispatch(journal, routes, clock, chance, follow_ups, observe)

    async def take_all(self, source: Source) -> None:
        """Journal what a source yields, until it ends; it is asked for more only when a batch is on disk, and has room.

        When cancelled, it closes the source, and journals what that had read up to then.
        """
        async with aclosing(aiter(source)) as batches:
            try:
                await self.intake.wait_for_room()
                async for batch in batches:
                    if self._proofs is None or not self._proofs.keep(batch):
                        await to_the_end(self._take(batch))
                    await self.intake.wait_for_room()
            except asyncio.CancelledError:
                await batches.aclose()
                async for batch in batches:
                    await self._take(batch)
                if self._proofs is not None:
                    await self._proofs.write()
                raise

    async def _take(self, batch: Batch) -> None:
        if self._proofs is not None:
            await self._proofs.make_way(batch)
        await self.intake.take(batch)


@asynccontextmanager
async def running_handlers(routes: Sequence[Route]) -> AsyncGenerator[None, None]:
    """Hold what the handlers need. Raises `ConfigurationError` where a handler can't start."""
    async with AsyncExitStack() as stack:
        for route in routes:
            try:
                await stack.enter_async_context(route.handler.running())
            except (OSError, ConfigurationError) as error:
                raise ConfigurationError(f"handlers.{route.name}: can't start: {error}") from error
        yield


async def run_daemon(
    configuration: Configuration,
    clock: Clock,
    chance: Chance,
    *,
    reload: Callable[[], Configuration] | None = None,
    manager: ServiceManager | None = None,
    claim: Callable[[str, Path], AbstractContextManager[Opening]] = claimed,
) -> None:
    """Run until SIGTERM or SIGINT; after SIGHUP with what `reload` reads, if it can start with that.

    Raises `ConfigurationError`, and then the journal's file wasn't touched; `RefusedError` when GWS refuses the
    credentials, or `DiskError`.
    """
    from fbsessiond.metrics import Metrics  # noqa: PLC0415  its library takes its time to import

    manager = manager or ServiceManager(None)
    metrics = Metrics(clock)
    await examine(configuration)
    with (
        claim(configuration.settings.journal.url, configuration.state_directory) as opening,
        asking(configuration, reload, manager, clock) as asked,
    ):
        while (current := asked.following) is not None:
            try:
                await _run_with(current, opening, metrics, clock, chance, asked, manager)
            except (ConfigurationError, RefusedError) as error:
                if not asked.can_go_back(current, error):
                    raise
                asked.go_back(error)
            except DiskError as error:
                manager.failing(error)
                raise
    log.info("daemon.stopped")


async def _run_with(
    configuration: Configuration,
    opening: Opening,
    metrics: "Metrics",
    clock: Clock,
    chance: Chance,
    asked: Asked,
    manager: ServiceManager,
) -> None:
    """Run with one configuration, until something else is asked for. The journal is opened when all else is there."""
    settings = configuration.settings
    routes = configuration.routes()
    snapshots = SnapshotSettings(settings.snapshots.every, settings.snapshots.settling)
    parts: list[Checks] = []

    def checks() -> Sequence[Check]:
        return [check for part in parts for check in part()] or [Check("journal", False, "isn't open")]

    figures = Figures(tuple(route.name for route in routes), clock)
    guard = Guard(place_of(settings.http.listen), settings.http.read_token(), clock)
    page = Page(checks, figures, guard, clock)

    make_traces = _making_traces(settings.traces)
    observers = [metrics.observe, figures.observe]

    def observe(event: Event | ConnectionEvent) -> None:
        for each in observers:
            each(event)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_handlers(routes))
        address = await stack.enter_async_context(
            serving(settings.http.listen, checks, metrics.exposition, clock, page)
        )
        journal = opening(clock.now())
        stack.callback(journal.close)
        journal.time_with(metrics.timed)
        if make_traces is not None:
            traces = make_traces(journal.identity, clock)
            stack.callback(traces.close)
            observers.append(traces.observe)
        stack.enter_context(LoopWatch(clock, late=metrics.count_lag))
        await wind_clocks(journal, routes, clock)
        reserve = Reserve(journal.space, clock, settings.journal.reserve)
        intake = Intake(journal, routes, clock, reserve, observe)
        handshakes = asyncio.Semaphore(HANDSHAKES)
        agents = await stack.enter_async_context(
            all_watched(
                settings.watched,
                lambda gws: watching(gws, journal, intake, clock, chance, snapshots, observe, handshakes),
                clock,
                chance,
            )
        )
        handlers = {route.name: route.handler for route in routes}
        follow_ups = FollowUpLane(
            journal,
            agents.rests,
            clock,
            chance,
            follow_up_settings(settings.follow_ups),
            handlers,
            observe,
            agents.bear,
        )
        proofs = Proofs(journal)
        pipeline = Pipeline(journal, routes, clock, chance, follow_ups, intake, observe, proofs)
        reader = journal.reader()
        failing = _Failing(journal, pipeline.dispatch, manager)
        parts += [lambda: agents.checks(reader), lambda: [reserve.check(), *failing.checks()]]
        metrics.expect(list(handlers))
        idle = metrics.gauges.read
        metrics.gauges.read = partial(_readings, agents, reserve, journal, reader, list(handlers), checks, clock)
        stack.enter_context(page.showing(reader, agents.connections))
        asked.change_agents = agents.change
        log.info("daemon.started", **agents.told, handlers=[route.name for route in routes], http=address)
        try:
            await until_first(
                failing.until_failed(),
                asked.until_asked(),
                agents.run(pipeline.take_all),
                pipeline.dispatch.run(),
                proofs.run(),
                freeze_the_grown(lambda: agents.begun),
                keep_house(journal, intake, settings.journal, clock),
                pass_on_reveals(journal, routes),
                manager.keep_informed(checks, lambda: reserve.is_used or agents.is_moving),
            )
        finally:
            parts.clear()
            metrics.gauges.read = idle
            asked.change_agents = None
            asked.has_connected = agents.has_connected


class _Failing:
    """Says at once that a disk has failed: until what runs beside it has ended, seconds may pass."""

    def __init__(self, journal: Journal, dispatch: Dispatch, manager: ServiceManager) -> None:
        self._journal = journal
        self._dispatch = dispatch
        self._manager = manager
        self._journal_has_failed = False

    async def until_failed(self) -> None:
        """Raise what the journal failed of, when it has."""
        failure = await self._journal.failed()
        self._journal_has_failed = True
        self._manager.failing(failure)
        raise failure

    def checks(self) -> Sequence[Check]:
        """Say whether something failed for which the daemon ends."""
        has_failed = self._dispatch.has_failed
        return [
            _whole("journal", has_failed=self._journal_has_failed),
            _whole("handlers", has_failed=has_failed),
        ]


def _whole(name: str, *, has_failed: bool) -> Check:
    return Check(name, not has_failed, "failed: the daemon ends, and its last words say why" if has_failed else "whole")


def _making_traces(settings: TracesSettings) -> "Callable[[str, Clock], Traces] | None":
    """Return what makes traces for a journal's identity; None where none are wanted.

    Raises `ConfigurationError` where the extra isn't installed.
    """
    if settings.endpoint is None:
        return None
    try:
        from fbsessiond.traces import Traces  # noqa: PLC0415  takes most of a second
    except ImportError as error:
        raise ConfigurationError(
            f"traces.endpoint: needs the extra `traces`: pip install 'fbsessiond[traces]' ({error})"
        ) from error
    return partial(Traces, str(settings.endpoint))


def _readings(
    agents: Agents,
    reserve: Reserve,
    journal: Journal,
    reader: Reader,
    handlers: Sequence[str],
    checks: Checks,
    clock: Clock,
) -> "Readings":
    """Look up what is read at each scrape."""
    from fbsessiond.gauges import Readings  # noqa: PLC0415  as above

    now, space = clock.now(), journal.space()
    return Readings(
        is_ready=is_ready(checks()),
        standings=agents.standings(reader, now),
        backlog=reader.backlog(handlers, now),
        is_intake_paused=reserve.is_used,
        free_bytes=None if space is None else space.free_bytes,
    )


def follow_up_settings(table: FollowUpsSettings) -> FollowUpSettings:
    """Return how follow-ups are carried out."""
    patience = Patience(confirmation=table.confirmation, settling=table.settling, attempts=table.attempts)
    return FollowUpSettings(patience, table.backoff, table.concurrency)


async def follow_the_time(journal: Journal, clock: Clock) -> None:
    """Follow the machine's time where it was set; whatever is due later stays as far away as it was."""
    if by := clock.stepped():
        log.warning("clock.stepped", by=str(by))
        await journal.shift(by)  # before anything else is leased: writes keep their order


async def keep_house(journal: Journal, intake: Intake, settings: JournalSettings, clock: Clock) -> None:
    """Do what a person asked for in the journal, and forget what is too old, in small bites, until cancelled."""
    rounds = itertools.cycle(range(PRUNE_EVERY))
    while True:
        await follow_the_time(journal, clock)
        await intake.retry_quarantined()
        if next(rounds) == 0:
            while forgotten := await journal.prune(clock.now() - settings.retain, settings.retain_bytes):
                log.info("journal.pruned", entries=forgotten)
                await asyncio.sleep(0)
        await asyncio.sleep(HOUSEKEEPING_SECONDS)

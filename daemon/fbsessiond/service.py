"""The whole daemon: its parts, put together, from start to stop."""

import asyncio
import itertools
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from fbsessiond.agent import Agent, gws_of, standing, watching
from fbsessiond.carrying import Patience
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.configuration import Configuration, FollowUpsSettings, JournalSettings
from fbsessiond.dispatch import Dispatch
from fbsessiond.errors import ConfigurationError
from fbsessiond.events import Observe, unobserved
from fbsessiond.follow_ups import FollowUpLane, FollowUpSettings
from fbsessiond.http_interface import serving
from fbsessiond.intake import Intake
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.message import Source
from fbsessiond.readiness import Check, Checks, is_ready
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.reserve import Reserve
from fbsessiond.revealing import pass_on_reveals
from fbsessiond.route import Route
from fbsessiond.service_manager import ServiceManager
from fbsessiond.watch import LoopWatch
from fbsessiond.winding import wind_clocks

if TYPE_CHECKING:
    from fbsessiond.gauges import Readings
    from fbsessiond.metrics import Metrics  # whose library takes its time to import

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The first two stop it, the last one has it read its configuration again."""

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
    ) -> None:
        """Put them together; without `follow_ups`, what handlers ask for is written down, and nothing is sent."""
        self.intake = intake or Intake(journal, routes, clock)
        self.dispatch = Dispatch(journal, routes, clock, chance, follow_ups, observe)

    async def take_all(self, source: Source) -> None:
        """Journal what a source yields, until it ends; it is asked for more only when a batch is on disk, and has room.

        When cancelled, it closes the source, and journals what that had read up to then.
        """
        async with aclosing(aiter(source)) as batches:
            try:
                await self.intake.wait_for_room()
                async for batch in batches:
                    await _to_the_end(self.intake.take(batch))
                    await self.intake.wait_for_room()
            except asyncio.CancelledError:
                await batches.aclose()
                async for batch in batches:
                    await self.intake.take(batch)
                raise


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
) -> None:
    """Run until SIGTERM or SIGINT; after SIGHUP with what `reload` reads, if it can start with that.

    Raises `ConfigurationError`, `RefusedError` when GWS refuses the credentials, or `DiskError`.
    """
    from fbsessiond.metrics import Metrics  # noqa: PLC0415  its library takes its time to import

    manager = manager or ServiceManager(None)
    metrics = Metrics(clock)
    with _asked(reload or (lambda: configuration), manager, clock) as asked:
        current: Configuration | None = configuration
        before: Configuration | None = None
        while current is not None:
            try:
                await _run_with(current, metrics, clock, chance, asked, manager)
            except ConfigurationError as error:
                if before is None:
                    raise
                asked.refuse(error)
                current, before = before, None
            else:
                current, before = asked.following, current
    log.info("daemon.stopped")


async def _run_with(
    configuration: Configuration,
    metrics: "Metrics",
    clock: Clock,
    chance: Chance,
    asked: "_Asked",
    manager: ServiceManager,
) -> None:
    """Run with one configuration, until something else is asked for."""
    settings = configuration.settings
    gws = gws_of(settings)
    routes = configuration.routes()
    snapshots = SnapshotSettings(settings.snapshots.every, settings.snapshots.settling)
    async with AsyncExitStack() as stack:
        journal = open_journal(settings.journal.url, configuration.state_directory, clock.now())
        stack.callback(journal.close)
        journal.time_with(metrics.timed)
        await stack.enter_async_context(running_handlers(routes))
        stack.enter_context(LoopWatch(clock, late=metrics.count_lag))
        await wind_clocks(journal, routes, clock)
        reserve = Reserve(journal.space, clock, settings.journal.reserve)
        observe = metrics.observe
        intake = Intake(journal, routes, clock, reserve, observe)
        agent = await stack.enter_async_context(watching(gws, journal, intake, clock, chance, snapshots, observe))
        handlers = {route.name: route.handler for route in routes}
        follow_ups = FollowUpLane(
            journal, {agent.name: agent.rest}, clock, chance, follow_up_settings(settings.follow_ups), handlers, observe
        )
        pipeline = Pipeline(journal, routes, clock, chance, follow_ups, intake, observe)
        reader = journal.reader()

        def checks() -> Sequence[Check]:
            return [*agent.checks(reader), reserve.check()]

        metrics.expect(list(handlers))
        metrics.gauges.read = partial(_readings, agent, reserve, journal, reader, list(handlers), checks, clock)
        address = await stack.enter_async_context(serving(settings.http.listen, checks, metrics.exposition, clock))
        log.info("daemon.started", agent=agent.name, handlers=[route.name for route in routes], http=address)
        await until_first(
            asked.until_asked(),
            pipeline.take_all(agent.source),
            pipeline.dispatch.run(),
            agent.reconciler.run(),
            keep_house(journal, intake, settings.journal, clock),
            pass_on_reveals(journal, routes),
            manager.keep_informed(checks, lambda: reserve.is_used or agent.source.is_moving),
        )


def _readings(
    agent: Agent,
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
        standing=standing([agent], reader, now),
        backlog=reader.backlog(handlers, now),
        is_intake_paused=reserve.is_used,
        free_bytes=None if space is None else space.free_bytes,
    )


def follow_up_settings(table: FollowUpsSettings) -> FollowUpSettings:
    """Return how follow-ups are carried out."""
    patience = Patience(confirmation=table.confirmation, settling=table.settling, attempts=table.attempts)
    return FollowUpSettings(patience, table.backoff, table.concurrency)


async def until_first(*parts: Coroutine[Any, Any, object]) -> None:
    """Run parts side by side until the first ends; then stop the others.

    Raises what that first part raised, or else what any of the others raised while it stopped.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in sorted(tasks, key=lambda task: task not in first):
        if not task.cancelled():
            task.result()


async def _to_the_end(work: Coroutine[Any, Any, object]) -> None:
    """Finish a piece of work even if cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


class _Asked:
    """What a person, or the service manager, asks of the daemon by signals."""

    def __init__(self, reload: Callable[[], Configuration], manager: ServiceManager, clock: Clock) -> None:
        self.following: Configuration | None = None
        """What to go on with; None: with nothing."""
        self._reload = reload
        self._manager = manager
        self._clock = clock
        self._signals = asyncio.Queue[signal.Signals]()

    def hear(self, number: signal.Signals) -> None:
        """Take a signal that the process got."""
        self._signals.put_nowait(number)

    async def until_asked(self) -> None:
        """Wait until it has to stop, or to go on with another configuration that can be read."""
        while await self._signals.get() == signal.SIGHUP:
            try:
                following = self._reload()
                following.routes()
            except ConfigurationError as error:
                self.refuse(error)
            else:
                self.following = following
                log.info("configuration.reloaded")
                self._manager.reloading(self._clock.monotonic())
                return
        self.following = None
        self._manager.stopping()

    def refuse(self, error: ConfigurationError) -> None:
        """Say that the daemon goes on as it was configured before, and why."""
        log.error("configuration.refused", error=str(error), hint="the daemon goes on with the one that it has")
        self._manager.remark = f"the configuration that it was to reload is refused: {error}"


@contextmanager
def _asked(reload: Callable[[], Configuration], manager: ServiceManager, clock: Clock) -> Generator[_Asked, None, None]:
    """Hear signals for a while."""
    asked = _Asked(reload, manager, clock)
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, asked.hear, number)
    try:
        yield asked
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


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

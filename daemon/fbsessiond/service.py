"""The whole daemon: its parts, put together, from start to stop."""

import asyncio
import itertools
import signal
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import structlog

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.configuration import Configuration, GwsSettings, JournalSettings
from fbsessiond.dispatch import Dispatch
from fbsessiond.errors import ConfigurationError
from fbsessiond.gws.access import Access, Basic, Bearer, Credentials
from fbsessiond.intake import Intake
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.message import Source
from fbsessiond.route import Route
from fbsessiond.watch import LoopWatch

log = structlog.get_logger(__name__)

HOUSEKEEPING_SECONDS = 1.0
PRUNE_EVERY = 60
"""Looks for what is too old once in so many rounds of housekeeping."""


class Pipeline:
    """Source to settlement: what the daemon and a replay have in common."""

    def __init__(self, journal: Journal, routes: Sequence[Route], clock: Clock, chance: Chance) -> None:
        self.intake = Intake(journal, routes, clock)
        self.dispatch = Dispatch(journal, routes, clock, chance)

    async def take_all(self, source: Source) -> None:
        """Journal what a source yields, until it ends; it is asked for more only when a batch is on disk."""
        async with aclosing(aiter(source)) as batches:
            async for batch in batches:
                await self.intake.take(batch)


@asynccontextmanager
async def running_handlers(routes: Sequence[Route]) -> AsyncGenerator[None, None]:
    """Hold what the handlers need. Raises `ConfigurationError` where a handler can't start."""
    async with AsyncExitStack() as stack:
        for route in routes:
            try:
                await stack.enter_async_context(route.handler.running())
            except OSError as error:
                raise ConfigurationError(f"handlers.{route.name}: can't start: {error}") from error
        yield


async def run_daemon(configuration: Configuration, clock: Clock, chance: Chance) -> None:
    """Run until SIGTERM or SIGINT.

    Raises `ConfigurationError`, `RefusedError` when GWS refuses the credentials, or `DiskError`.
    """
    gws = configuration.settings.gws
    if gws is None:
        raise ConfigurationError("gws: is missing; `fbsessiond run` needs to know the platform's url and the agent")
    routes = configuration.routes()
    access = access_of(gws)
    stopped = _stop_signals()
    watch = LoopWatch(clock)
    async with AsyncExitStack() as stack:
        journal = open_journal(configuration.settings.journal.url, configuration.state_directory, clock.now())
        stack.callback(journal.close)
        await stack.enter_async_context(running_handlers(routes))
        await stack.enter_async_context(access)
        watch.start()
        stack.callback(watch.stop)
        source = CometdSource(source_settings(gws), access, clock=clock, chance=chance)
        pipeline = Pipeline(journal, routes, clock, chance)
        log.info("daemon.started", agent=gws.agent_name, handlers=[route.name for route in routes])
        housekeeping = _keep_house(journal, pipeline.intake, configuration.settings.journal, clock)
        await until_first(stopped.wait(), pipeline.take_all(source), pipeline.dispatch.run(), housekeeping)
    log.info("daemon.stopped")


def access_of(gws: GwsSettings) -> Access:
    """Return the agent's access, its secrets fetched. Raises `ConfigurationError` where one isn't to be had."""
    credentials: Credentials
    if gws.token is not None:
        credentials = Bearer(gws.token.read("gws.token").get_secret_value())
    else:
        assert gws.username is not None and gws.password is not None, "checked by the settings"  # noqa: S101, PT018
        credentials = Basic(gws.username, gws.password.read("gws.password").get_secret_value())
    return Access(credentials, certificate_authority=gws.ca_file)


def source_settings(gws: GwsSettings) -> CometdSettings:
    """Return what the notification connection needs to know."""
    return CometdSettings(
        agent=gws.agent_name,
        url=gws.notifications_url,
        channels=tuple(gws.channels),
        transports=tuple(gws.transports),
    )


async def until_first(*parts: Coroutine[Any, Any, object]) -> None:
    """Run parts side by side until the first ends; then stop the others, and raise what any of them raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def _stop_signals() -> asyncio.Event:
    """Return the event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _keep_house(journal: Journal, intake: Intake, settings: JournalSettings, clock: Clock) -> None:
    """Do what a person asked for in the journal, and forget what is too old, in small bites."""
    for round_number in itertools.count():
        await intake.retry_quarantined()
        if round_number % PRUNE_EVERY == 0:
            while forgotten := await journal.prune(clock.now() - settings.retain, settings.retain_bytes):
                log.info("journal.pruned", entries=forgotten)
                await asyncio.sleep(0)
        await asyncio.sleep(HOUSEKEEPING_SECONDS)

"""Checking what a configuration needs: secrets, folders, the journal, GWS."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any

from fbsessiond.agent import access_of, source_settings
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.cometd.events import Connected, ConnectionEvent, Lost, SubscriptionRefused
from fbsessiond.cometd.source import CometdSource
from fbsessiond.configuration import Configuration
from fbsessiond.errors import ConfigurationError, RefusedError, UnavailableError
from fbsessiond.gws.access import Access
from fbsessiond.journal.address import shown
from fbsessiond.journal.engines import open_journal
from fbsessiond.message import Batch
from fbsessiond.route import Route
from fbsessiond.service import running_handlers
from fbsessiond.settings import GwsSettings

AT_A_TIME = 16
"""So many agents are tried side by side."""

ANSWER_SECONDS = 10.0
"""How long GWS may take to answer."""


async def check_environment(
    configuration: Configuration, routes: Sequence[Route], say: Callable[[str, str], None], clock: Clock, chance: Chance
) -> None:
    """Try everything once, in the order in which the daemon needs it; say what is fine, raise at the first trouble.

    Where there are several agents, each is tried, and the first one's trouble is raised in the end.
    """
    watched = configuration.settings.watched
    if not watched:
        raise ConfigurationError("gws: is missing; it says where the platform is, and who the agent is")
    accesses = [access_of(gws) for gws in watched]
    configuration.settings.http.read_token()
    say("secrets", "fine")
    journal = open_journal(configuration.settings.journal.url, configuration.state_directory, clock.now())
    journal.close()
    say("journal", f"fine, {shown(configuration.settings.journal.url)} in {configuration.state_directory}")
    async with running_handlers(routes):
        say("handlers", "fine")
    few = asyncio.Semaphore(AT_A_TIME)

    async def connect(gws: GwsSettings, access: Access) -> Exception | None:
        what = "gws" if len(watched) == 1 else f"gws {gws.agent_name}"
        try:
            async with few:
                await _connect_once(gws, access, clock, chance)
        except (RefusedError, UnavailableError) as error:
            if len(watched) > 1:
                say(what, str(error))
            return error
        say(what, f"fine, {gws.notifications_url}")
        return None

    troubles = await asyncio.gather(*map(connect, watched, accesses))
    for trouble in filter(None, troubles):
        raise trouble


async def _connect_once(gws: GwsSettings, access: Access, clock: Clock, chance: Chance) -> None:
    """Begin a CometD session of its own, subscribe, and end it. Raises `RefusedError` or `UnavailableError`."""
    first: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def observe(event: ConnectionEvent) -> None:
        if first.done():
            return
        match event:
            case Connected():
                first.set_result(None)
            case Lost():
                first.set_result(f"{event.cause}: {event.words}")
            case SubscriptionRefused():
                first.set_result(f"the subscription to {event.channel} is refused: {event.words}")
            case _:
                pass

    async with access:
        source = CometdSource(source_settings(gws), access, clock=clock, chance=chance, observe=observe)
        async with aclosing(aiter(source)) as batches:
            listening = asyncio.create_task(_pass_over(batches))
            waiting: set[asyncio.Future[Any]] = {listening, first}
            await asyncio.wait(waiting, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
    trouble = first.result() if first.done() else f"no answer within {ANSWER_SECONDS:g} s"
    if trouble is not None:
        raise UnavailableError(f"{gws.notifications_url}: {trouble}")


async def _pass_over(batches: AsyncIterator[Batch]) -> None:
    """Let batches come; only what becomes of the connection matters here."""
    async for _ in batches:
        pass

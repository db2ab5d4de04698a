"""Telling the handlers who had customer data shown: those that keep a record, such as `audit`, write it down.

A command that shows customer data writes that into the journal first, whether a daemon runs or not. The daemon finds it
there, now or when it starts, says so in its log, and tells the handlers.
"""

import asyncio
from collections.abc import Sequence

import structlog

from fbsessiond.dates import iso
from fbsessiond.errors import DiskError
from fbsessiond.journal.interface import Journal
from fbsessiond.reveal import Reveal
from fbsessiond.route import Route

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often the journal is asked."""

PAUSE_SECONDS = 60.0
"""How long after a handler couldn't take one it is asked again."""


async def pass_on_reveals(journal: Journal, routes: Sequence[Route]) -> None:
    """Tell each handler of each reveal, at least once and in their order, until cancelled. Raises `DiskError`."""
    while True:
        pause = LOOK_SECONDS
        for reveal in await journal.take_reveals():
            if not await _tell_all(reveal, routes):
                pause = PAUSE_SECONDS
                break
            log.warning("customer_data.revealed", by=reveal.by, command=reveal.command, revealed_at=iso(reveal.at))
            await journal.pass_on_reveal(reveal)
        await asyncio.sleep(pause)


async def _tell_all(reveal: Reveal, routes: Sequence[Route]) -> bool:
    told = [await _tell(reveal, route) for route in routes]
    return all(told)


async def _tell(reveal: Reveal, route: Route) -> bool:
    """Tell one handler; say whether it took it."""
    try:
        async with asyncio.timeout(route.delivery.timeout.total_seconds()):
            await route.handler.revealed(reveal)
    except DiskError:
        raise
    except Exception:
        log.exception("reveal.not_recorded", handler=route.name, again_in=f"{PAUSE_SECONDS:g} s")
        return False
    return True

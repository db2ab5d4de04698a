"""What can go wrong for a while: between the daemon and the platform, on the platform, or with the daemon itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from fbsessiond.gap import GapCause
from floor import AGENT
from simulation.world import SNAPSHOTS, World

Outage: TypeAlias = Callable[[World], Awaitable[GapCause]]
"""Makes something go wrong for a while; returns the cause that a gap should have, if one comes of it."""


def failing(cause: GapCause, seconds: tuple[float, float], **faults: Any) -> Outage:
    """Return an outage in which requests fail in some way."""

    async def outage(world: World) -> GapCause:
        world.switch(**{name: fault or {} for name, fault in faults.items()})
        await asyncio.sleep(world.chance.between(*seconds))
        world.switch(**dict.fromkeys(faults))
        return cause

    return outage


def restarted(seconds: tuple[float, float], *, crash: bool) -> Outage:
    """Return a stop of the daemon."""

    async def outage(world: World) -> GapCause:
        await world.restart(world.chance.between(*seconds), crash=crash)
        return GapCause.STOPPED

    return outage


async def session_dropped(world: World) -> GapCause:
    """Let the server forget the CometD session."""
    world.simulator.bayeux.forget(world.client().id)
    return GapCause.SESSION_LOST


async def server_restarted(world: World) -> GapCause:
    """Let the server forget all."""
    world.simulator.restart()
    return GapCause.SESSION_LOST


async def subscription_refused(world: World) -> GapCause:
    """Let the server forget the session, and refuse to subscribe the next one for a while."""
    world.switch(refuse_subscription={})
    world.simulator.bayeux.forget(world.client().id)
    await asyncio.sleep(world.chance.between(5, 30))
    world.switch(refuse_subscription=None)
    return GapCause.SESSION_LOST


async def list_missing(world: World) -> GapCause:
    """Let the server forget the session, and answer for a while without the list."""
    world.switch(no_list={})
    world.simulator.bayeux.forget(world.client().id)
    await asyncio.sleep(world.chance.between(20, 60))
    gaps = (await world.daemon.journal.watched(AGENT)).gaps
    assert len(gaps) == 1, "a missing key isn't an empty list: the gap stays open"
    world.switch(no_list=None)
    return GapCause.SESSION_LOST


async def silence(world: World) -> GapCause:
    """Let the server forget the subscription, and say nothing."""
    world.switch(unsubscribe={"count": 1})
    await asyncio.sleep(SNAPSHOTS.every.total_seconds() * 2)
    return GapCause.SILENT


LONG = (25.0, 90.0)
SHORT = (1.0, 4.0)
OUTAGES: dict[str, Outage] = {
    "cut off, long": failing(GapCause.NETWORK, LONG, drop_request=None),
    "cut off, short": failing(GapCause.NETWORK, SHORT, drop_request=None),
    "5xx, long": failing(GapCause.NETWORK, LONG, _5xx=None),
    "5xx, short": failing(GapCause.NETWORK, SHORT, _5xx=None),
    "black hole, long": failing(GapCause.NETWORK, (30.0, 60.0), hang=None),
    "black hole, short": failing(GapCause.NETWORK, SHORT, hang=None),
    "401": failing(GapCause.REFUSED, (2.0, 40.0), _401=None),
    "403": failing(GapCause.REFUSED, (2.0, 40.0), forbidden=None),
    "signed out": failing(GapCause.REFUSED, (0.1, 0.2), _403={"count": 1, "on": ["notifications"]}),
    "cut in mid-response": failing(GapCause.NETWORK, SHORT, cut={"probability": 0.7}),
    "answers lost": failing(GapCause.NETWORK, SHORT, drop={"probability": 0.7}),
    "session dropped": session_dropped,
    "server restarted": server_restarted,
    "subscription refused": subscription_refused,
    "no list": list_missing,
    "silence": silence,
    "stopped, short": restarted((0.5, 6.0), crash=False),
    "stopped, long": restarted((15.0, 60.0), crash=False),
    "crashed, short": restarted((0.5, 6.0), crash=True),
    "crashed, long": restarted((15.0, 60.0), crash=True),
}

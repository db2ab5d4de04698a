"""What can go wrong for a while: between the daemon and the platform, on the platform, or with the daemon itself.

`OUTAGES` each have a cause that a gap must have if one comes of it; `TROUBLES` are the rest. Some end the daemon, and
any of the others may go wrong meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from fbsessiond.chance import choose
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
    world.simulator.bayeux.forget_all("forgotten")
    return GapCause.SESSION_LOST


async def server_restarted(world: World) -> GapCause:
    """Let the server forget all."""
    world.simulator.restart()
    return GapCause.SESSION_LOST


async def subscription_refused(world: World) -> GapCause:
    """Let the server forget the session, and refuse to subscribe the next one for a while."""
    world.switch(refuse_subscription={})
    world.simulator.bayeux.forget_all("forgotten")
    await asyncio.sleep(world.chance.between(5, 30))
    world.switch(refuse_subscription=None)
    return GapCause.SESSION_LOST


async def list_missing(world: World) -> GapCause:
    """Let the server forget the session, and answer for a while without the list."""
    world.switch(no_list={})
    world.simulator.bayeux.forget_all("forgotten")
    await asyncio.sleep(world.chance.between(20, 60))
    if world.is_running:
        watched = await world.daemon.journal.watched(AGENT)
        assert watched.gaps or watched.broken, "a missing key isn't an empty list: the gap stays open"
    world.switch(no_list=None)
    return GapCause.SESSION_LOST


async def silence(world: World) -> GapCause:
    """Let the server forget the subscription, and say nothing; in the end it forgets the session as well.

    All is well when that begins: what a comparison finds while a gap is open is put down to the gap.
    """
    await world.until(world.is_covered)
    await asyncio.sleep(5)
    world.switch(unsubscribe={"count": 1})
    await asyncio.sleep(SNAPSHOTS.every.total_seconds() * 2)
    world.switch(unsubscribe=None)
    if not world.client().subscriptions:
        world.simulator.bayeux.forget(world.client().id)
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


Trouble: TypeAlias = Callable[[World], Awaitable[None]]
"""Makes something go wrong for a while."""


def faulty(seconds: tuple[float, float], **faults: Any) -> Trouble:
    """Return a trouble in which the platform misbehaves in some way."""

    async def trouble(world: World) -> None:
        world.switch(**faults)
        await asyncio.sleep(world.chance.between(*seconds))
        world.switch(**dict.fromkeys(faults))

    return trouble


async def overtaken(world: World) -> None:
    """Let notifications overtake each other."""
    world.late = 0.2
    await asyncio.sleep(world.chance.between(5, 30))
    world.late = 0.0


async def slow_network(world: World) -> None:
    """Let everything take its time on the way; a proof is as exact as that."""
    worst = choose(world.chance, (0.05, 0.3, 0.8))
    world.loop.delay = lambda: world.chance.between(0, 1) ** 8 * worst
    await asyncio.sleep(world.chance.between(5, 60))
    world.loop.delay = float


async def slow_disk(world: World) -> None:
    """Let commits hold everything up."""
    world.disk.slow_seconds = choose(world.chance, (0.01, 0.3, 2.0))
    await asyncio.sleep(world.chance.between(5, 30))
    world.disk.slow_seconds = 0.0


async def disk_failed(world: World) -> None:
    """Let a commit fail, for which the daemon has to end."""
    await world.break_disk(world.chance.between(0.5, 6))


async def move_failed(world: World) -> None:
    """Let the move of the journal's log into its file fail, for which the daemon has to end."""
    await world.break_disk(world.chance.between(0.5, 6), later=True)


async def disk_full(world: World) -> None:
    """Let the disk be nearly full for a while."""
    world.disk.is_full = True
    await asyncio.sleep(world.chance.between(5, 90))
    world.disk.is_full = False


async def reloaded(world: World) -> None:
    """Show the daemon another configuration, which is right or wrong."""
    await world.reload()


async def drained(world: World) -> None:
    """Stop the daemon under load."""
    await world.drain(world.chance.between(0.5, 6))


async def crashed_in_between(world: World) -> None:
    """Crash the daemon between two of its awaits."""
    await world.crash_at(int(world.chance.between(1, 400)), world.chance.between(0.1, 6))


async def crashed_again(world: World) -> None:
    """Crash the daemon while it starts, several times."""
    for _ in range(3):
        await world.crash_at(int(world.chance.between(1, 60)), world.chance.between(0, 1))


TROUBLES: dict[str, Trouble] = {
    "notifications lost": faulty((5.0, 30.0), lose={"probability": 0.2}),
    "notifications doubled": faulty((5.0, 30.0), duplicate={"probability": 0.3}),
    "notifications overtaken": overtaken,
    "misleading advice": faulty((5.0, 30.0), advice={"probability": 0.2}),
    "slow answers": faulty((5.0, 40.0), slow={"probability": 0.5, "pause": "6s"}),
    "slow network": slow_network,
    "slow disk": slow_disk,
    "disk failed": disk_failed,
    "crashed in between": crashed_in_between,
    "crashed again and again": crashed_again,
    "disk full": disk_full,
    "log not moved": move_failed,
    "reloaded": reloaded,
    "drained": drained,
}
EVERYTHING = frozenset((*OUTAGES, *TROUBLES))
PROCESS_ENDS = [name for name in OUTAGES if name.startswith(("stopped", "crashed"))] + [
    "disk failed",
    "crashed in between",
    "crashed again and again",
    "log not moved",
    "reloaded",
    "drained",
]
LASTING = [name for name in (*OUTAGES, *TROUBLES) if name not in PROCESS_ENDS and name != "silence"]
"""Meanwhile the daemon may end. Not in a silence: what is found after both is put down to the end."""

"""The ledger of gaps, against what the simulated platform knows: outages of every kind, one after the other, seeded."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from fbsessiond.chance import SeededChance, choose
from fbsessiond.cometd.proving import AT_ONCE_SECONDS
from fbsessiond.environment import variables
from fbsessiond.gap import Gap, GapCause
from fbsessiond.journal.engines import open_journal, open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.message import Origin
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.session import TERMINAL_STATES, VANISHED
from fbsessiond.simulator.bayeux_client import Client
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock
from floor import AGENT, Watching, watching
from virtual_network import run_networked

OUTAGES = int(variables.get("OUTAGES", "200"))
SEED = int(variables.get("SEED", "1"))
BOUND = timedelta(seconds=1)
"""How far a gap's bounds may be from what the server knows."""

RECOVERY = timedelta(seconds=5)
"""How long after an outage it may take until a connect succeeds again; the advised interval is 0."""

HOLD = timedelta(seconds=8)
SWALLOWED = HOLD + timedelta(seconds=5)
"""How long a request that was swallowed may be waited for: the server's hold, and the slack."""

SNAPSHOTS = SnapshotSettings(every=timedelta(minutes=2), settling=timedelta(seconds=2))

BUSY: dict[str, Any] = {
    "customers": {"per_minute": 12, "chat": ["4s", "12s"]},
    "gws": {"hold": "8s", "max_interval": "10s"},
    "agents": {"wrap_up": 0.7},
}


@dataclass
class Floor:
    """A busy platform, a daemon that comes and goes, and what should be in its ledger."""

    simulator: Simulator
    url: str
    chance: SeededChance
    daemon: Watching
    stack: AsyncExitStack
    sent: list[tuple[datetime, bytes]] = field(default_factory=list[tuple[datetime, bytes]])
    """What the platform tells about sessions, and when, whether anybody listens or not."""

    def __post_init__(self) -> None:
        publish = self.simulator.bayeux.publish

        def note(agent: str, channel: str, data: Any) -> int:
            self.sent.append((self.now(), msgspec.json.encode(data)))
            return publish(agent, channel, data)

        self.simulator.bayeux.publish = note  # type: ignore[method-assign]

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

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 900) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110  virtual time: it looks from outside, at no cost
                await asyncio.sleep(0.05)

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
        known = {
            session: state
            for session, state in (await self.daemon.journal.open_sessions(AGENT)).items()
            if state != VANISHED
        }
        sessions = self.simulator.platform.sessions(AGENT)
        return known == {each["id"]: each["state"] for each in sessions if each["state"] not in TERMINAL_STATES}

    def check_notifications(self) -> None:
        """Each notification is in the journal once, word for word and in order, or was sent in a gap."""
        reader = self.reader()
        received = deque(entry for entry in reader.entries() if entry.origin is Origin.LIVE)
        gaps = list(reader.gaps())
        for at, data in self.sent:
            if received and received[0].notification == data:
                received.popleft()
            else:
                assert any(gap.begin - BOUND <= at <= (gap.end or at) + BOUND for gap in gaps), (at, data)
        assert not received, "nothing else is there"

    def switch(self, **faults: Any) -> None:
        """Switch faults on, or off."""
        table = {name.replace("_", "-").strip("-"): fault for name, fault in faults.items()}
        self.simulator.faults.switch(FaultTable.model_validate(table))

    async def restart(self, seconds: float, *, crash: bool) -> None:
        """End the daemon, and start it again on its journal after some time."""
        await (self.daemon.crash() if crash else self.daemon.stop())
        await self.stack.aclose()
        await asyncio.sleep(seconds)
        await self.start()

    async def start(self) -> None:
        """Start a daemon."""
        journal = open_journal(self.url, Path(), self.now())
        running = watching(self.simulator, journal, chance=self.chance, snapshots=SNAPSHOTS)
        self.daemon = await self.stack.enter_async_context(running)


def quietly(_done: int, _all: int) -> None:
    """Show no progress."""


Outage: TypeAlias = Callable[[Floor], Awaitable[GapCause]]
"""Makes something go wrong for a while; returns the cause that a gap should have, if one comes of it."""


def failing(cause: GapCause, seconds: tuple[float, float], **faults: Any) -> Outage:
    """Return an outage in which requests fail in some way."""

    async def outage(floor: Floor) -> GapCause:
        floor.switch(**{name: fault or {} for name, fault in faults.items()})
        await asyncio.sleep(floor.chance.between(*seconds))
        floor.switch(**dict.fromkeys(faults))
        return cause

    return outage


def restarted(seconds: tuple[float, float], *, crash: bool) -> Outage:
    """Return a stop of the daemon."""

    async def outage(floor: Floor) -> GapCause:
        await floor.restart(floor.chance.between(*seconds), crash=crash)
        return GapCause.STOPPED

    return outage


async def session_dropped(floor: Floor) -> GapCause:
    """Let the server forget the CometD session."""
    floor.simulator.bayeux.forget(floor.client().id)
    return GapCause.SESSION_LOST


async def server_restarted(floor: Floor) -> GapCause:
    """Let the server forget all."""
    floor.simulator.restart()
    return GapCause.SESSION_LOST


async def subscription_refused(floor: Floor) -> GapCause:
    """Let the server forget the session, and refuse to subscribe the next one for a while."""
    floor.switch(refuse_subscription={})
    floor.simulator.bayeux.forget(floor.client().id)
    await asyncio.sleep(floor.chance.between(5, 30))
    floor.switch(refuse_subscription=None)
    return GapCause.SESSION_LOST


async def list_missing(floor: Floor) -> GapCause:
    """Let the server forget the session, and answer for a while without the list."""
    floor.switch(no_list={})
    floor.simulator.bayeux.forget(floor.client().id)
    await asyncio.sleep(floor.chance.between(20, 60))
    gaps = (await floor.daemon.journal.watched(AGENT)).gaps
    assert len(gaps) == 1, "a missing key isn't an empty list: the gap stays open"
    floor.switch(no_list=None)
    return GapCause.SESSION_LOST


async def silence(floor: Floor) -> GapCause:
    """Let the server forget the subscription, and say nothing."""
    floor.switch(unsubscribe={"count": 1})
    await asyncio.sleep(SNAPSHOTS.every.total_seconds() * 2)
    return GapCause.SILENT


LONG = (25.0, 90.0)
SHORT = (1.0, 4.0)
OUTAGE_KINDS: dict[str, Outage] = {
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


async def suffer(floor: Floor, name: str) -> None:
    """Go through an outage, and see that it is told as it was, and repaired."""
    before, count = floor.client(), len(floor.gaps())
    compared_at = (await floor.daemon.journal.watched(AGENT)).compared_at
    cause = await OUTAGE_KINDS[name](floor)
    ended_at = floor.now()
    await floor.until(lambda: floor.has_connected_since(ended_at))
    recovered_at = floor.now()
    await asyncio.sleep(1)
    await floor.until(floor.is_covered)
    after = floor.client()
    told = floor.gaps()[count:]
    if not floor.simulator.bayeux.settings.acknowledge:
        assert all(gap.cause in (cause, GapCause.NETWORK) for gap in told), (name, told)
    elif after is before and cause is not GapCause.SILENT:
        assert told == [], name
    else:
        begin = compared_at if cause is GapCause.SILENT else before.connected_at
        assert begin is not None
        assert after.subscribed_at is not None
        assert [gap.cause for gap in told] == [cause], (name, told)
        assert told[0].end is not None
        slack = (
            HOLD
            if before.gone_at is not None and before.gone_at - begin < timedelta(seconds=AT_ONCE_SECONDS)
            else timedelta()
        )
        assert -BOUND < begin - told[0].begin < BOUND + slack, (name, told, begin)
        assert abs(told[0].end - after.subscribed_at) < BOUND, (name, told, after.subscribed_at)
    if name != "silence":
        limit = RECOVERY + (SWALLOWED if name.startswith("black hole") else timedelta())
        assert recovered_at - ended_at <= limit, (name, recovered_at - ended_at)
    await floor.until(floor.is_true)


@pytest.mark.parametrize("acknowledge", [True, False], ids=["acknowledging", "forgetful"])
def test_outages(tmp_path: Path, acknowledge: bool) -> None:
    """After each outage the ledger has the gap that there was, and no other, and every session is as the server's.

    A server without acknowledgements forgets what it sent: then a gap is told wherever something may be lost, and
    each notification that is missing lies in one.
    """

    async def scenario() -> None:
        chance = SeededChance(SEED)
        busy = Scenario.model_validate({**BUSY, "gws": {**BUSY["gws"], "acknowledge": acknowledge}})
        async with simulating(busy, clock=VirtualClock(), chance=chance) as simulator, AsyncExitStack() as stack:
            url = f"sqlite:{tmp_path / 'journal.db'}"
            floor = Floor(simulator, url, chance, None, stack)  # type: ignore[arg-type]
            customers = asyncio.create_task(simulator.script.run())
            await floor.start()
            await asyncio.sleep(30)
            await floor.until(floor.is_covered)
            names = list(OUTAGE_KINDS)
            for number in range(OUTAGES):
                name = names[number % len(names)] if number < 2 * len(names) else choose(chance, names)
                await suffer(floor, name)
                await asyncio.sleep(chance.between(5, 40))
                await floor.until(floor.is_covered)
            customers.cancel()
            await asyncio.wait([customers])
            await asyncio.sleep(10)
            floor.check_notifications()
            assert list(floor.reader().verify(quietly)) == []

    run_networked(scenario())

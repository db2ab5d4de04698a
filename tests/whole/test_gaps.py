"""The ledger of gaps, against what the simulated platform knows: outages of every kind, one after the other, seeded."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from fbsessiond.chance import choose
from fbsessiond.cometd.proving import AT_ONCE_SECONDS
from fbsessiond.environment import variables
from fbsessiond.gap import GapCause
from floor import AGENT
from simulation.oracles import BOUND, problems
from simulation.outages import OUTAGES
from simulation.world import HOLD, World, world
from virtual_network import networked

COUNT = int(variables.get("OUTAGES", "200"))
SEED = int(variables.get("SEED", "1"))

RECOVERY = timedelta(seconds=5)
"""How long after an outage it may take until a connect succeeds again; the advised interval is 0."""

SWALLOWED = HOLD + timedelta(seconds=5)
"""How long a request that was swallowed may be waited for: the server's hold, and the slack."""


@pytest.mark.parametrize("acknowledge", [True, False], ids=["acknowledging", "forgetful"])
@networked
async def test_outages(tmp_path: Path, acknowledge: bool) -> None:
    """After each outage the ledger has the gap that there was, and no other, and every session is as the server's.

    A server without acknowledgements forgets what it sent: then a gap is told wherever something may be lost, and
    each notification that is missing lies in one.
    """
    async with world(tmp_path, SEED, acknowledge=acknowledge) as here:
        await here.until(here.is_covered)
        names = list(OUTAGES)
        for number in range(COUNT if acknowledge else COUNT // 2):
            name = names[number % len(names)] if number < 2 * len(names) else choose(here.chance, names)
            await suffer(here, name)
            await asyncio.sleep(here.chance.between(5, 40))
            await here.until(here.is_covered)
        await here.calm_down()
        assert problems(here) == []


async def suffer(world: World, name: str) -> None:
    """Go through an outage, and see that it is told as it was, and repaired."""
    before, count = world.client(), len(world.gaps())
    compared_at = (await world.daemon.journal.watched(AGENT)).compared_at
    with world.wrong(name):
        cause = await OUTAGES[name](world)
    ended_at = world.now()
    await world.until(lambda: world.has_connected_since(ended_at))
    recovered_at = world.now()
    await asyncio.sleep(1)
    await world.until(world.is_covered)
    after = world.client()
    told = world.gaps()[count:]
    if not world.simulator.bayeux.settings.acknowledge:
        assert all(gap.cause in (cause, GapCause.NETWORK) for gap in told), (name, told)
    elif after is before and cause is not GapCause.SILENT:
        assert told == [], name
    else:
        begin = compared_at if cause is GapCause.SILENT else before.connected_at
        assert begin is not None
        assert after.subscribed_at is not None
        assert [gap.cause for gap in told] == [cause], (name, told)
        assert told[0].end is not None
        is_doubted = before.gone_at is not None and before.gone_at - begin < timedelta(seconds=AT_ONCE_SECONDS)
        slack = HOLD if is_doubted else timedelta()
        assert -BOUND < begin - told[0].begin < BOUND + slack, (name, told, begin)
        assert abs(told[0].end - after.subscribed_at) < BOUND, (name, told, after.subscribed_at)
    if name != "silence":
        limit = RECOVERY + (SWALLOWED if name.startswith("black hole") else timedelta())
        assert recovered_at - ended_at <= limit, (name, recovered_at - ended_at)
    await world.until(world.is_true)

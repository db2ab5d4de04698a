"""A restart under load: what the CometD session keeps arrives once, and the ledger says what it couldn't keep.

Against the CometD project's own server with its acknowledgement extension, which keeps a session for `maxInterval`.
"""

import asyncio
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from daemons import Daemon, configure
from session_load import gaps, loaded, pause, received

pytestmark = pytest.mark.node

A_SECOND = 200

SNAPSHOTS = """
[snapshots]
settling = "500ms"
[handlers.log]
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_short_restarts(tmp_path: Path, number: signal.Signals) -> None:
    """Down for less than the server keeps its session: nothing is lost, nothing comes twice, there is no gap."""
    async with loaded("cometd", A_SECOND, acknowledge=True) as (_, load):
        publishes = asyncio.create_task(load.run())
        config = configure(tmp_path, load.front.port, SNAPSHOTS)
        daemon = await Daemon.start(config)
        await daemon.until("gap.repaired")
        first = len(load.sent)
        for _ in range(4):
            await pause(1)
            daemon.process.send_signal(number)
            await daemon.ended()
            await pause(0.5)
            daemon = await Daemon.start(config)
            await daemon.until("cometd.resumed")
        await pause(1)
        publishes.cancel()
        await asyncio.wait([publishes])
        await pause(1)
        assert not daemon.logged("cometd.handshaken")
        assert await daemon.stop() == 0
        there = await received(config)
        assert [data for _, data in load.sent[first:] if there[data] != 1] == []
        assert len(load.sent) - first > A_SECOND
        assert await gaps(config) == []


async def test_a_long_restart(tmp_path: Path) -> None:
    """Down for longer: exactly one gap, in which everything lies that is missing, and the sessions are as they are."""
    async with loaded("cometd", A_SECOND, acknowledge=True, maxInterval=1000) as (_, load):
        publishes = asyncio.create_task(load.run())
        config = configure(tmp_path, load.front.port, SNAPSHOTS)
        daemon = await Daemon.start(config)
        await daemon.until("gap.repaired")
        first = len(load.sent)
        await pause(1)
        assert await daemon.stop() == 0
        await pause(3)
        daemon = await Daemon.start(config)
        await daemon.until("gap.repaired")
        await pause(1)
        publishes.cancel()
        await asyncio.wait([publishes])
        await pause(1)
        assert daemon.logged("cometd.handshaken")
        (gap,) = await gaps(config)
        assert (gap["cause"], gap["closed_by"]) == ("stopped", "snapshot")
        begin, end = (datetime.fromisoformat(gap[key]) for key in ("from", "to"))
        there = await received(config)
        assert max(there.values()) == 1
        missing = [at for at, data in load.sent[first:] if not there[data]]
        assert missing
        slack = timedelta(seconds=0.2)
        assert all(begin - slack <= at <= end + slack for at in missing)
        await load.check_states(config)
        assert await daemon.stop() == 0

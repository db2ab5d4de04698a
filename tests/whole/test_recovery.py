"""The daemon against other projects' servers, on real sockets: whatever goes wrong, it goes on soon after that ends.

`BLACK_HOLE=60 pytest tests/whole/test_recovery.py` lets the black hole last as long as that; here it is shorter.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from black_hole import BlackHole
from cometd_servers import NodeServer
from daemons import Daemon, configure, until
from fbsessiond.environment import variables
from fbsessiond.journal.engines import open_reader
from session_load import Load, at, gaps, loaded, pause, received

pytestmark = pytest.mark.node

BLACK_HOLE_SECONDS = float(variables.get("BLACK_HOLE", "8"))

RECOVERY_SECONDS = 5.0
"""How long it may take until notifications arrive again; both servers advise an interval of 0."""

SETTINGS = """
[snapshots]
settling = "500ms"
[handlers.log]
"""

SERVERS: dict[str, dict[str, Any]] = {
    "cometd": {"acknowledge": True, "timeout": 2000},
    "faye": {"timeoutSeconds": 2},
}


@dataclass
class Way:
    """A server, what stands before it, and the sessions that are published through it."""

    program: str
    server: NodeServer
    proxy: BlackHole
    load: Load
    daemon: Daemon

    async def restart(self, seconds: float) -> None:
        """Kill the server, and start another after a while."""
        await self.server.kill()
        await pause(seconds)
        self.server = await NodeServer.start(self.program, **SERVERS[self.program])
        self.load.front.upstream_port = self.server.port
        self.load.publisher.move(self.server.port)


Fault: TypeAlias = Callable[[Way], Awaitable[None]]


async def killed_and_restarted(way: Way) -> None:
    """Kill the server, and start another."""
    await way.restart(2)


async def dropped(way: Way) -> None:
    """Let the server forget its sessions."""
    await way.server.order("drop")


async def cut(way: Way) -> None:
    """Cut responses in the middle."""
    for attempt in range(5):
        way.proxy.cut_after_bytes = 40 + attempt * 97
        await until(lambda: way.proxy.cut_after_bytes is None)


async def reset(way: Way) -> None:
    """Reset connections."""
    for _ in range(5):
        way.proxy.reset()
        await pause(0.3)


async def black_hole(way: Way) -> None:
    """Let nothing through, and no connection come about."""
    with way.proxy.swallowing():
        await pause(BLACK_HOLE_SECONDS)


def answering(status: int) -> Fault:
    """Return a fault: everything is answered with an HTTP status."""

    async def fault(way: Way) -> None:
        way.load.front.status = status
        way.proxy.reset()
        await pause(4)
        way.load.front.status = None

    return fault


async def subscription_refused(way: Way) -> None:
    """Let the server forget its sessions, and refuse the first subscriptions afterwards."""
    await way.server.order("refuse", times=4)
    await way.server.order("drop")
    await way.daemon.until("cometd.subscription.refused", times=4)


FAULTS: dict[str, Fault] = {
    "killed": killed_and_restarted,
    "dropped": dropped,
    "cut": cut,
    "reset": reset,
    "black hole": black_hole,
    "401": answering(401),
    "403": answering(403),
    "500": answering(500),
    "503": answering(503),
    "subscription refused": subscription_refused,
}


@pytest.mark.parametrize("name", FAULTS)
async def test_recovery(tmp_path: Path, name: str) -> None:
    """Notifications arrive again within 5 s, nothing acknowledged is lost or comes twice, and the ledger is true."""
    async with asyncio.TaskGroup() as group:
        for program in SERVERS:
            (folder := tmp_path / program).mkdir()
            group.create_task(suffer(folder, program, FAULTS[name]))


async def suffer(folder: Path, program: str, fault: Fault) -> None:
    """Run a daemon against a server with which something goes wrong, and see what it has in the end."""
    async with loaded(program, 20, **SERVERS[program]) as (server, load), BlackHole(load.front.port) as proxy:
        config = configure(folder, proxy.port, SETTINGS)
        daemon = await Daemon.start(config)
        way = Way(program, server, proxy, load, daemon)
        try:
            await daemon.until("gap.repaired")
            first = len(load.sent)
            publishes = asyncio.create_task(load.run())
            await pause(1)
            await fault(way)
            await arriving(daemon, load)
            publishes.cancel()
            await asyncio.wait([publishes])
            await until(lambda: is_covered(folder))
            await pause(1)
            assert await daemon.stop() == 0
        finally:
            await daemon.kill()
            await way.server.kill()
        there = await received(config)
        assert max(there.values()) == 1
        assert [text for text in load.front.promised if not there[text]] == []
        handled = [line["seq"] for line in daemon.logged("session.transition")]
        assert len(handled) == len(set(handled))
        told = await gaps(config)
        missing = [sent_at.isoformat() for sent_at, data in load.sent[first:] if not there[data]]
        assert all(any(gap["from"] <= sent_at <= gap["to"] for gap in told) for sent_at in missing), (missing, told)
        await load.check_states(config)


def is_covered(folder: Path) -> bool:
    """Say whether the chain holds, and every gap is repaired."""
    reader = open_reader("sqlite:journal.db", folder / "state")
    (watched,) = reader.watched()
    reader.close()
    return watched.broken is None and not watched.gaps


async def arriving(daemon: Daemon, load: Load) -> None:
    """Wait until what is published from now on arrives."""
    from_now_on = {at(number) for number in range(len(load.sent), len(load.sent) + 500)}
    heard = len(daemon.logged("session.transition", origin="live"))

    def arrived() -> bool:
        lines = daemon.logged("session.transition", origin="live")[heard:]
        return any((line["session"], line["after"]) in from_now_on for line in lines)

    await until(arrived, RECOVERY_SECONDS)

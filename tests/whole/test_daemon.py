"""The daemon as a process, against the CometD project's own server."""

import asyncio
import base64
import json
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cometd_servers import LOOPBACK, NodeServer
from daemons import CHANNEL, PASSWORD, Daemon, Publisher, command, configure, document, publishing, records, running, until

pytestmark = pytest.mark.node

WRITTEN = "my number is 555-1234"
"""What a customer wrote."""

STOP_SECONDS = 3.0
"""How long an idle daemon may take to stop, on a slow machine, interpreter included."""

AUTHORIZATION = "Basic " + base64.b64encode(f"agent1:{PASSWORD}".encode()).decode()

SLOW = """
import asyncio
from fbsessiond import Delivery, Done, Handler, Outcome

class Slow(Handler):
    seconds: float
    async def handle(self, delivery: Delivery) -> Outcome:
        await asyncio.sleep(self.seconds)
        return Done()
"""

FAILING = """
from fbsessiond import Delivery, DiskError, Handler, Outcome

class Failing(Handler):
    async def handle(self, delivery: Delivery) -> Outcome:
        raise DiskError("the handler's disk is broken")
"""


@asynccontextmanager
async def serving(**options: Any) -> AsyncGenerator[NodeServer, None]:
    """Run the server for as long as a test takes."""
    server = await NodeServer.start("cometd", **({"acknowledge": True, "authorization": AUTHORIZATION} | options))
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def connected(folder: Path, handlers: str | None = None) -> AsyncGenerator[tuple[Daemon, Publisher, Path], None]:
    """Run a server, a daemon that is connected to it, and somebody who publishes there."""
    async with serving() as server:
        config = configure(folder, server.port, **({} if handlers is None else {"handlers": handlers}))
        async with running(config) as daemon, publishing(server.port) as publisher:
            await daemon.until("cometd.subscribed")
            yield daemon, publisher, config


def life(session: str, *states: str) -> list[object]:
    """Return the notifications of a session's life."""
    states = states or ("Invited", "Chatting", "LeftChat", "Completed")
    return [document(session, state, userData={"FirstName": "Zoë"}, comment=WRITTEN) for state in states]


def audit(folder: Path) -> list[dict[str, Any]]:
    """Return the audit file's lines."""
    return [json.loads(line) for line in (folder / "state" / "audit.jsonl").read_bytes().splitlines()]


async def test_life(tmp_path: Path) -> None:
    """A session's life is journaled and reaches each handler, in order; SIGTERM ends the daemon at once, with 0."""
    notifications = life("S1")
    misfit = {"facebooksession": {"state": WRITTEN}}
    other = {"messageType": "CallStateChanged", "text": WRITTEN}
    async with connected(tmp_path) as (daemon, publisher, config):
        await publisher.publish(*notifications, misfit)
        await publisher.publish(other, channel="/v2/me/calls")
        await daemon.until("session.transition", count=4)
        await daemon.until("message.quarantined")
        await until(lambda: len(audit(tmp_path)) == 4)
        entries = await records("export", "--config", config, "--reveal")
        begun = asyncio.get_running_loop().time()
        assert await daemon.stop() == 0
        assert asyncio.get_running_loop().time() - begun < STOP_SECONDS
    assert [(entry["kind"], entry["before"], entry["after"]) for entry in entries][:4] == [
        ("transition", None, "Invited"),
        ("transition", "Invited", "Chatting"),
        ("transition", "Chatting", "LeftChat"),
        ("transition", "LeftChat", "Completed"),
    ]
    assert [entry["notification"] for entry in entries] == [*notifications, other]
    assert {(entry["origin"], entry["agent"]) for entry in entries} == {("live", "agent1")}
    assert [entry["channel"] for entry in entries] == [CHANNEL] * 4 + ["/v2/me/calls"]
    assert [(line["seq"], line["after"], line["notification"]) for line in audit(tmp_path)] == [
        (entry["seq"], entry["after"], entry["notification"]) for entry in entries[:4]
    ]
    assert [line["after"] for line in daemon.logged("session.transition")] == ["Invited", "Chatting", "LeftChat", "Completed"]
    (quarantined,) = await records("quarantine", "list", "--config", config, "--reveal")
    assert quarantined["channel"] == CHANNEL
    assert (await command("journal", "verify", "--config", config))[0] == 0
    assert (await command("audit", "verify", "--config", config))[0] == 0
    assert_log(daemon)


def assert_log(daemon: Daemon) -> None:
    """Check that the log is lines of JSON from start to stop, that nothing went wrong, and that it tells no secrets."""
    assert daemon.words == []
    assert daemon.lines[0]["event"] == "daemon.started"
    assert daemon.lines[0]["handlers"] == ["log", "audit"]
    assert daemon.lines[-1]["event"] == "daemon.stopped"
    assert [line for line in daemon.lines if line["level"] == "error"] == []
    assert all({"at", "level", "event"} <= line.keys() for line in daemon.lines)
    for secret in (WRITTEN, "Zoë", "Zo\\u", PASSWORD, AUTHORIZATION):
        assert secret not in repr(daemon.lines)
    assert daemon.logged("http.not_served") == []


async def test_interrupt(tmp_path: Path) -> None:
    """SIGINT ends it as SIGTERM does; it says when it was asked for HTTP, which this version doesn't serve."""
    async with serving() as server:
        config = configure(tmp_path, server.port, '[http]\nlisten = "127.0.0.1:0"\n[handlers.log]\n')
        async with running(config) as daemon:
            assert (await daemon.until("http.not_served"))["listen"] == "127.0.0.1:0"
            await daemon.until("cometd.subscribed")
            assert await daemon.stop(signal.SIGINT) == 0
            await until_gone(server)
    assert daemon.lines[-1]["event"] == "daemon.stopped"


async def until_gone(server: NodeServer) -> None:
    """Check that the daemon took its leave of the server."""
    assert (await server.order("state"))["sessions"] == 0


async def test_draining(tmp_path: Path) -> None:
    """What runs when it is stopped is finished and settled; what waits is carried out by the next one."""
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "slow.py").write_text(SLOW)
    async with connected(tmp_path, "[handlers.log]\n[handlers.slow]\nseconds = 0.7\n") as (daemon, publisher, config):
        await publisher.publish(*life("S1", "Invited", "Chatting"), *life("S2", "Invited"))
        await daemon.until("session.transition", count=3)
        assert await daemon.stop() == 0
        assert await delivered(config) == {"1/slow", "3/slow"}
        async with running(config):
            await until_delivered(config, {"1/slow", "2/slow", "3/slow"})


async def delivered(config: Path) -> set[str]:
    """Return the deliveries to the slow handler that are settled."""
    (stats,) = await records("journal", "stats", "--config", config)
    from fbsessiond.journal.engines import open_reader  # placeholder

    reader = open_reader("sqlite:journal.db", config.parent / "state")
    try:
        assert stats["entries"] == 3
        return {f"{one.seq}/{one.handler}" for one in reader.deliveries() if one.state == "delivered" and one.handler == "slow"}
    finally:
        reader.close()

"""The daemon as a process, against the CometD project's own server."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cometd_servers import LOOPBACK, NodeServer
from daemons import (
    AUTHORIZATION,
    CHANNEL,
    PASSWORD,
    Daemon,
    Front,
    Publisher,
    configure,
    document,
    publishing,
    records,
    running,
    until,
)
from fbsessiond.journal.engines import open_reader

pytestmark = pytest.mark.node

WRITTEN = "my number is 555-1234"
"""What a customer wrote."""

STOP_SECONDS = 3.0
"""How long an idle daemon may take to stop, on a slow machine, interpreter included."""

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
    async with serving() as server, Front(server.port).serving() as front:
        config = configure(folder, front.port, **({} if handlers is None else {"handlers": handlers}))
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
    assert [line["after"] for line in daemon.logged("session.transition")] == [
        "Invited",
        "Chatting",
        "LeftChat",
        "Completed",
    ]
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
    assert daemon.lines[0]["http"] is None


@pytest.mark.parametrize(("gws", "sessions"), [({}, 1), ({"resume": False}, 0)])
async def test_interrupt(tmp_path: Path, gws: dict[str, Any], sessions: int) -> None:
    """SIGINT ends it as SIGTERM does; its CometD session is kept for the next one, unless it isn't to be resumed."""
    async with serving() as server, Front(server.port).serving() as front:
        config = configure(tmp_path, front.port, **gws)
        async with running(config) as daemon:
            await daemon.until("cometd.subscribed")
            await until(lambda: front.connects >= 2)
            assert (await server.order("state"))["sessions"] == 1
            assert await daemon.stop(signal.SIGINT) == 0
        assert (await server.order("state"))["sessions"] == sessions
    assert daemon.lines[-1]["event"] == "daemon.stopped"


async def test_http(tmp_path: Path) -> None:
    """Whether it lives, whether it is ready, and what it counts can be asked of it on this machine."""
    async with serving() as server, Front(server.port).serving() as front:
        front.sessions = {}
        config = configure(tmp_path, front.port, '[http]\nlisten = "127.0.0.1:0"\n[handlers.log]\n')
        async with running(config) as daemon, aiohttp.ClientSession() as client:
            url = (await daemon.until("daemon.started"))["http"]
            await daemon.until("gap.repaired")
            for path, words in (("livez", "alive"), ("readyz", "ready"), ("metrics", "# HELP fbsessiond_")):
                async with client.get(f"{url}/{path}") as response:
                    assert (response.status, (await response.text()).startswith(words)) == (200, True)
            assert await daemon.stop() == 0


async def test_draining(tmp_path: Path) -> None:
    """What runs when it is stopped is finished and settled; what waits is carried out by the next one."""
    own_handler(tmp_path, "slow", SLOW)
    handlers = "[handlers.log]\n[handlers.slow]\nseconds = 0.7\n"
    async with connected(tmp_path, handlers) as (daemon, publisher, config):
        await publisher.publish(*life("S1", "Invited", "Chatting"), *life("S2", "Invited"))
        await daemon.until("session.transition", count=3)
        assert await daemon.stop() == 0
        assert states(config, "slow") == {1: "delivered", 2: "due", 3: "delivered"}
        async with running(config):
            await until(lambda: states(config, "slow")[2] == "delivered")


def own_handler(folder: Path, name: str, text: str) -> None:
    """Put a handler of one's own beside the configuration."""
    (folder / "handlers.d").mkdir(exist_ok=True)
    (folder / "handlers.d" / f"{name}.py").write_text(text)


def states(config: Path, handler: str) -> dict[int, str]:
    """Return the state of each of a handler's deliveries."""
    reader = open_reader("sqlite:journal.db", config.parent / "state")
    try:
        return {one.seq: one.state.value for one in reader.deliveries() if one.handler == handler}
    finally:
        reader.close()


async def test_broken_disk(tmp_path: Path) -> None:
    """When a handler's disk is broken it stops with 74 and says why; what wasn't done is still due."""
    own_handler(tmp_path, "failing", FAILING)
    async with connected(tmp_path, "[handlers.failing]\n") as (daemon, publisher, config):
        await publisher.publish(*life("S1", "Invited"))
        assert await daemon.ended() == 74
        assert daemon.words == ["fbsessiond: the handler's disk is broken\n"]
        assert daemon.logged("daemon.stopped") == []
        assert states(config, "failing") == {1: "due"}


async def test_wrong_credentials(tmp_path: Path) -> None:
    """Where the platform refuses the credentials it ends with 77."""
    async with serving(authorization="Basic somebody-else") as server, Front(server.port).serving() as front:
        config = configure(tmp_path, front.port)
        async with running(config) as daemon:
            assert await daemon.ended() == 77
        assert daemon.words == ["fbsessiond: GWS refused the credentials: correct them\n"]


async def test_wrong_configuration(tmp_path: Path) -> None:
    """With a wrong configuration it ends with 78, names the place, and leaves the backlog untouched."""
    own_handler(tmp_path, "slow", SLOW)
    async with connected(tmp_path, "[handlers.slow]\nseconds = 60\n") as (daemon, publisher, config):
        await publisher.publish(*life("S1", "Invited"))
        await until(lambda: states(config, "slow") == {1: "running"})
        await daemon.kill()
        journal = tmp_path / "state" / "journal.db"
        before = {file: file.read_bytes() for file in journal.parent.iterdir()}
        config.write_text(config.read_text().replace("seconds", "second"))
        async with running(config) as wrong:
            assert await wrong.ended() == 78
        assert "second" in wrong.words[0]
        assert str(config) in wrong.words[0]
        assert {file: file.read_bytes() for file in journal.parent.iterdir()} == before


async def test_second_daemon(tmp_path: Path) -> None:
    """A second daemon on the same journal ends with 74, and names the first one, which goes on."""
    async with connected(tmp_path) as (daemon, publisher, config):
        async with running(config) as second:
            assert await second.ended() == 74
        assert f"process {daemon.process.pid}" in second.words[0]
        await publisher.publish(*life("S1"))
        await daemon.until("session.transition", count=4)


async def test_unreachable(tmp_path: Path) -> None:
    """Where the platform isn't there yet it keeps trying, and is connected when it comes up."""
    async with serving() as server:
        front = Front(server.port)
        front.port = free_port()
        config = configure(tmp_path, front.port)
        async with running(config) as daemon:
            await daemon.until("cometd.lost", count=3)
            async with front.serving(), publishing(server.port) as publisher:
                await daemon.until("cometd.subscribed")
                await publisher.publish(*life("S1"))
                await daemon.until("session.transition", count=4)
                assert await daemon.stop() == 0


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        port: int = one.getsockname()[1]
        return port

"""fbsessiond.cometd.client: aiocometd's client, taken step by step."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aiocometd.exceptions import ClientError, ServerError

from cometd_servers import ScriptedServer, run_with_sockets, scripted
from fbsessiond.cometd.client import SteppedClient
from fbsessiond.cometd.exchange import ExchangeError
from fbsessiond.cometd.handover import Handover
from fbsessiond.cometd.rules import DEFAULT_HOLD_MS, Cause
from fbsessiond.cometd.transport import Wire
from fbsessiond.gws.access import Access, Basic
from fbsessiond.testing import VirtualClock


@asynccontextmanager
async def client_of(
    server: ScriptedServer, *transports: str, sign_in: str | None = None
) -> AsyncGenerator[tuple[SteppedClient, Wire]]:
    """Make a client of a scripted server."""
    async with scripted(server), Access(Basic("agent1", "secret")) as access:
        wire = Wire(access, Handover("agent1", VirtualClock()))
        sign_in_url = f"{server.url}{sign_in}" if sign_in else None
        client = SteppedClient(server.url, transports or ("long-polling",), wire, sign_in_url=sign_in_url)
        try:
            yield client, wire
        finally:
            await client.close(farewell=False)


def test_nothing_is_sent_but_what_is_asked_for() -> None:
    """A handshake, a subscription and a connect are one message each, and close adds a farewell."""

    async def scenario() -> None:
        server = ScriptedServer()
        async with client_of(server) as (client, _):
            await client.open()
            await client.subscribe("/a")
            assert (await client.connect(0))["successful"]
            was_closed = client.closed
            await client.close()
            assert (was_closed, client.closed) == (False, True)
            assert [message["channel"] for message in server.received] == [
                "/meta/handshake",
                "/meta/subscribe",
                "/meta/connect",
                "/meta/disconnect",
            ]
            assert server.received[2]["advice"] == {"timeout": 0}

    run_with_sockets(scenario())


def test_each_connect_acknowledges_the_last_batch() -> None:
    """Nothing at first, then the last number, until a new session begins."""

    async def scenario() -> None:
        server = ScriptedServer(acknowledge=True)
        async with client_of(server) as (client, _):
            await client.open()
            assert client.acknowledged
            for _ in range(3):
                await client.connect(0)
            server.script("/meta/connect", [{"channel": "/meta/connect", "successful": False, "ext": {"ack": 99}}])
            await client.connect(0)
            await client.connect(0)
            await client.open()
            await client.connect(0)
            numbers = [message["ext"]["ack"] for message in server.seen("/meta/connect")]
            assert numbers == [-1, 1, 2, 3, 3, -1]

    run_with_sockets(scenario())


def test_a_server_without_the_extension() -> None:
    """It gets no numbers, and one that sends none gets the same again."""

    async def scenario() -> None:
        server = ScriptedServer()
        async with client_of(server) as (client, _):
            await client.open()
            assert not client.acknowledged
            await client.connect(0)
            assert "ext" not in server.seen("/meta/connect")[0]
            server.acknowledge = True
            await client.open()
            server.acknowledge = False
            await client.connect(0)
            await client.connect(0)
            assert server.seen("/meta/connect")[-1]["ext"] == {"ack": -1}

    run_with_sockets(scenario())


def test_a_handshake_forgets_the_old_advice() -> None:
    """What the last session was told doesn't count for the next."""

    async def scenario() -> None:
        server = ScriptedServer(hold_ms=20_000)
        async with client_of(server) as (client, _):
            await client.open()
            assert client.advice.hold_ms == 20_000
            server.script("/meta/handshake", [{"channel": "/meta/handshake", "successful": False}])
            with pytest.raises(ServerError):
                await client.open()
            assert client.advice.hold_ms == DEFAULT_HOLD_MS

    run_with_sockets(scenario())


def test_the_first_transport_that_both_know_is_taken() -> None:
    """Without any there is no session."""

    async def scenario() -> None:
        server = ScriptedServer(transports=("long-polling", "callback-polling"))
        async with client_of(server, "websocket", "long-polling") as (client, _):
            await client.open()
            assert client.connection_type is not None
            assert client.connection_type.value == "long-polling"
        async with client_of(ScriptedServer(transports=("callback-polling",))) as (client, _):
            with pytest.raises(ClientError):
                await client.open()

    run_with_sockets(scenario())


def test_signing_in_first() -> None:
    """A GET fetches cookies and CSRF token before the handshake, which isn't tried where that fails."""

    async def scenario() -> None:
        server = ScriptedServer()
        server.script("GET", b"{}", 401)
        async with client_of(server, sign_in="/me") as (client, _):
            await client.open()
            assert [message["channel"] for message in server.received] == ["GET", "/meta/handshake"]
            with pytest.raises(ExchangeError) as caught:
                await client.open()
            assert caught.value.cause is Cause.REFUSED
            assert server.handshakes == 1

    run_with_sockets(scenario())


def test_closing_is_silent_whatever_the_server_does(caplog: pytest.LogCaptureFixture) -> None:
    """A farewell that isn't answered is given up after a moment, without a word in the log."""
    caplog.set_level(logging.WARNING)

    async def scenario() -> None:
        server = ScriptedServer()
        server.script("/meta/disconnect", None)
        async with client_of(server) as (client, _):
            await client.close()
            await client.open()
            await client.connect(0)
            await client.close()
            await client.close()
            assert len(server.seen("/meta/disconnect")) == 1

    run_with_sockets(scenario())
    assert not caplog.records

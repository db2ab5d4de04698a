"""fbsessiond.cometd.client: aiocometd's client, taken step by step."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aiocometd.exceptions import ClientError, ServerError

from cometd_servers import Json, ScriptedServer, scripted
from fbsessiond.cometd.client import SteppedClient
from fbsessiond.cometd.exchange import ExchangeError
from fbsessiond.cometd.handover import Handover
from fbsessiond.cometd.proving import Position
from fbsessiond.cometd.rules import DEFAULT_HOLD_MS, Advice, Cause
from fbsessiond.cometd.transport import Wire
from fbsessiond.gws.access import Access, Basic
from fbsessiond.testing import EPOCH, VirtualClock
from virtual_network import networked, run_networked


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


@networked
async def test_nothing_is_sent_but_what_is_asked_for() -> None:
    """A handshake, a subscription and a connect are one message each, and close adds a farewell."""
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


@networked
async def test_each_connect_acknowledges_the_last_batch() -> None:
    """Nothing at first, then the last number, until a new session begins."""
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


@networked
async def test_another_clients_number_is_not_acknowledged() -> None:
    """A reply that went astray says nothing about this session's batches, one without a clientId does."""

    def stray(message: Json) -> list[Json]:
        reply = {"channel": "/meta/connect", "id": message["id"], "successful": True, "ext": {"ack": 99}}
        return [reply | {"clientId": "another"}]

    server = ScriptedServer(acknowledge=True)
    async with client_of(server) as (client, _):
        await client.open()
        await client.connect(0)
        server.script("/meta/connect", stray)
        with pytest.raises(ExchangeError):
            await client.connect(0)
        await client.connect(0)
        assert [message["ext"]["ack"] for message in server.seen("/meta/connect")] == [-1, 1, 1]


def position_of(client: SteppedClient) -> Position:
    """Return where another client can go on."""
    name, number, hold_ms = client.transport_name, client.batch_number, client.advice.hold_ms
    return Position(
        client.url,
        "agent1",
        client.client_id,
        name,
        client.acknowledged,
        number,
        (),
        "",
        EPOCH,
        EPOCH,
        EPOCH,
        b"",
        hold_ms,
    )


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
@pytest.mark.parametrize("acknowledge", [True, False])
@networked
async def test_another_client_goes_on(transport: str, acknowledge: bool) -> None:
    """It connects in the same session, by the same way, acknowledges the last batch, and can say goodbye."""
    server = ScriptedServer(acknowledge=acknowledge, hold_ms=15_000)
    async with client_of(server, transport) as (client, wire):
        await client.open()
        for _ in range(3):
            await client.connect(0)
        position = position_of(client)
        await client.close(farewell=False)
        wire.advice = Advice()
        another = SteppedClient(server.url, ("long-polling", "websocket"), wire)
        another.resume(position)
        assert not another.closed
        assert position_of(another) == position
        await another.subscribe("/a")
        await another.connect(0)
        await another.close()
        *_, subscribe, connect, disconnect = server.received
        assert (subscribe["subscription"], connect["connectionType"]) == ("/a", transport)
        assert disconnect["channel"] == "/meta/disconnect"
        assert {each["clientId"] for each in (subscribe, connect, disconnect)} == {"client-1"}
        assert connect.get("ext") == ({"ack": 3} if acknowledge else None)
        assert server.handshakes == 1


@networked
async def test_a_client_without_a_session_has_no_name() -> None:
    """Before the handshake, and after the end."""
    async with client_of(ScriptedServer()) as (client, _):
        assert (client.client_id, client.transport_name, client.batch_number) == ("", "", -1)
        await client.open()
        assert (client.client_id, client.transport_name) == ("client-1", "long-polling")
        await client.close()
        assert (client.client_id, client.transport_name) == ("", "")


@networked
async def test_a_server_without_the_extension() -> None:
    """It gets no numbers, and one that sends none gets the same again."""
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


@networked
async def test_a_handshake_forgets_the_old_advice() -> None:
    """What the last session was told doesn't count for the next."""
    server = ScriptedServer(hold_ms=20_000)
    async with client_of(server) as (client, _):
        await client.open()
        assert client.advice.hold_ms == 20_000
        server.script("/meta/handshake", [{"channel": "/meta/handshake", "successful": False}])
        with pytest.raises(ServerError):
            await client.open()
        assert client.advice.hold_ms == DEFAULT_HOLD_MS


@networked
async def test_the_first_transport_that_both_know_is_taken() -> None:
    """Without any there is no session."""
    server = ScriptedServer(transports=("long-polling", "callback-polling"))
    async with client_of(server, "websocket", "long-polling") as (client, _):
        await client.open()
        assert client.connection_type is not None
        assert client.connection_type.value == "long-polling"
    async with client_of(ScriptedServer(transports=("callback-polling",))) as (client, _):
        with pytest.raises(ClientError):
            await client.open()


@networked
async def test_signing_in_first() -> None:
    """A GET fetches cookies and CSRF token before the handshake, which isn't tried where that fails."""
    server = ScriptedServer()
    server.script("GET", b"{}", 401)
    async with client_of(server, sign_in="/me") as (client, _):
        await client.open()
        assert [message["channel"] for message in server.received] == ["GET", "/meta/handshake"]
        with pytest.raises(ExchangeError) as caught:
            await client.open()
        assert caught.value.cause is Cause.REFUSED
        assert server.handshakes == 1


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

    run_networked(scenario())
    assert not caplog.records


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
@networked
async def test_a_farewell_that_is_cancelled(transport: str) -> None:
    """The way is closed all the same, and nothing is said twice."""
    server = ScriptedServer()
    server.script("/meta/disconnect", None)
    async with client_of(server, transport) as (client, _):
        await client.open()
        await client.connect(0)
        before = asyncio.all_tasks()
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(1)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert client.closed
        await client.close()
        await asyncio.sleep(60)
        assert asyncio.all_tasks() <= before
        assert len(server.seen("/meta/disconnect")) == 1

"""fbsessiond.cometd.websocket: all exchanges over one socket."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from cometd_servers import Receiver, ScriptedServer, receiving_from
from fbsessiond import limits
from fbsessiond.cometd.events import Connected, Handshaken, Lost, SinkSlow
from fbsessiond.cometd.rules import Cause
from virtual_network import networked


@asynccontextmanager
async def connected(server: ScriptedServer | None = None) -> AsyncGenerator[tuple[ScriptedServer, Receiver]]:
    """Receive over a websocket, and wait until that works."""
    async with receiving_from(server, transports=("websocket", "long-polling")) as (serving, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        yield serving, receiver


@networked
async def test_notifications_and_acknowledgements_over_a_websocket() -> None:
    """They come with the replies to connects, as they do by long-polling."""
    async with connected(ScriptedServer(acknowledge=True)) as (server, receiver):
        for number in range(20):
            server.publish(number)
            await receiver.until_received(number + 1)
        assert receiver.numbers == list(range(20))
        assert receiver.heard(Handshaken)[0].transport == "websocket"
        assert server.seen("/meta/connect")[-1]["connectionType"] == "websocket"
        assert [each["ext"]["ack"] for each in server.seen("/meta/connect")[-3:]] == sorted(
            each["ext"]["ack"] for each in server.seen("/meta/connect")[-3:]
        )


@networked
async def test_notifications_that_come_unasked() -> None:
    """The reader never waits for a reply to its own request."""
    async with connected() as (server, receiver):
        for number in range(20):
            await server.push({"channel": "/v2/me/calls", "data": {"number": number}})
        await receiver.until(lambda: len(receiver.numbers) == 20)
        assert receiver.numbers == list(range(20))


@networked
async def test_a_stalled_consumer_holds_the_server_back_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, because the reader reads no further, and nothing is lost."""
    async with connected() as (server, receiver):
        monkeypatch.setattr(limits, "RESPONSE_BYTES", 1_000_000)
        receiver.stall()
        pushed: list[int] = []

        async def push_all() -> None:
            for number in range(100):
                await server.push({"channel": "/v2/me/calls", "data": {"number": number, "text": "x" * 500_000}})
                pushed.append(number)

        pushing = asyncio.create_task(push_all())
        await receiver.until_heard(SinkSlow)
        assert receiver.numbers == [0]
        assert len(pushed) < 50
        receiver.go_on()
        await receiver.until_received(100)
        await pushing
        assert receiver.numbers == list(range(100))


@networked
async def test_a_closed_socket_is_a_loss_and_the_session_goes_on() -> None:
    """Another socket is opened for the same clientId, and nothing is said to be whole that may not be."""
    async with connected() as (server, receiver):
        await server.hang_up()
        await receiver.until(lambda: len(receiver.heard(Connected)) > 1)
        assert [(lost.cause, lost.session) for lost in receiver.heard(Lost)] == [(Cause.CUT, True)]
        assert server.handshakes == 1


@networked
async def test_a_socket_closed_between_two_exchanges_is_a_loss_too() -> None:
    """Messages may have been on the way, though nobody waited for a reply."""
    async with connected() as (server, receiver):
        receiver.stall()
        server.publish(1)
        await receiver.until(lambda: receiver.numbers == [1])
        await server.hang_up()
        await receiver.until(lambda: receiver.heard(SinkSlow))
        assert not receiver.heard(Lost)
        receiver.go_on()
        await receiver.until(lambda: receiver.heard(Lost))
        await receiver.until(lambda: receiver.source.status.connected)
        assert server.handshakes == 1


@networked
async def test_a_reply_that_never_comes() -> None:
    """The wait ends at the limit, with another socket."""
    async with connected(ScriptedServer(hold_ms=20_000)) as (server, receiver):
        server.script("/meta/connect", None)
        server.publish(1)
        await receiver.until(lambda: receiver.heard(Lost), seconds=60)
        assert receiver.heard(Lost)[0].cause is Cause.TIMED_OUT
        await receiver.until(lambda: receiver.source.status.connected)


@networked
async def test_a_reply_whose_id_is_a_list() -> None:
    """An id that can be no request's is the id of nothing that was asked: the wait goes on to its limit."""
    async with connected(ScriptedServer(hold_ms=20_000)) as (server, receiver):
        server.script("/meta/connect", [{"channel": "/meta/connect", "successful": True, "id": []}])
        server.publish(1)
        await receiver.until(lambda: receiver.heard(Lost), seconds=60)
        assert receiver.heard(Lost)[0].cause is Cause.TIMED_OUT
        await receiver.until(lambda: receiver.source.status.connected)


@networked
async def test_a_half_open_connection_is_found_out_long_before_the_hold_ends() -> None:
    """A server that doesn't answer pings is gone, though nothing closed the socket."""
    async with connected(ScriptedServer(hold_ms=600_000, half_open=True)) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Lost), seconds=60)
        assert receiver.heard(Lost)[0].cause is Cause.CUT
        assert asyncio.get_running_loop().time() < 25


@networked
async def test_a_frame_that_is_too_long() -> None:
    """It is refused unread, and a new session begins."""
    async with connected() as (server, receiver):
        await server.push({"channel": "/v2/me/calls", "data": "x" * limits.RESPONSE_BYTES})
        await receiver.until(lambda: receiver.heard(Lost))
        assert (receiver.heard(Lost)[0].cause, receiver.heard(Lost)[0].session) == (Cause.TOO_LONG, False)
        await receiver.until(lambda: len(receiver.heard(Handshaken)) == 2)


@networked
async def test_a_server_that_no_longer_speaks_websocket() -> None:
    """A status instead of a socket is a failure like others."""
    server = ScriptedServer()
    async with receiving_from(server, transports=("websocket",)) as (_, receiver):
        server.refused_upgrades = 2
        await receiver.until(lambda: receiver.heard(Connected))
        assert [lost.cause for lost in receiver.heard(Lost)] == [Cause.STATUS, Cause.STATUS]


@networked
async def test_closing_leaves_no_task_behind() -> None:
    """The reader's task ends with the source."""
    async with connected():
        pass
    left = {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}  # type: ignore[union-attr]
    assert not left


@networked
async def test_a_socket_that_can_not_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure to send is a failure of the exchange, and of that alone."""
    async with connected() as (server, receiver):

        async def fail(*_: object, **__: object) -> None:
            monkeypatch.undo()
            raise ConnectionResetError

        monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "send_json", fail)
        server.publish(1)
        await receiver.until(lambda: receiver.heard(Lost))
        assert receiver.heard(Lost)[0].cause is Cause.CUT
        await receiver.until(lambda: receiver.source.status.connected)

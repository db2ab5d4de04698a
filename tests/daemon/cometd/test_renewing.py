"""A source that is told to begin a new session, whatever it is doing."""

import asyncio

import pytest

from cometd_servers import Json, ScriptedServer, receiving_from
from fbsessiond.cometd.events import Closed, Connected, Handshaken, Lost, Refused
from fbsessiond.errors import RefusedError
from fbsessiond.gap import Break, GapCause
from virtual_network import networked


@networked
async def test_a_session_that_is_renewed_several_times_at_once() -> None:
    """That is once, even while the old session's farewell isn't answered; later it is another time."""
    async with receiving_from() as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        await asyncio.sleep(1)
        server.script("/meta/disconnect", None)
        for _ in range(3):
            receiver.source.renew()
            receiver.source.renew()
            await asyncio.sleep(0.5)
        await receiver.until_heard(Connected, 2)
        assert (server.handshakes, len(server.seen("/meta/disconnect"))) == (2, 1)
        await asyncio.sleep(1)
        receiver.source.renew()
        await receiver.until_heard(Connected, 3)
        assert (server.handshakes, len(server.seen("/meta/disconnect"))) == (3, 2)
        assert receiver.error is None


@networked
async def test_a_session_is_renewed_while_a_batch_is_not_committed() -> None:
    """What was read is still taken, once."""
    async with receiving_from(ScriptedServer(acknowledge=True)) as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        await asyncio.sleep(1)
        receiver.stall()
        server.publish(1)
        await receiver.until_received(1)
        receiver.source.renew()
        await asyncio.sleep(5)
        assert server.handshakes == 1
        receiver.go_on()
        await receiver.until_heard(Handshaken, 2)
        assert receiver.numbers == [1]


@networked
async def test_a_session_is_renewed_during_an_outage() -> None:
    """Whether the farewell arrives doesn't matter; the handshake is tried like any other."""
    async with receiving_from() as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        await asyncio.sleep(1)
        server.script("/meta/connect", 503, 503)
        server.script("/meta/handshake", 503, 503)
        server.script("/meta/disconnect", 503)
        server.publish(1)
        await receiver.until_heard(Lost, 2)
        receiver.source.renew()
        await receiver.until_heard(Handshaken, 2)
        await receiver.until(lambda: len(receiver.proved) == 3)
        assert receiver.proofs[2:] == [Break(GapCause.NETWORK), receiver.proved[2]]
        assert receiver.proved[2].chain == "client-2/0"


@pytest.mark.parametrize("order", ["renew first", "close first", "while it says goodbye"])
@networked
async def test_a_source_that_is_renewed_and_closed(order: str) -> None:
    """The end is the end: no other session is begun, and the old one gets one farewell."""
    async with receiving_from() as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        await asyncio.sleep(1)
        server.script("/meta/disconnect", *[None] * (order == "while it says goodbye"))
        if order == "close first":
            asyncio.get_running_loop().call_soon(receiver.source.renew)
        else:
            receiver.source.renew()
        if order == "while it says goodbye":
            await asyncio.sleep(1)
        await receiver.batches.aclose()
        receiver.source.renew()
        await asyncio.sleep(60)
        assert (server.handshakes, len(server.seen("/meta/disconnect")), len(receiver.heard(Closed))) == (1, 1, 1)
        assert receiver.error is None


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
@networked
async def test_a_source_that_is_renewed_when_it_has_given_up(transport: str) -> None:
    """The refusal stands, though the way isn't closed yet."""

    def refused(message: Json) -> list[Json]:
        return [{"channel": "/meta/connect", "id": message["id"], "successful": False, "error": "401::no"}]

    async with receiving_from(transports=(transport,)) as (server, receiver):
        server.script("/meta/connect", refused)
        await receiver.until(lambda: receiver.heard(Refused))
        receiver.source.renew()
        await receiver.until(lambda: receiver.error)
        receiver.source.renew()
        await asyncio.sleep(60)
        assert isinstance(receiver.error, RefusedError)
        assert server.handshakes == 1

"""What a source proves of the time in which it listens, whatever happens to the conversation."""

import asyncio
from itertools import pairwise

import pytest

from cometd_servers import Json, Proxy, ScriptedServer, receiving, receiving_from, scripted
from fbsessiond.cometd.events import Connected, Handshaken, Lost, Subscribed, SubscriptionRefused
from fbsessiond.gap import Break, GapCause
from fbsessiond.testing import VirtualClock
from virtual_network import networked

WAYS = pytest.mark.parametrize("transport", ["long-polling", "websocket"])
DENIED = {"channel": "/meta/subscribe", "successful": False, "error": "403:/b:denied"}


def answering(*messages: Json, **said: object) -> list[Json]:
    """Return a connect's reply that comes with messages."""
    return [*messages, {"channel": "/meta/connect", "successful": True} | said]


def notification(number: int) -> Json:
    """Return a notification of which only the number matters."""
    return {"channel": "/v2/me/calls", "data": {"number": number}}


@WAYS
@networked
async def test_each_connect_extends_one_chain(transport: str) -> None:
    """It reaches from the subscription's confirmation to the last connect; without a wish for it, it says not where."""
    async with receiving_from(ScriptedServer(hold_ms=10_000), transports=(transport,)) as (_, receiver):
        await receiver.until(lambda: len(receiver.proofs) == 3, seconds=60)
        assert receiver.proved == receiver.proofs
        (subscribed,) = receiver.heard(Subscribed)
        assert {(proof.chain, proof.since) for proof in receiver.proved} == {("client-1/0", subscribed.at)}
        assert [proof.until for proof in receiver.proved] == [event.at for event in receiver.heard(Connected)]
        assert all((later.until - earlier.until).seconds == 10 for earlier, later in pairwise(receiver.proved[1:]))
        assert {proof.position for proof in receiver.proved} == {None}


@WAYS
@networked
async def test_messages_and_their_proof_are_one_batch(transport: str) -> None:
    """So they are committed at once: what comes with a connect's reply has the proof of that connect."""
    async with receiving_from(transports=(transport,)) as (server, receiver):
        await receiver.until(lambda: receiver.proofs)
        server.publish(1, 2)
        await receiver.until_received(2)
        (batch,) = receiver.taken
        assert len(batch.messages) == 2
        assert batch.proof == receiver.proved[1]
        assert batch.received_at == receiver.proved[1].until


@networked
async def test_messages_that_come_unasked_prove_nothing() -> None:
    """Between two connects nobody knows whether they are all."""
    async with receiving_from(transports=("websocket",)) as (server, receiver):
        await receiver.until(lambda: receiver.proofs)
        await server.push(notification(1))
        await receiver.until_received(1)
        assert receiver.taken[0].proof is None
        server.publish(2)
        await receiver.until_received(2)
        assert receiver.taken[1].proof == receiver.proved[1]


@networked
async def test_messages_with_a_reply_that_nobody_waits_for() -> None:
    """They arrive with the next batch."""
    async with receiving_from(transports=("websocket",)) as (server, receiver):
        await receiver.until(lambda: receiver.proofs)
        await asyncio.sleep(1)
        await server.push(notification(1), {"channel": "/meta/connect", "id": "99", "successful": True})
        server.publish(2)
        await receiver.until_received(2)
        assert receiver.numbers == [1, 2]
        assert receiver.taken[0].proof == receiver.proved[1]


@networked
async def test_messages_with_a_subscriptions_reply_prove_nothing_yet() -> None:
    """They are handed over at once, and the connect that follows proves them."""
    server = ScriptedServer()
    server.script("/meta/subscribe", [notification(1), {"channel": "/meta/subscribe", "successful": True}])
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.proofs)
        assert receiver.numbers == [1]
        assert [batch.proof for batch in receiver.everything] == [None, *receiver.proved]


@pytest.mark.parametrize(
    "said",
    [{"successful": False, "error": "500::busy"}, {"clientId": "another"}, {"id": "99"}, {"channel": "/meta/other"}],
    ids=["failed", "another client's", "another request's", "another channel's"],
)
@networked
async def test_messages_with_a_reply_that_proves_nothing(said: Json) -> None:
    """They arrive all the same, together with the break."""
    server = ScriptedServer()
    server.script("/meta/connect", answering(notification(1), **said))
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.proved)
        assert receiver.numbers == [1]
        assert receiver.proofs[:-1] == [Break(GapCause.NETWORK)]


@networked
async def test_nothing_is_proved_while_a_channel_is_refused() -> None:
    """That is told once; the chain begins when the last subscription is confirmed."""
    server = ScriptedServer(hold_ms=5_000)
    accepted: Json = {"channel": "/meta/subscribe", "successful": True, "subscription": "/a"}
    server.script("/meta/subscribe", [accepted], [DENIED], [DENIED], [DENIED])
    async with receiving_from(server, channels=("/a", "/b")) as (_, receiver):
        server.publish(1)
        await receiver.until_heard(SubscriptionRefused, 3)
        assert len(receiver.heard(Connected)) >= 2
        assert receiver.numbers == [1]
        assert receiver.proofs == [Break(GapCause.SUBSCRIPTION)]
        await receiver.until(lambda: len(receiver.proved) == 2)
        first, second = receiver.heard(Subscribed)
        assert (first.channel, second.channel) == ("/a", "/b")
        assert second.at > first.at
        assert {(proof.chain, proof.since) for proof in receiver.proved} == {("client-1/0", second.at)}


@pytest.mark.parametrize("hold_seconds", [0, 10])
@WAYS
@networked
async def test_a_lost_session_ends_the_chain(transport: str, hold_seconds: int) -> None:
    """A break says why, and the next session's chain begins with its own subscription.

    Where the server says so at once, the last proof counts no more: the session may have been gone before it.
    """

    async def unknown(message: Json) -> list[Json]:
        await asyncio.sleep(hold_seconds)
        error = {"error": "402::Unknown client", "advice": {"reconnect": "handshake"}}
        return answering(id=message["id"], successful=False, **error)

    async with receiving_from(ScriptedServer(acknowledge=True), transports=(transport,)) as (server, receiver):
        await receiver.until(lambda: receiver.proofs)
        await asyncio.sleep(1)
        server.script("/meta/connect", unknown)
        server.publish(1)
        await receiver.until(lambda: len(receiver.proved) == 3)
        first, second, another = receiver.proved
        doubted = None if hold_seconds else first.until
        assert receiver.proofs == [first, second, Break(GapCause.SESSION_LOST, doubted), another]
        assert (first.chain, second.chain, another.chain) == ("client-1/0", "client-1/0", "client-2/0")
        assert another.since == receiver.heard(Subscribed)[1].at > second.until


@networked
async def test_a_server_that_is_away_at_first() -> None:
    """However often it is tried, that is one break; the first chain follows it."""
    server = ScriptedServer()
    server.script("/meta/handshake", 503, 503, 503)
    server.script("/meta/connect", 503, 503)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.proved)
        assert len(receiver.heard(Lost)) == 5
        assert receiver.proofs[:-1] == [Break(GapCause.NETWORK)]


@pytest.mark.parametrize("acknowledge", [True, False])
@networked
async def test_a_response_that_is_cut(acknowledge: bool) -> None:
    """With acknowledgements its messages come again, in the same chain; without them they're lost, and it ends."""
    async with (
        scripted(ScriptedServer(acknowledge=acknowledge)) as server,
        Proxy(server.port) as proxy,
        receiving(f"http://127.0.0.1:{proxy.port}/", clock=VirtualClock()) as receiver,
    ):
        await receiver.until(lambda: receiver.proofs)
        await asyncio.sleep(1)
        proxy.cut_after_bytes = 300
        server.publish(*range(20))
        await receiver.until_heard(Lost)
        server.publish(*range(20, 25))
        await receiver.until(lambda: receiver.numbers and receiver.numbers[-1] == 24)
        assert proxy.cuts == 1
        assert len(receiver.heard(Handshaken)) == 1
        assert receiver.proofs[1] == Break(GapCause.NETWORK)
        first, *_, last = receiver.proved
        if acknowledge:
            assert receiver.numbers == list(range(25))
            assert (first.chain, first.since) == (last.chain, last.since)
        else:
            assert receiver.numbers == list(range(20, 25))
            assert (first.chain, last.chain) == ("client-1/0", "client-1/1")
            assert last.since > receiver.heard(Lost)[0].at

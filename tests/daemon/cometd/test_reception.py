"""fbsessiond.cometd.reception: the conversation, whatever happens to it."""

import asyncio
from itertools import pairwise

import pytest
import structlog
from aiohttp import web

from cometd_servers import Answer, Json, ScriptedServer, receiving, receiving_from, scripted
from fbsessiond import limits
from fbsessiond.cometd.events import (
    Closed,
    Connected,
    Handshaken,
    Lost,
    Refused,
    Resumed,
    Subscribed,
    SubscriptionRefused,
)
from fbsessiond.cometd.reception import COMMIT_SECONDS
from fbsessiond.cometd.rules import Cause
from fbsessiond.errors import RefusedError
from fbsessiond.gap import Break, GapCause
from fbsessiond.testing import VirtualClock
from virtual_network import networked, run_networked

UNKNOWN = [
    {
        "channel": "/meta/connect",
        "successful": False,
        "error": "402::Unknown client",
        "advice": {"reconnect": "handshake"},
    }
]
DENIED = [{"channel": "/meta/subscribe", "successful": False, "error": "403:/v2/me/*:denied"}]


def too_long(_: Json) -> web.Response:
    """Answer with more than is read."""
    return web.Response(body=b" " * (limits.RESPONSE_BYTES + 1))


@networked
async def test_the_first_connect_is_answered_at_once() -> None:
    """It asks for no hold, so that the proof comes now; the second leaves the hold to the server."""
    async with receiving_from() as (server, receiver):
        await receiver.until(lambda: receiver.source.status.healthy)
        assert asyncio.get_running_loop().time() < 1
        await receiver.until(lambda: len(receiver.heard(Connected)) == 2, seconds=60)
        asked = [message.get("advice") for message in server.seen("/meta/connect")[:2]]
        assert asked == [{"timeout": 0}, None]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (503, Cause.STATUS),
        (500, Cause.STATUS),
        (302, Cause.STATUS),
        (b"<html>", Cause.NOT_BAYEUX),
        (b'[{"channel":"/meta/connect"', Cause.NOT_BAYEUX),
        (None, Cause.TIMED_OUT),
        ([{"channel": "/meta/connect", "successful": False, "error": "500::x"}], Cause.UNSUCCESSFUL),
    ],
    ids=str,
)
@networked
async def test_a_failed_connect_is_repeated_in_the_same_session(answer: Answer, cause: Cause) -> None:
    """Nothing that a server does for a moment ends the session or the source."""
    server = ScriptedServer()
    server.script("/meta/connect", answer, answer, answer)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected), seconds=120)
        assert [lost.cause for lost in receiver.heard(Lost)] == [cause] * 3
        assert server.handshakes == 1
        server.publish(1)
        await receiver.until(lambda: receiver.numbers == [1])


@networked
async def test_a_failed_handshake_is_repeated() -> None:
    """Until it succeeds."""
    server = ScriptedServer()
    server.script("/meta/handshake", 503, b"<html>", None)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected), seconds=60)
        assert [lost.cause for lost in receiver.heard(Lost)] == [Cause.STATUS, Cause.NOT_BAYEUX, Cause.TIMED_OUT]
        assert not any(lost.session for lost in receiver.heard(Lost))


@networked
async def test_an_unknown_client_gets_a_new_session() -> None:
    """It is subscribed again, and connects with the new clientId."""
    server = ScriptedServer()
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        server.script("/meta/connect", UNKNOWN)
        server.publish(1)
        await receiver.until(lambda: len(receiver.heard(Handshaken)) == 2)
        await receiver.until(lambda: receiver.source.status.connected)
        assert receiver.heard(Lost)[0].cause is Cause.SESSION_GONE
        assert len(receiver.heard(Subscribed)) == 2
        assert server.seen("/meta/connect")[-1]["clientId"] == "client-2"


@networked
async def test_handshakes_by_turns() -> None:
    """Sources that share them make so many handshakes at a time; who waits for its turn isn't stuck, however long."""
    turns = asyncio.Semaphore(1)
    async with receiving_from(handshakes=turns) as (server, receiver):
        await receiver.until(lambda: receiver.source.status.healthy)
        async with turns:
            server.script("/meta/connect", UNKNOWN)
            server.publish(1)
            await receiver.until(lambda: receiver.heard(Lost))
            await asyncio.sleep(3600)
            assert server.handshakes == 1
            assert receiver.source.is_moving
        await receiver.until(lambda: receiver.source.status.healthy)
        assert server.handshakes == 2


@networked
async def test_a_server_that_knows_nobody_is_not_stormed() -> None:
    """Handshakes are five seconds apart."""
    server = ScriptedServer()
    server.script("/meta/connect", *[UNKNOWN] * 20)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: len(receiver.heard(Handshaken)) == 10, seconds=60)
        times = [message["_at"] for message in server.seen("/meta/handshake")]
        assert all(later - earlier >= 4.9 for earlier, later in pairwise(times))


@networked
async def test_a_response_that_is_too_long_costs_the_session() -> None:
    """The error is clear, and a new session begins."""
    server = ScriptedServer()
    server.script("/meta/connect", too_long)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert [(lost.cause, lost.session) for lost in receiver.heard(Lost)] == [(Cause.TOO_LONG, False)]
        assert str(limits.RESPONSE_BYTES) in receiver.heard(Lost)[0].words
        assert server.handshakes == 2


@networked
async def test_a_refused_subscription_is_tried_again_every_second() -> None:
    """Until it is confirmed; the other channel works meanwhile."""
    server = ScriptedServer()
    accepted = [{"channel": "/meta/subscribe", "successful": True, "subscription": "/a"}]
    server.script("/meta/subscribe", accepted, DENIED, DENIED, DENIED)
    async with receiving_from(server, channels=("/a", "/b"), keep=True) as (_, receiver):
        server.publish(1)
        await receiver.until(lambda: receiver.numbers == [1])
        await receiver.until(lambda: len(receiver.heard(SubscriptionRefused)) == 3)
        assert not receiver.source.status.healthy
        await receiver.until(lambda: receiver.source.status.healthy)
        times = [message["_at"] for message in server.seen("/meta/subscribe")]
        assert [round(later - earlier) for earlier, later in pairwise(times)] == [0, 1, 1, 1]
        assert [event.times for event in receiver.heard(SubscriptionRefused)] == [1, 2, 3]


@pytest.mark.parametrize(
    "refusal", [401, b'[{"channel":"/meta/connect","successful":false,"error":"401::no"}]'], ids=str
)
@networked
async def test_credentials_refused_in_mid_session(refusal: int | bytes) -> None:
    """They are sent afresh, without the old cookies, and the source goes on."""
    server = ScriptedServer()

    def with_cookie(message: Json) -> web.Response:
        response = web.Response(
            body=b'[{"channel":"/meta/connect","id":"%s","successful":true}]' % message["id"].encode()
        )
        response.set_cookie("JSESSIONID", "old")
        return response

    server.script("/meta/connect", with_cookie, refusal)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: len(receiver.heard(Handshaken)) == 2)
        await receiver.until(lambda: receiver.source.status.connected)
        assert [lost.cause for lost in receiver.heard(Lost)] == [Cause.REFUSED]
        assert "old" in server.seen("/meta/connect")[1]["_headers"]["Cookie"]
        assert "Cookie" not in server.seen("/meta/handshake")[1]["_headers"]
        assert "Authorization" in server.seen("/meta/handshake")[1]["_headers"]


@pytest.mark.parametrize("channel", ["/meta/handshake", "/meta/connect"])
@networked
async def test_credentials_that_were_good_are_refused_for_good(channel: str) -> None:
    """They are tried again every four seconds for a minute; then the source ends, and says so once."""
    async with receiving_from() as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        await asyncio.sleep(1)
        server.script("/meta/connect", 401)
        server.script(channel, *[401] * 40)
        server.publish(1)
        await receiver.until(lambda: receiver.error, seconds=90)
        assert isinstance(receiver.error, RefusedError)
        times = [message["_at"] for message in server.seen("/meta/handshake")[1:]]
        assert [round(later - earlier, 1) for earlier, later in pairwise(times)] == [4.0] * 15
        assert [event.words for event in receiver.heard(Refused)] == ["HTTP status 401"]
        assert receiver.proofs[2:] == [Break(GapCause.REFUSED)]
        sent = len(server.received)
        await asyncio.sleep(3600)
        assert len(server.received) == sent


@networked
async def test_credentials_that_are_refused_for_a_while() -> None:
    """A success ends it, however often it happens: the source goes on."""
    async with receiving_from() as (server, receiver):
        for times in range(1, 4):
            await receiver.until(lambda: receiver.source.status.connected)
            await asyncio.sleep(1)
            server.script("/meta/connect", 401)
            server.script("/meta/handshake", *[401] * 6)
            server.publish(times)
            await receiver.until_heard(Handshaken, times + 1)
        await receiver.until(lambda: receiver.source.status.connected)
        assert not receiver.heard(Refused)
        assert {lost.cause for lost in receiver.heard(Lost)} == {Cause.REFUSED}


@networked
async def test_a_bayeux_refusal_of_the_handshake() -> None:
    """It counts like HTTP's."""
    server = ScriptedServer()
    server.script("/meta/handshake", [{"channel": "/meta/handshake", "successful": False, "error": "403::denied"}])
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.error)
        assert isinstance(receiver.error, RefusedError)
        assert len(server.received) == 1


@networked
async def test_a_csrf_token_that_the_refusal_brings() -> None:
    """The next handshake has it, and so does every request after that."""

    def forbidden(_: Json) -> web.Response:
        headers = {"X-CSRF-HEADER": "X-CSRF-TOKEN", "X-CSRF-TOKEN": "4a92be65"}
        return web.Response(status=403, text="Missing or invalid Csrf token", headers=headers)

    server = ScriptedServer()
    server.script("/meta/handshake", forbidden)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert [lost.cause for lost in receiver.heard(Lost)] == [Cause.FORBIDDEN]
        tokens = [message["_headers"].get("X-CSRF-TOKEN") for message in server.received]
        assert tokens[:4] == [None, "4a92be65", "4a92be65", "4a92be65"]


@networked
async def test_a_server_without_a_common_transport() -> None:
    """It may be mended, so it is asked again."""
    server = ScriptedServer(transports=("callback-polling",))
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: len(receiver.heard(Lost)) == 3)
        assert {lost.cause for lost in receiver.heard(Lost)} == {Cause.UNSUCCESSFUL}
        server.transports = ("long-polling",)
        await receiver.until(lambda: receiver.heard(Connected))


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
@networked
async def test_a_session_is_renewed_at_once(transport: str) -> None:
    """A held connect is interrupted, once; the old session gets a farewell, and the new one its subscription."""
    async with receiving_from(ScriptedServer(acknowledge=True), transports=(transport,)) as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        await asyncio.sleep(10)
        before, began = len(server.received), asyncio.get_running_loop().time()
        receiver.source.renew()
        receiver.source.renew()
        await receiver.until_heard(Connected, 2)
        assert asyncio.get_running_loop().time() - began < 0.1
        assert [(message["channel"], message.get("clientId")) for message in server.received[before:]][:4] == [
            ("/meta/disconnect", "client-1"),
            ("/meta/handshake", None),
            ("/meta/subscribe", "client-2"),
            ("/meta/connect", "client-2"),
        ]
        assert not receiver.heard(Lost)
        await receiver.until(lambda: len(receiver.proved) == 2)
        assert (receiver.proved[1].chain, receiver.proofs) == ("client-2/0", receiver.proved)
        server.publish(1)
        await receiver.until_received(1)


@networked
async def test_it_gets_on() -> None:
    """Connects that are held, and servers that fail or are away, are no reason to think that it is stuck."""
    async with receiving_from() as (server, receiver):
        assert receiver.source.is_moving
        server.script("/meta/connect", None, 503, *([None] * 5))
        for _ in range(60):
            await asyncio.sleep(10)
            assert receiver.source.is_moving


@networked
async def test_it_is_stuck() -> None:
    """A batch of which nobody says that it is on disk for a minute means that somebody hangs, until it is."""
    async with receiving_from() as (server, receiver):
        receiver.stall()
        server.publish(1)
        await asyncio.sleep(COMMIT_SECONDS - 1)
        assert receiver.source.is_moving
        await asyncio.sleep(2)
        assert not receiver.source.is_moving
        receiver.go_on()
        await asyncio.sleep(1)
        assert receiver.source.is_moving


@networked
async def test_another_process_takes_the_session_up() -> None:
    """It says so, subscribes nothing, and goes on with the chain; each proof says where the next one can."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        async with receiving(server.url, clock=VirtualClock(), keep=True) as one:
            await one.until(lambda: one.proved)
        async with receiving(server.url, clock=VirtualClock(), position=one.position, keep=True) as two:
            await two.until(lambda: two.proved)
        assert [type(event) for event in two.events] == [Resumed, Connected, Closed]
        assert (two.proved[0].chain, two.proved[0].since) == (one.proved[0].chain, one.proved[0].since)
        assert [len(server.seen(name)) for name in ("/meta/handshake", "/meta/subscribe")] == [1, 1]


def test_logs_hold_no_secret_and_no_data() -> None:
    """Neither credentials nor cookies, clientIds or notifications are logged, nor errors' arguments."""

    async def scenario() -> None:
        server = ScriptedServer()
        denied = [{"channel": "/meta/subscribe", "successful": False, "error": "401:client-1:Unknown client"}]
        server.script("/meta/subscribe", denied)
        server.script("/meta/connect", 401)
        async with receiving_from(server) as (_, receiver):
            await receiver.until(lambda: receiver.error or receiver.heard(Connected))

    with structlog.testing.capture_logs() as logs:
        run_networked(scenario())
    said = repr(logs)
    assert "Unknown client" in said
    assert not [secret for secret in ("secret", "YWdlbnQxOnNlY3JldA", "client-1") if secret in said]

"""A second source that goes on where the first one stopped, in the same CometD session."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from cometd_servers import Answer, Json, Receiver, ScriptedServer, receiving, scripted
from fbsessiond.cometd.events import Closed, Connected, Handshaken, Lost, Resumed, Subscribed
from fbsessiond.cometd.proving import Position
from fbsessiond.cometd.rules import SLACK_SECONDS, Cause
from fbsessiond.gap import Break, GapCause
from fbsessiond.testing import VirtualClock
from virtual_network import networked

UNKNOWN: list[Json] = [
    {"channel": "/meta/connect", "successful": False, "error": "402::x", "advice": {"reconnect": "handshake"}}
]
FORBIDDEN: list[Json] = [{"channel": "/meta/connect", "successful": False, "error": "403::Forbidden"}]
WAYS = pytest.mark.parametrize("transport", ["long-polling", "websocket"])


@asynccontextmanager
async def process(server: ScriptedServer, position: bytes | None = None, **settings: Any) -> AsyncGenerator[Receiver]:
    """Receive like one process, which keeps its session at the end; wait until there is a proof."""
    settings = {"keep": True, **settings}
    async with receiving(server.url, clock=VirtualClock(), position=position, **settings) as receiver:
        await receiver.until(lambda: receiver.proved)
        yield receiver


async def stopped(server: ScriptedServer, **settings: Any) -> Receiver:
    """Receive two notifications in two batches, and end."""
    async with process(server, **settings) as receiver:
        for number in (1, 2):
            await asyncio.sleep(1)
            server.publish(number)
            await receiver.until_received(number)
    assert receiver.numbers == [1, 2]
    assert not server.seen("/meta/disconnect")
    return receiver


@WAYS
@networked
async def test_the_session_goes_on(transport: str) -> None:
    """What waited meanwhile arrives once, in the same chain, without a handshake or a subscription."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server, transports=(transport,))
        before = len(server.received)
        server.publish(3, 4)
        await asyncio.sleep(5)
        async with process(server, one.position, transports=(transport,)) as two:
            first = server.received[before]
            assert (first["channel"], first["clientId"], first["connectionType"]) == (
                "/meta/connect",
                "client-1",
                transport,
            )
            assert (first["ext"], first["advice"]) == ({"ack": 3}, {"timeout": 0})
            await asyncio.sleep(1)
            server.publish(5)
            await two.until_received(3)
            assert two.numbers == [3, 4, 5]
        assert [type(event) for event in two.events] == [Resumed, Connected, Connected, Closed]
        assert two.heard(Resumed)[0].channels == ("/v2/me/*",)
        assert {(proof.chain, proof.since) for proof in one.proved + two.proved} == {
            ("client-1/0", one.heard(Subscribed)[0].at)
        }
        assert two.proved[0].until > one.proved[-1].until
        assert {message["channel"] for message in server.received[before:]} == {"/meta/connect"}


@networked
async def test_a_position_says_how_far_it_is_proved() -> None:
    """The next process doubts what the last connect proved if the session turns out to be gone."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        position = msgspec.json.decode(one.position or b"", type=Position)
        assert position is not None
        assert (position.since, position.before, position.until) == (
            one.proved[-1].since,
            one.proved[-2].until,
            one.proved[-1].until,
        )


@networked
async def test_a_third_process_goes_on_with_the_second() -> None:
    """Each position is like the first."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        position = (await stopped(server)).position
        for number in range(3, 6):
            server.publish(number)
            async with process(server, position) as receiver:
                assert receiver.numbers == [number]
                assert receiver.source.status.healthy
            position = receiver.position
        assert server.handshakes == 1


@networked
async def test_what_was_not_committed_comes_again() -> None:
    """A position is as old as the batch that it was committed with: a crash after that costs nothing."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        before = len(server.received)
        async with process(server, one.proved[-2].position) as two:
            assert server.received[before]["ext"] == {"ack": 2}
            assert two.numbers == [2]
            assert two.proved[0].chain == one.proved[0].chain


@networked
async def test_a_connect_that_is_swallowed_is_noticed_as_soon_as_in_the_first_process() -> None:
    """Nobody tells the second how long the server holds a connect; the position does."""
    async with scripted(ScriptedServer(acknowledge=True, hold_ms=15_000)) as server:
        position = (await stopped(server)).position
        server.publish(3)
        async with process(server, position) as two:
            server.script("/meta/connect", None)
            server.publish(4)
            await two.until(lambda: two.heard(Lost), seconds=15 + SLACK_SECONDS + 1)
            assert two.heard(Lost)[0].cause is Cause.TIMED_OUT


@networked
async def test_without_acknowledgements_it_is_another_chain() -> None:
    """The session goes on, but the last response may have been lost: what was sent before isn't proved."""
    async with scripted() as server:
        one = await stopped(server)
        server.publish(3)
        async with process(server, one.position) as two:
            assert two.numbers == [3]
            assert server.handshakes == 1
            assert (two.proved[0].chain, two.proved[0].since) == ("client-1/1", two.heard(Connected)[0].at)


@networked
async def test_cookies_and_csrf_token_go_on() -> None:
    """They tie the session together on the server's side."""

    def given(message: Json) -> web.Response:
        reply = b'[{"channel":"/meta/connect","id":"%s","successful":true}]' % message["id"].encode()
        response = web.Response(body=reply, headers={"X-CSRF-HEADER": "X-CSRF-TOKEN", "X-CSRF-TOKEN": "4a92"})
        response.set_cookie("JSESSIONID", "one two")
        return response

    server = ScriptedServer(acknowledge=True)
    server.script("/meta/connect", given)
    async with scripted(server):
        one = await stopped(server)
        before = len(server.received)
        async with process(server, one.position):
            headers = server.received[before]["_headers"]
            assert (headers["Cookie"], headers["X-CSRF-TOKEN"]) == ('JSESSIONID="one two"', "4a92")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (UNKNOWN, GapCause.SESSION_LOST),
        (FORBIDDEN, GapCause.REFUSED),
        (403, GapCause.REFUSED),
        (401, GapCause.REFUSED),
    ],
    ids=["unknown", "Bayeux 403", "HTTP 403", "HTTP 401"],
)
@networked
async def test_a_session_that_the_server_does_not_know_any_more(answer: Answer, cause: GapCause) -> None:
    """A handshake follows at once, and another chain; nothing is said to the old session.

    It may have been gone before the last proof of the process before, if the server says that it doesn't know it.
    """
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        began = asyncio.get_running_loop().time()
        server.script("/meta/connect", answer)
        async with process(server, one.position) as two:
            assert isinstance(two.events[0], Resumed)
            doubted = one.proved[-2].until if cause is GapCause.SESSION_LOST else None
            assert two.proofs == [Break(cause, doubted), *two.proved]
            assert (two.proved[0].chain, two.proved[0].since) == ("client-2/0", two.heard(Subscribed)[0].at)
            assert asyncio.get_running_loop().time() - began < 1
            assert server.handshakes == 2
            assert not server.seen("/meta/disconnect")


@networked
async def test_a_server_that_is_away_when_the_process_comes_back() -> None:
    """The session is tried again, like any other."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        server.script("/meta/connect", 503, b"<html>", 503)
        server.publish(3)
        async with process(server, one.position) as two:
            assert two.numbers == [3]
            assert two.proofs == [Break(GapCause.NETWORK), *two.proved]
            assert two.proved[0].chain == one.proved[0].chain


def elsewhere(position: Position) -> bytes:
    """Return the position on another server."""
    return msgspec.structs.replace(position, url="http://elsewhere/notifications").encoded()


def by_another_way(position: Position) -> bytes:
    """Return the position with a way that isn't wanted."""
    return msgspec.structs.replace(position, transport="websocket").encoded()


def older(position: Position) -> bytes:
    """Return the position as a version wrote it that knew nothing of chains."""
    fields = msgspec.json.decode(position.encoded())
    del fields["chain"]
    return msgspec.json.encode(fields)


def garbage(_: Position) -> bytes:
    """Return anything."""
    return b"\xff{garbage"


@pytest.mark.parametrize("changed", [elsewhere, by_another_way, older, garbage])
@networked
async def test_a_position_that_does_not_fit_is_ignored(changed: Callable[[Position], bytes]) -> None:
    """A new session is begun, as without a position; nothing of the old one is sent."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        assert one.position is not None
        async with process(server, changed(msgspec.json.decode(one.position, type=Position))) as two:
            assert isinstance(two.events[0], Handshaken)
            assert two.proofs == two.proved
            assert two.proved[0].chain == "client-2/0"


@networked
async def test_a_position_whose_access_can_not_be_read() -> None:
    """The session is tried all the same: credentials go with each request."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        assert one.position is not None
        position = msgspec.structs.replace(msgspec.json.decode(one.position, type=Position), access=b"\xff")
        async with process(server, position.encoded()) as two:
            assert (server.handshakes, two.proved[0].chain) == (1, one.proved[0].chain)


@networked
async def test_a_channel_that_is_wanted_now() -> None:
    """It is subscribed in the same session, before the connect; the chain begins with its confirmation."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server, channels=("/a",))
        before = len(server.received)
        async with process(server, one.position, channels=("/a", "/b")) as two:
            subscribe, connect = server.received[before : before + 2]
            assert (subscribe["channel"], subscribe["subscription"]) == ("/meta/subscribe", "/b")
            assert (connect["channel"], server.handshakes) == ("/meta/connect", 1)
            assert (two.proved[0].chain, two.proved[0].since) == ("client-1/1", two.heard(Subscribed)[0].at)
            assert two.source.status.acknowledged == ("/a", "/b")


@networked
async def test_a_position_counts_once() -> None:
    """Whoever iterates again begins a new session: that of the position may be over."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        async with process(server, one.position) as two:
            await two.batches.aclose()
            batches = aiter(two.source)
            await anext(batches)
            await batches.aclose()
            assert server.handshakes == 2


@networked
async def test_a_process_that_does_not_keep_its_session() -> None:
    """It says goodbye, and there is nothing to go on with; one that took a session up ends it as well."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        one = await stopped(server)
        async with process(server, one.position, keep=False) as two:
            assert server.handshakes == 1
            assert {proof.position for proof in two.proved} == {None}
        assert [message["clientId"] for message in server.seen("/meta/disconnect")] == ["client-1"]
        assert two.heard(Closed)[0].farewell
        assert not one.heard(Closed)[0].farewell

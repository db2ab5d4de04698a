"""fbsessiond.cometd.transport: what is the same for long-polling and websocket."""

import pytest
import structlog

from cometd_servers import Json, ScriptedServer, receiving_from
from fbsessiond.cometd.events import Connected, Handshaken, Lost
from fbsessiond.cometd.rules import Cause
from virtual_network import networked, run_networked


def advising(advice: Json) -> Json:
    """Return a script's reply to a connect, with an advice."""
    return {"channel": "/meta/connect", "successful": True, "advice": advice}


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
@networked
async def test_advice_is_followed_in_milliseconds(transport: str) -> None:
    """After an interval of 2000 the next connect leaves two seconds later."""
    server = ScriptedServer()
    server.script("/meta/connect", lambda message: [advising({"interval": 2000}) | {"id": message["id"]}])
    async with receiving_from(server, transports=(transport,)) as (_, receiver):
        await receiver.until(lambda: len(receiver.heard(Connected)) == 2, seconds=60)
        first, second = (message["_at"] for message in server.seen("/meta/connect")[:2])
        assert second - first == pytest.approx(2.0, abs=0.1)


def test_strange_advice_is_logged_once() -> None:
    """What is clamped, and what slows clients down, is worth a line when it changes."""

    async def scenario() -> None:
        server = ScriptedServer()
        strange = advising({"interval": -5, "multiple-clients": True})
        server.script("/meta/connect", [strange], [strange], [strange])
        async with receiving_from(server) as (_, receiver):
            await receiver.until(lambda: len(receiver.heard(Connected)) == 3)

    with structlog.testing.capture_logs() as logs:
        run_networked(scenario())
    said = [entry["event"] for entry in logs]
    assert said.count("cometd.advice.clamped") == 1
    assert said.count("cometd.cookies.shared") == 1


@pytest.mark.parametrize("missing", [{"clientId": None}, {"clientId": 7}, {"supportedConnectionTypes": None}], ids=str)
@networked
async def test_a_handshake_without_what_a_session_needs(missing: Json) -> None:
    """It is a failure, and repeated."""
    reply = {"channel": "/meta/handshake", "successful": True, "clientId": "c"}
    reply |= {"supportedConnectionTypes": ["long-polling"]} | missing
    server = ScriptedServer()
    server.script("/meta/handshake", [reply])
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert [lost.cause for lost in receiver.heard(Lost)] == [Cause.NOT_BAYEUX]
        assert len(receiver.heard(Handshaken)) == 1


@networked
async def test_a_response_that_is_not_bayeux() -> None:
    """A login page is a failure, and only its length is told."""
    server = ScriptedServer()
    server.script("/meta/handshake", b"<html>customer</html>")
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        (lost,) = receiver.heard(Lost)
        assert (lost.cause, lost.words) == (Cause.NOT_BAYEUX, "21 bytes that aren't an array of messages")


@pytest.mark.parametrize("successful", [{"successful": False}, {"successful": "true"}, {}], ids=str)
@networked
async def test_a_handshake_that_is_declined(successful: Json) -> None:
    """It is repeated after a pause; what isn't plainly a success is none."""
    server = ScriptedServer()
    server.script("/meta/handshake", [{"channel": "/meta/handshake", "error": "500::busy"} | successful])
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert [(lost.cause, lost.words) for lost in receiver.heard(Lost)] == [(Cause.UNSUCCESSFUL, "500 busy")]


@networked
async def test_a_reply_for_another_client_is_not_ours() -> None:
    """It proves nothing about this session."""
    server = ScriptedServer()
    server.script("/meta/connect", [{"channel": "/meta/connect", "successful": True, "clientId": "another"}])
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert [lost.cause for lost in receiver.heard(Lost)] == [Cause.NOT_BAYEUX]


@networked
async def test_the_agents_http_session_outlives_the_transport() -> None:
    """Closing the source closes no connection that REST still uses."""
    async with receiving_from() as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        session = receiver.access.session
        await receiver.batches.aclose()
        assert not session.closed

"""fbsessiond.cometd.long_polling: one HTTP request an exchange."""

import json

import pytest

from cometd_servers import Json, ScriptedServer, receiving_from
from fbsessiond.cometd.events import Connected, Lost
from fbsessiond.cometd.rules import Cause
from virtual_network import networked


@networked
async def test_a_request_is_one_message_with_credentials() -> None:
    """Each message has its number, and goes with the agent's authorization."""
    async with receiving_from() as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        assert [message["channel"] for message in server.received[:3]] == [
            "/meta/handshake",
            "/meta/subscribe",
            "/meta/connect",
        ]
        assert [message["id"] for message in server.received[:3]] == ["0", "1", "2"]
        assert {message["_headers"]["Authorization"] for message in server.received} == {"Basic YWdlbnQxOnNlY3JldA=="}
        assert server.received[2]["connectionType"] == "long-polling"


@pytest.mark.parametrize(
    "body",
    [b"[]", b"<html>", b'[{"channel":"/meta/connect","id":"99","successful":true}]', b'[{"channel":"/meta/x"}]'],
    ids=["empty", "login page", "another request's", "another channel's"],
)
@networked
async def test_a_response_without_the_reply_is_a_failure(body: bytes) -> None:
    """The same session goes on after a pause."""
    server = ScriptedServer()
    server.script("/meta/connect", body)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert [lost.cause for lost in receiver.heard(Lost)] == [Cause.NOT_BAYEUX]
        assert server.handshakes == 1


@networked
async def test_messages_beside_an_unusable_reply_are_handed_over() -> None:
    """What was read is never dropped."""
    server = ScriptedServer()
    server.script("/meta/connect", b'[{"channel":"/v2/me/calls","data":{"number":1}}]')
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert receiver.numbers == [1]


@networked
async def test_messages_can_come_with_any_reply() -> None:
    """Without acknowledgements a server sends them with the reply to a subscription, too."""

    def reply(message: Json) -> list[Json]:
        notification = {"channel": "/v2/me/calls", "data": {"number": 1}}
        return [notification, {"channel": "/meta/subscribe", "id": message["id"], "successful": True}]

    server = ScriptedServer()
    server.script("/meta/subscribe", reply)
    async with receiving_from(server) as (_, receiver):
        await receiver.until(lambda: receiver.heard(Connected))
        assert receiver.numbers == [1]
        assert json.loads(receiver.taken[0].messages[0].raw)["channel"] == "/v2/me/calls"

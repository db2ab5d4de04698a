import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from cometd_servers import INTEROP, node
from fbsessiond.message import Message
from fbsessiond.notification import InvalidNotification, MessagesNotification, SessionNotification, read
from fbsessiond.schemas.notifications import asyncapi, notification_schema

FIXTURES = Path(__file__).parents[2] / "fixtures"

SCHEMA = notification_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)

ID = {"id": "0002DaAVKJ0V0095"}
STATE_CHANGE = {"messageType": "FacebooksessionStateChangeMessage", "notificationType": "StatusChange"}
MESSAGE_LOG = {"messageType": "MessageLogUpdated", "notificationType": "NewMessages"}
ADDRESS = {"facebooksessionPath": "/facebooksessions/0002DaAVKJ0V0095"}


def fixtures() -> Iterator[Any]:
    """Yield the notifications of all fixtures."""
    for path in sorted(FIXTURES.rglob("*.json")):
        content = json.loads(path.read_text())
        for one in content if isinstance(content, list) else [content]:
            yield pytest.param(one.get("data", one), id=path.stem)


def is_read(notification: Any) -> bool:
    """Say whether the daemon understands a notification; what it doesn't goes to the quarantine."""
    try:
        read(Message(b"", None, json.dumps(notification).encode()))
    except InvalidNotification:
        return False
    return True


def test_dialect() -> None:
    """The schema is itself valid JSON Schema 2020-12."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(SCHEMA)


@pytest.mark.parametrize("notification", [*fixtures()])
def test_fixtures(notification: dict[str, Any]) -> None:
    """What is documented, and what was captured, fits the schema."""
    assert list(VALIDATOR.iter_errors(notification)) == []


@pytest.mark.parametrize(
    "notification",
    [
        {**STATE_CHANGE, "facebooksession": {**ID, "state": "Chatting", "unknownKey": [1]}},
        {**STATE_CHANGE, "facebooksession": {"path": "/facebooksessions/x", "state": "Chatting"}},
        {**STATE_CHANGE, "facebooksession": {"uri": "http://gws/api/v2/facebooksessions/x", "comment": None}},
        {**STATE_CHANGE, "facebooksessions": [{**ID, "state": "Chatting"}, {"id": "x"}]},
        {**STATE_CHANGE, "notificationType": "Error", "errorMessage": "it didn't work"},
        {"facebooksession": {**ID, "participants": [{"id": "p", "nickname": "Ann"}]}},
        {**MESSAGE_LOG, **ADDRESS, "messages": [{"index": 1, "from": {"nickname": "Ann"}, "text": "hello"}]},
        {**MESSAGE_LOG, "chatPath": "/chats/x", "messages": "another medium's"},
        {"messageType": "CallStateChangeMessage", "call": {"id": 1}},
        {},
    ],
)
def test_right(notification: dict[str, Any]) -> None:
    """What fits is read; keys that aren't known are no mistake."""
    assert is_read(notification)
    assert list(VALIDATOR.iter_errors(notification)) == []


@pytest.mark.parametrize(
    "notification",
    [
        STATE_CHANGE,
        {**STATE_CHANGE, "facebooksession": None},
        {**STATE_CHANGE, "facebooksession": "0002DaAVKJ0V0095"},
        {**STATE_CHANGE, "facebooksession": {"state": "Chatting"}},
        {**STATE_CHANGE, "facebooksession": {"id": "a/b"}},
        {**STATE_CHANGE, "facebooksession": {**ID, "state": 1}},
        {**STATE_CHANGE, "facebooksession": {**ID, "capabilities": "Leave"}},
        {**STATE_CHANGE, "facebooksession": {**ID, "participants": [{"nickname": "Ann"}]}},
        {**STATE_CHANGE, "facebooksession": {**ID, "userData": []}},
        {"facebooksession": [{"state": "Chatting"}]},
        {**MESSAGE_LOG, **ADDRESS},
        {**MESSAGE_LOG, **ADDRESS, "messages": [{"text": 1}]},
        [],
    ],
)
def test_wrong(notification: Any) -> None:
    """What doesn't fit the schema goes to the quarantine."""
    assert not VALIDATOR.is_valid(notification)
    assert not is_read(notification)


@pytest.mark.parametrize("document", [SCHEMA["$defs"], asyncapi()["components"]["schemas"]])
def test_what_is_derived(document: dict[str, Any]) -> None:
    """What fbsessiond adds to a notification when it reads it is no part of it; each key that is says what it means."""
    assert "document" in SessionNotification.model_fields
    assert "document" not in document["SessionNotification"]["properties"]
    assert "session_id" in MessagesNotification.model_fields
    assert "sessionId" not in document["MessagesNotification"]["properties"]
    assert document["SessionDocument"]["properties"]["state"]["description"].startswith("E.g. `Invited`")
    assert document["LoggedMessage"]["properties"]["from"]["description"] == "Who wrote it."


def references(document: Any) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(document, list):
        for each in document:
            yield from references(each)


def test_references() -> None:
    """Each reference in the AsyncAPI document leads somewhere; an operation's messages are its channel's."""
    document = asyncapi()
    for reference in references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert [message["$ref"].rpartition("/")[0] for message in operation["messages"]] == [
            f"{channel}/messages" for _ in operation["messages"]
        ]


@pytest.mark.node
def test_asyncapi() -> None:
    """The AsyncAPI document is one, by the project's own schema of version 3."""
    node()
    schema = json.loads((INTEROP / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    document = asyncapi()
    assert list(validator.iter_errors(document)) == []
    document["channels"]["others"]["adress"] = "/v2/me/*"
    assert not validator.is_valid(document)

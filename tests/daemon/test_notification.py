import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbsessiond import limits
from fbsessiond.message import Message
from fbsessiond.notification import (
    AnyNotification,
    InvalidNotification,
    MessagesNotification,
    OtherNotification,
    Participant,
    SessionDocument,
    SessionNotification,
    id_in,
    last_segment,
    parts_of,
    read,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
OURS = "/v2/me/facebooksession"
CHATS = "/v2/me/chats"
STATE_CHANGE = "FacebooksessionStateChangeMessage"
PATH = "/facebooksessions/S1"


def received(data: object, channel: str | None = OURS) -> Message:
    """Return a message with this `data`: bytes as they are, anything else as JSON."""
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Message(raw=b'{"data":' + text + b"}", channel=channel, data=text)


def read_session(data: object, channel: str | None = OURS) -> SessionNotification:
    """Read what is a session's state change."""
    (notification,) = read(received(data, channel))
    assert isinstance(notification, SessionNotification)
    return notification


def session_of(data: object) -> SessionDocument:
    """Read what is a state change, and return its session."""
    session = read_session(data).facebooksession
    assert session is not None
    return session


def read_messages(data: object, channel: str | None = OURS) -> MessagesNotification:
    """Read what is a session's new messages."""
    (notification,) = read(received(data, channel))
    assert isinstance(notification, MessagesNotification)
    return notification


def read_other(data: object, channel: str | None = OURS) -> OtherNotification:
    """Read what is something else."""
    (notification,) = read(received(data, channel))
    assert isinstance(notification, OtherNotification)
    return notification


def refusal(data: object, channel: str | None = OURS) -> str:
    """Read what is invalid, and return what is said about it."""
    with pytest.raises(InvalidNotification) as refused:
        read(received(data, channel))
    return str(refused.value)


def state_change(**session: object) -> dict[str, Any]:
    """Return a state change's `data`: of session S1, with these keys."""
    return {"messageType": STATE_CHANGE, "facebooksession": {"id": "S1", **session}}


def new_messages(*messages: object, **rest: object) -> dict[str, Any]:
    """Return a message log's `data`: of session S1, with these messages."""
    return {"messageType": "MessageLogUpdated", "facebooksessionPath": PATH, "messages": [*messages], **rest}


# What is known of the platform: every sample.

SAMPLES: Mapping[str, tuple[type[AnyNotification], str | None]] = {
    "captured/remove-participant-notice.json": (MessagesNotification, "0002EaAY01MT0082"),
    "captured/send-to-agents-new-messages.json": (MessagesNotification, "0002EaAY01MT007J"),
    "documented/add-comment-properties-updated.json": (SessionNotification, "0000Na9B26EF003M"),
    "documented/chatting-other-spelling.json": (SessionNotification, "0000Na9B26EF002X"),
    "documented/chatting.json": (SessionNotification, "0000Na9B26EF002X"),
    "documented/leave-leftchat.json": (SessionNotification, "0002DaAVKJ0V0095"),
    "documented/participants-updated-after-accept.json": (SessionNotification, "0000Na9B26EF002X"),
    "documented/reject-completed.json": (SessionNotification, "0000Wa9CAM6W00FF"),
    "documented/send-message-new-messages.json": (MessagesNotification, "0000Wa9CAM6W00FN"),
    "documented/send-url-new-messages.json": (MessagesNotification, "0001Ea9Q8UVY000T"),
    "siblings/call-ringing.json": (OtherNotification, None),
    "siblings/chat-leave-completed.json": (OtherNotification, None),
    "siblings/chat-leave-leftchat.json": (OtherNotification, None),
    "siblings/chat-participants-updated.json": (OtherNotification, None),
    "siblings/device-error.json": (OtherNotification, None),
    "siblings/facebook-post-processing.json": (OtherNotification, None),
    "synthetic/error-without-session.json": (SessionNotification, None),
    "synthetic/error.json": (SessionNotification, "0002SaSYNTH0002B"),
    "synthetic/invited.json": (SessionNotification, "0002SaSYNTH0001A"),
    "synthetic/revoked.json": (SessionNotification, "0002SaSYNTH0001A"),
    "synthetic/transfer-completed.json": (SessionNotification, "0002SaSYNTH0002B"),
}


@pytest.mark.parametrize(("name", "kind", "session"), [(name, *sample) for name, sample in SAMPLES.items()])
@pytest.mark.parametrize("has_channel", [True, False])
def test_samples(name: str, kind: type[AnyNotification], session: str | None, has_channel: bool) -> None:
    """Every sample is understood, with its channel and without: which class it is, and which session it is about."""
    sample = json.loads((FIXTURES / name).read_bytes())
    (notification,) = read(received(sample["data"], sample["channel"] if has_channel else None))
    assert type(notification) is kind
    assert notification.session_id == session


def test_all_samples() -> None:
    """No sample is left out."""
    assert {path.relative_to(FIXTURES).as_posix() for path in FIXTURES.rglob("*.json")} == SAMPLES.keys()


# A session's state, participants and properties.


def test_session() -> None:
    """A state change shows its session, its type, and the request that it answers."""
    data = state_change(
        state="Chatting",
        capabilities=["Leave", "Transfer"],
        participants=[{"participantId": "P1", "type": "Customer", "nickname": "PersonP", "visibility": "All"}],
        userData={"Subject": "parcel"},
        comment="in a hurry",
        receivedDate="2015-09-02 15:39:22.000+0300",
        facebooksessionType="Inbound",
    )
    notification = read_session({**data, "notificationType": "StatusChange", "referenceId": 17})
    assert notification.message_type == STATE_CHANGE
    assert notification.notification_type == "StatusChange"
    assert notification.reference_id == 17
    assert not notification.is_error
    session = session_of(data)
    assert (session.id, session.state) == ("S1", "Chatting")
    assert session.capabilities == ["Leave", "Transfer"]
    assert session.participants == [
        Participant(participant_id="P1", type="Customer", nickname="PersonP", visibility="All")
    ]
    assert session.user_data == {"Subject": "parcel"}
    assert (session.comment, session.facebooksession_type) == ("in a hurry", "Inbound")
    assert session.received_date == "2015-09-02 15:39:22.000+0300"


def test_own_part() -> None:
    """The session's own part stays as the platform sent it, in its own keys."""
    session = {"id": "S1", "state": " Chatting", "userData": {"nested": [1, {"deeper": None}]}, "brandNew": True}
    assert read_session({"facebooksession": session}).document == session


@pytest.mark.parametrize("key", ["facebooksession", "facebooksessions", "FacebookSession", "FACEBOOKSESSIONS"])
@pytest.mark.parametrize(
    "message_type", [STATE_CHANGE, STATE_CHANGE.lower(), " facebooksessionStateChangeMessage ", None]
)
@pytest.mark.parametrize("channel", [OURS, "/v2/me/facebooksessions", "/v2/me/anything", None])
def test_resource_key(key: str, message_type: str | None, channel: str | None) -> None:
    """The session is found under both spellings of its key, whatever the case, the message type and the channel."""
    assert read_session({"messageType": message_type, key: {"id": "S1"}}, channel).session_id == "S1"


@pytest.mark.parametrize("sessions", [["S1"], ["S1", "S2", "S3"]])
def test_list_of_sessions(sessions: list[str]) -> None:
    """A list of sessions is a notification for each, in order, each with its own part and what they share."""
    parts = [{"id": session, "comment": f"of {session}"} for session in sessions]
    notifications = read(received({"referenceId": 17, "facebooksessions": parts, "odd": 1}))
    assert [notification.session_id for notification in notifications] == sessions
    assert [
        notification.document for notification in notifications if isinstance(notification, SessionNotification)
    ] == parts
    assert {notification.reference_id for notification in notifications} == {17}
    assert [notification.model_extra for notification in notifications] == [{"odd": 1}] * len(sessions)


def test_list_with_a_misfit() -> None:
    """One session in a list that doesn't fit refuses the whole message: it is quarantined as one."""
    assert refusal({"facebooksessions": [{"id": "S1"}, {"id": "S2", "state": 5}]}) == (
        "facebooksession.state: should be a valid string"
    )


@pytest.mark.parametrize("state", ["Chatting", " Chatting", "Chatting ", "\tChatting\n"])
def test_blanks_around_a_state(state: str) -> None:
    """The blanks that some media put around a state, a capability or a type aren't part of it."""
    data = {**state_change(state=state, capabilities=[" Leave "]), "notificationType": " Error"}
    session, notification = session_of(data), read_session(data)
    assert (session.state, session.capabilities) == ("Chatting", ["Leave"])
    assert notification.notification_type == "Error"
    assert notification.is_error


def test_absent_and_empty() -> None:
    """What is absent or null is None; what is empty is empty: the one changes nothing, the other empties."""
    absent = session_of(state_change())
    null = session_of(state_change(state=None, capabilities=None, participants=None, userData=None))
    empty = session_of(state_change(capabilities=[], participants=[], userData={}))
    assert absent == null
    assert (absent.capabilities, absent.participants, absent.user_data) == (None, None, None)
    assert (empty.capabilities, empty.participants, empty.user_data) == ([], [], {})


def test_same_person_twice() -> None:
    """The same person can take part twice, each time under another participantId."""
    participants = [{"nickname": "TestName", "participantId": key} for key in ("009052CB05C900EA", "009052CB057100E7")]
    session = session_of(state_change(participants=participants))
    assert [one.participant_id for one in session.participants or ()] == ["009052CB05C900EA", "009052CB057100E7"]


def test_participant_id() -> None:
    """A participant is known by the participantId, and by the id where there is no other."""
    session = session_of(state_change(participants=[{"participantId": "P1", "id": "X"}, {"id": "P2"}]))
    assert [one.participant_id for one in session.participants or ()] == ["P1", "P2"]


@pytest.mark.parametrize("error", [{}, {"facebooksession": None}, {"facebooksessions": None}])
@pytest.mark.parametrize("notification_type", ["Error", "error", " ERROR "])
def test_error_without_session(error: dict[str, Any], notification_type: str) -> None:
    """An error may name no session."""
    data = {"messageType": STATE_CHANGE, "notificationType": notification_type, **error}
    notification = read_session(data)
    assert notification.is_error
    assert (notification.session_id, notification.document) == (None, None)


def test_error_of_a_session() -> None:
    """An error may show its session, as any other notification does."""
    notification = read_session({**state_change(state="Chatting"), "notificationType": "Error"})
    assert notification.is_error
    assert notification.session_id == "S1"


# What nobody knows yet.


def test_unknown_words() -> None:
    """A state, a capability or a type that nobody knows is kept, and shown."""
    data = {
        **state_change(
            state="Teleported", capabilities=["Beam"], participants=[{"participantId": "P1", "type": "Android"}]
        ),
        "messageType": "NewFangled",
        "notificationType": "Unheard",
    }
    session, notification = session_of(data), read_session(data)
    assert (notification.message_type, notification.notification_type) == ("NewFangled", "Unheard")
    assert (session.state, session.capabilities) == ("Teleported", ["Beam"])
    assert session.participants == [Participant(participant_id="P1", type="Android")]


def test_unknown_keys() -> None:
    """A key that nobody knows is kept as sent, wherever it stands."""
    odd = {"nested": [1, None, {"deeper": 1.5}]}
    changed = read_session({**state_change(odd=odd, participants=[{"id": "P1", "odd": odd}]), "odd": odd})
    logged = read_messages(new_messages({"odd": odd, "from": {"odd": odd}}, odd=odd))
    other = read_other({"odd": odd}, CHATS)
    session, message = changed.facebooksession, logged.messages[0]
    assert session
    assert session.participants
    for kept in (changed, session, session.participants[0], logged, message, message.sender, other):
        assert kept
        assert (kept.model_extra or {})["odd"] == odd


@pytest.mark.parametrize("value", [5, True, ["x"], {"x": 1}, None])
def test_odd_types(value: object) -> None:
    """A message or notification type that isn't a text says nothing, and hinders nothing."""
    notification = read_session({**state_change(), "messageType": value, "notificationType": value})
    assert (notification.message_type, notification.notification_type) == (None, None)


@pytest.mark.parametrize(
    ("value", "reference_id"),
    [(17, 17), (2**70, 2**70), (0, 0), (None, None), ("17", None), (1.5, None), (True, None), ({"x": 1}, None)],
)
def test_reference_id(value: object, reference_id: int | None) -> None:
    """A reference is a whole number of any size; what isn't one links to no request, and hinders nothing."""
    assert read_session({**state_change(), "referenceId": value}).reference_id == reference_id


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64, 10**100, 1.5, 1e300])
def test_numbers(number: float) -> None:
    """Numbers in attached data are kept exactly, beyond 64 bits too."""
    assert session_of(state_change(userData={"number": number})).user_data == {"number": number}


def test_repeated_key() -> None:
    """Of a key that stands twice in one object, the last counts."""
    assert read_session(b'{"facebooksession":{"id":"S1"},"facebooksession":{"id":"S2"}}').session_id == "S2"


# New messages.


def test_messages() -> None:
    """A message log shows who wrote what, when, and for whom, whatever the platform leaves out."""
    text = {
        "index": 3,
        "type": "Text",
        "from": {"nickname": "TestName", "type": "Agent", "participantId": "P1"},
        "text": "How may I help you?",
        "visibility": "Agents",
    }
    first, second, third = read_messages(new_messages(text, {"type": "PushUrl", "url": "http://x"}, {})).messages
    assert (first.index, first.type, first.text, first.visibility) == (3, "Text", "How may I help you?", "Agents")
    assert first.sender
    assert (first.sender.nickname, first.sender.type, first.sender.participant_id) == ("TestName", "Agent", "P1")
    assert (second.type, second.url) == ("PushUrl", "http://x")
    assert (third.index, third.sender, third.at) == (None, None, None)


@pytest.mark.parametrize("message_type", ["MessageLogUpdated", "messageLOGupdated", " MessageLogUpdated "])
def test_type_of_messages(message_type: str) -> None:
    """New messages are known by their message type, whatever its case, and the blanks around it."""
    assert read_messages({**new_messages(), "messageType": message_type}).session_id == "S1"


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"timestampSeconds": 1389261492035}, datetime(2014, 1, 9, 9, 58, 12, 35_000, tzinfo=UTC)),
        ({"timestampSeconds": 1526565585}, datetime(2018, 5, 17, 13, 59, 45, tzinfo=UTC)),
        ({"timestamp": "2014-01-09 11:58:12.035+0200"}, datetime(2014, 1, 9, 9, 58, 12, 35_000, tzinfo=UTC)),
        ({"timestamp": "2015-10-2113:48:16.000+0300"}, datetime(2015, 10, 21, 10, 48, 16, tzinfo=UTC)),
        ({"timestamp": "2014-01-02T14:23:18.000-0800"}, datetime(2014, 1, 2, 22, 23, 18, tzinfo=UTC)),
        ({"timestamp": "yesterday", "timestampSeconds": 0}, datetime(1970, 1, 1, tzinfo=UTC)),
        ({"timestamp": "yesterday"}, None),
        ({"timestampSeconds": 10**300}, None),
        ({}, None),
    ],
)
def test_time_of_a_message(times: dict[str, object], at: datetime | None) -> None:
    """A message's time is its `timestampSeconds`, in milliseconds or seconds, else its `timestamp`, however spelled."""
    (message,) = read_messages(new_messages(times)).messages
    assert message.at == at


@pytest.mark.parametrize(
    "addresses",
    [
        {"facebooksessionPath": "/facebooksessions/S1"},
        {"facebooksessionPath": " /facebooksessions/S1 "},
        {"facebooksessionUri": "http://gws.example:8090/api/v2/facebooksessions/S1"},
        {"facebooksessionUri": "http://gws.example:8090/api/v2/me/facebooksession/S1?fields=*"},
        {"facebooksessionUri": "http://gws.example:8090/api/v2/facebooksessions/S1#top"},
        {"facebooksessionPath": "/facebooksessions/S1", "chatPath": "/chats/C9"},
        {"facebooksessionPath": None, "facebooksessionUri": "/facebooksessions/S1"},
        {"chatPath": "/facebooksessions/S1"},
        {"chatUri": "http://gws.example:8090/api/v2/facebooksessions/S1"},
        {"chatUri": "http://gws.example:8090/api/v2/FacebookSession/S1"},
        {"chatPath": "/chats/C9", "chatUri": "http://gws.example:8090/api/v2/facebooksessions/S1"},
    ],
)
@pytest.mark.parametrize("channel", [OURS, CHATS, None])
def test_session_of_messages(addresses: dict[str, Any], channel: str | None) -> None:
    """New messages belong to the session in the last segment of their path or address, as `chatUri` of SendUrl too."""
    data = {"messageType": "MessageLogUpdated", "messages": [], **addresses}
    assert read_messages(data, channel).session_id == "S1"


@pytest.mark.parametrize(
    ("data", "channel"),
    [
        ({"chatPath": "/chats/C9"}, OURS),
        ({"chatUri": "http://gws.example:8090/api/v2/chats/C9", "chatPath": None}, None),
        ({"chatUri": "http://gws.example:8090/api/v2/chats/facebooksessions"}, OURS),
        ({"smssessionPath": "/smssessions/T9"}, "/v2/me/smssessions"),
        ({}, CHATS),
    ],
)
def test_messages_of_other_media(data: dict[str, Any], channel: str | None) -> None:
    """New messages of chats and other media aren't ours: their address says so, or without one, the channel."""
    assert read_other({"messageType": "MessageLogUpdated", "messages": [], **data}, channel)


# Other media.


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"messageType": "ErrorMessage", "devicePath": "/devices/6f0c9ebb"},
        {"messageType": "CallStateChangeMessage", "call": {"id": "C1", "state": "Ringing"}},
        {"messageType": "FacebookStateChangeMessage", "facebook": {"id": "F1"}},
        {"messageType": "SomethingNew", "notificationType": {"x": 1}},
        {"messageType": ["x"], "notificationType": 5},
        {"sessionId": "not-ours", "session_id": 5, "referenceId": "abc"},
        {"facebooksession": None, "chat": {"id": "C1"}},
    ],
)
@pytest.mark.parametrize("channel", ["/v2/me/anything", OURS, None])
def test_other(data: dict[str, Any], channel: str | None) -> None:
    """What is neither a session nor its messages is something else: no error, whatever is in it, and no session's."""
    assert read_other(data, channel).session_id is None


@pytest.mark.parametrize("data", [None, "text", 5, True, ["x"]])
def test_other_without_object(data: object) -> None:
    """On another channel even data that isn't an object is something else."""
    assert read_other(data, "/v2/me/anything") == OtherNotification()


@pytest.mark.parametrize("data", [{"messageType": "MessageLogUpdated", "messages": []}, "text"])
@pytest.mark.parametrize(
    ("channel", "is_ours"),
    [
        ("/v2/me/facebooksession", True),
        ("/v2/me/facebooksessions", True),
        ("/v2/me/FacebookSession", True),
        ("facebooksession", True),
        (None, True),
        ("/v2/me/facebook", False),
        ("/v2/me/notfacebooksession", False),
        ("/v2/me/facebooksession/typing", False),
        ("/v2/me/chats", False),
        ("", False),
    ],
)
def test_channel(data: object, channel: str | None, is_ours: bool) -> None:
    """Where the content doesn't tell, the channel decides what lacks something and what is something else."""
    if is_ours:
        assert refusal(data, channel)
    else:
        assert read_other(data, channel)


# What can't be understood: quarantined, with words for a person.


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "data: must be an object, not null"),
        (True, "data: must be an object, not true or false"),
        ("text", "data: must be an object, not text"),
        (["x"], "data: must be an object, not a list"),
        (5, "data: must be an object, not a number"),
        (1.5, "data: must be an object, not a number"),
        ({"messageType": STATE_CHANGE}, "needs the session itself, an object under the key 'facebooksession'"),
        ({"facebooksession": "text"}, "facebooksession: should be an object"),
        ({"facebooksession": []}, "facebooksession: should be an object"),
        (
            {"facebooksession": [None, {"id": "S1"}]},
            "needs the session itself, an object under the key 'facebooksession'",
        ),
        ({"facebooksession": {}}, "facebooksession.id: is missing"),
        ({"facebooksession": {"uri": 5}}, "facebooksession.id: is missing"),
        ({"notificationType": "Error", "facebooksession": {"state": "Chatting"}}, "facebooksession.id: is missing"),
        (state_change(id=5), "facebooksession.id: should be a valid string"),
        (state_change(state=5), "facebooksession.state: should be a valid string"),
        (state_change(state="  "), "facebooksession.state: String should have at least 1 character"),
        (state_change(capabilities="Leave"), "facebooksession.capabilities: should be a valid list"),
        (state_change(capabilities=[5]), "facebooksession.capabilities.0: should be a valid string"),
        (state_change(participants=["P1"]), "facebooksession.participants.0: should be an object"),
        (state_change(participants=[{}]), "facebooksession.participants.0.participantId: is missing"),
        (state_change(userData=["x"]), "facebooksession.userData: should be an object"),
        (state_change(comment=5), "facebooksession.comment: should be a valid string"),
        (
            state_change(state=5, comment=5),
            "facebooksession.state: should be a valid string; facebooksession.comment: should be a valid string",
        ),
        (
            {"messageType": "MessageLogUpdated", "messages": []},
            "facebooksessionPath: is missing; new messages need the address of their session",
        ),
        (
            {"messageType": "MessageLogUpdated", "messages": [], "facebooksessionUri": 5},
            "facebooksessionPath: is missing; new messages need the address of their session",
        ),
        ({"messageType": "MessageLogUpdated", "facebooksessionPath": PATH}, "messages: is missing"),
        (new_messages(messages=None), "messages: should be a valid list"),
        (new_messages("text"), "messages.0: should be an object"),
        (
            new_messages({}, {"index": "third"}),
            "messages.1.index: should be a valid integer, unable to parse string as an integer",
        ),
        (new_messages({"from": {"nickname": 5}}), "messages.0.from.nickname: should be a valid string"),
    ],
)
def test_what_is_missing(data: object, problem: str) -> None:
    """A message that lacks what its kind needs is refused, with the place and the problem in plain words."""
    assert refusal(data) == problem


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        ".",
        "..",
        "../S1",
        "S1/..",
        "%2e%2e",
        "..%2fS1",
        "S 1",
        "S1\n",
        "S1?fields=*",
        "S1#top",
        "S1\\..",
        "S1;v=1",
        "-" * 129,
        "sübsession",
        "S1\x00",
    ],
)
def test_hostile_ids(hostile: str) -> None:
    """An id that could climb out of its place in an address, or change the address, is refused."""
    problem = "isn't an id: letters, digits, '.', '_', '~' and '-', at most 128"
    assert refusal(state_change(id=hostile)) == f"facebooksession.id: {problem}"


@pytest.mark.parametrize(
    "address", ["", "/", "/facebooksessions/", "/facebooksessions/..", "/facebooksessions/%2e%2e", "?x=/S1"]
)
@pytest.mark.parametrize("key", ["path", "uri"])
def test_addresses_without_id(address: str, key: str) -> None:
    """An address whose last segment is no id names no session."""
    assert "isn't an id" in refusal({"facebooksession": {key: address}})
    assert "isn't an id" in refusal(new_messages(facebooksessionPath=address))


@pytest.mark.parametrize("identity", ["S1", "0002DaAVKJ0V0095", "a.b_c~d-e", "-" * 128, "_", "x.."])
def test_ids(identity: str) -> None:
    """An id is made of what an address carries unchanged, at most 128 characters, and doesn't begin with a dot."""
    assert read_session(state_change(id=identity)).session_id == identity


@pytest.mark.parametrize(
    "addresses",
    [
        {"path": "/facebooksessions/S1"},
        {"uri": "http://gws.example:8090/api/v2/facebooksessions/S1"},
        {"uri": "http://gws.example:8090/api/v2/facebooksession/S1?fields=*"},
        {"path": "/facebooksessions/S1", "uri": "http://gws.example:8090/api/v2/facebooksessions/S2"},
        {"id": None, "path": None, "uri": "http://gws.example:8090/api/v2/facebooksessions/S1"},
        {"id": "S1", "path": "/facebooksessions/S2"},
    ],
)
def test_id_from_an_address(addresses: dict[str, Any]) -> None:
    """A session without an id of its own is named by the last segment of its path, or else of its address."""
    assert read_session({"facebooksession": addresses}).session_id == "S1"


@pytest.mark.parametrize(
    ("address", "segment"),
    [
        ("/facebooksessions/S1", "S1"),
        ("http://gws.example:8090/api/v2/facebooksessions/S1", "S1"),
        ("http: //gws.example: 8090/api/v2/facebooksessions/S1 ", "S1"),
        ("/facebooksessions/S1?next=/S2", "S1"),
        ("/facebooksessions/S1#/S2", "S1"),
        ("S1", "S1"),
        ("/facebooksessions/", ""),
        ("", ""),
    ],
)
def test_last_segment(address: str, segment: str) -> None:
    """The last segment of an address is what follows its last slash, without query, fragment and blanks."""
    assert last_segment(address) == segment


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"id": "x"', id="cut off"),
        pytest.param(b"{'id': 'x'}", id="other quotes"),
        pytest.param(b'{"id": 1,}', id="a comma too many"),
        pytest.param(b"{} {}", id="two values"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param(b'{"id": NaN}', id="not a number"),
        pytest.param(b'{"id": Infinity}', id="infinity"),
        pytest.param(b'{"id": 1e999}', id="beyond a float"),
        pytest.param(b'{"id": ' + b"1" * 5_000 + b"}", id="beyond any integer"),
        pytest.param(b'{"id": "\\ud800"}', id="half a pair"),
        pytest.param(b'{"id": "\\udc00x"}', id="the other half"),
        pytest.param(b'{"id": "\xed\xa0\x80"}', id="half a pair in bytes"),
        pytest.param(b'{"id": "caf\xe9"}', id="Latin-1"),
        pytest.param(b'{"caf\xe9": 1}', id="Latin-1 in a key"),
    ],
)
def test_not_json(text: bytes) -> None:
    """What isn't JSON is refused, whether it's the data or the whole message, and no byte of it is shown."""
    assert refusal(text).startswith("data: isn't JSON: ")
    with pytest.raises(InvalidNotification, match=r"^the message isn't JSON: ") as refused:
        read(Message(raw=text, channel=None, data=None))
    assert not re.search("caf|xe9|xed|id|111", str(refused.value).replace("invalid", ""))


@pytest.mark.parametrize("raw", [b'{"channel":"/v2/me/facebooksession"}', b"[]", b"5"])
def test_without_data(raw: bytes) -> None:
    """A message without data is no notification."""
    with pytest.raises(InvalidNotification, match=r"^data: is missing; a notification needs it$"):
        read(Message(raw=raw, channel=OURS, data=None))


def test_too_long() -> None:
    """A notification longer than the limit is refused before it's decoded; one as long as that is read."""
    longest = b'{"x":"' + b"-" * (limits.NOTIFICATION_BYTES - 8) + b'"}'
    assert read_other(longest)
    assert refusal(longest + b" ") == "data: 4194305 bytes; at most 4194304 are decoded"


@pytest.mark.parametrize(
    ("opening", "closing", "nesting"),
    [(b'{"x":', b"}", 1), (b"[5,", b"]", 1), (b'[{"x":', b',"y":"[{[{[{"}]', 2)],
    ids=["objects", "lists", "both"],
)
def test_too_deep(opening: bytes, closing: bytes, nesting: int) -> None:
    """Objects and lists stand at most so deep in each other that everything that comes after can handle them."""
    times = limits.NESTING // nesting
    deepest = opening * times + b"5" + closing * times
    assert read_other(deepest, CHATS)
    assert refusal(b"[" + deepest + b"]", CHATS) == "data: is nested more than 100 deep"
    assert refusal(b'{"x":' + deepest + b"}") == "data: is nested more than 100 deep"


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_far_too_deep(depth: int) -> None:
    """Nesting that exhausts the decoder itself is refused like any that is too deep."""
    text = b"[" * depth + b"]" * depth
    assert refusal(text) == "data: is nested more than 100 deep"
    with pytest.raises(InvalidNotification, match=r"^the message is nested more than 100 deep$"):
        read(Message(raw=text, channel=None, data=None))


def test_wide() -> None:
    """Many objects beside each other aren't deep."""
    messages = read_messages(new_messages(*({"index": index} for index in range(1_000)))).messages
    assert len(messages) == 1_000


@pytest.mark.parametrize(
    ("key", "most", "too_much"),
    [
        ("capabilities", limits.CAPABILITIES, ["x"] * (limits.CAPABILITIES + 1)),
        ("participants", limits.PARTICIPANTS, [{"id": "x"}] * (limits.PARTICIPANTS + 1)),
        ("userData", limits.USER_DATA_KEYS, dict.fromkeys(map(str, range(limits.USER_DATA_KEYS + 1)))),
        ("state", 200, "x" * 201),
    ],
)
def test_too_much(key: str, most: int, too_much: object) -> None:
    """A session that has more of anything than the limit is refused, and the limit is named."""
    assert re.match(rf"facebooksession\.{key}: .* at most {most} ", refusal(state_change(**{key: too_much})))


def test_many_problems() -> None:
    """However much is wrong, what is said about it stays short."""
    assert len(refusal(state_change(capabilities=[None] * 1_000))) == limits.PROBLEM_CHARACTERS


# What holds for everything.

SECRET = "0451-555-SECRET"  # noqa: S105  a telephone number
SECRETS: list[object] = [
    SECRET,
    f"http://{SECRET}/ {SECRET}",
    {SECRET: SECRET},
    [SECRET, {SECRET: [SECRET]}],
    4815162342,
    4815162342.5,
    [4815162342],
    f"\n{SECRET}" * 1_000,
]


def places(value: object) -> list[tuple[str | int, ...]]:
    """Return the way to every value inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, inner in inside for way in [(key,), *((key, *rest) for rest in places(inner))]]


def replaced(value: Any, way: tuple[str | int, ...], by: object) -> Any:
    """Return a value in which another stands at the end of a way."""
    if not way:
        return by
    copy = value.copy()
    copy[way[0]] = replaced(value[way[0]], way[1:], by)
    return copy


COMPLETE = [
    {
        **state_change(
            state="Chatting",
            uri="http://gws.example/facebooksessions/S1",
            capabilities=["Leave"],
            participants=[{"participantId": "P1", "type": "Agent", "nickname": "A", "visibility": "All"}],
            userData={"Subject": "x"},
            comment="x",
            receivedDate="x",
            facebooksessionType="Inbound",
        ),
        "notificationType": "StatusChange",
        "referenceId": 1,
    },
    new_messages(
        {
            "index": 1,
            "type": "Text",
            "from": {"participantId": "P1", "type": "Agent", "nickname": "A"},
            "text": "x",
            "url": "x",
            "visibility": "All",
            "timestamp": "x",
            "timestampSeconds": 1,
        },
        notificationType="NewMessages",
    ),
]


@pytest.mark.parametrize(
    ("data", "way"),
    [pytest.param(data, way, id=".".join(map(str, way))) for data in COMPLETE for way in [(), *places(data)]],
)
def test_no_customer_data(data: dict[str, Any], way: tuple[str | int, ...]) -> None:
    """What is said about a misfit holds nothing of what was sent, whatever is sent wherever."""
    for secret in SECRETS:
        try:
            read(received(replaced(data, way, secret)))
        except InvalidNotification as error:
            assert not re.search("0451|SECRET|4815162342", str(error))  # noqa: PT017  many are no misfits
            assert error.__cause__ is None  # noqa: PT017
            assert error.__context__ is None or error.__suppress_context__  # noqa: PT017


KEYS = [
    *("messageType", "notificationType", "referenceId", "facebooksession", "facebooksessions", "FacebookSession"),
    *("facebooksessionPath", "chatUri", "messages", "sessionId", "session_id", "document", "id", "path", "state"),
    *("participants", "participantId", "userData", "from", "model_extra", "__class__", "__dict__"),
]
WORDS = [STATE_CHANGE, "MessageLogUpdated", "Error", "S1", PATH, "/chats/C9", " ", "", "NaN", "2015-02-31 10:00:00Z"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=10), inner, max_size=5)
    ),
    max_leaves=10,
)
channels = st.sampled_from([OURS, CHATS, None]) | st.text(max_size=20)


@st.composite
def odd_notifications(draw: st.DrawFn) -> Any:
    """A complete notification in which, at one place or two, something else stands, or something is added."""
    data: Any = draw(st.sampled_from(COMPLETE))
    for _ in range(draw(st.integers(1, 2))):
        data = replaced(data, draw(st.sampled_from([(), *places(data)])), draw(json_values))
    more = draw(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=1))
    return {**data, **more} if isinstance(data, dict) else data


@given(data=odd_notifications() | json_values, channel=channels)
def test_any_json(data: object, channel: str | None) -> None:
    """Any JSON is read or refused as invalid, nothing else; what is read can be asked for all that it shows.

    Its parts on sessions are the same without reading it again.
    """
    try:
        notifications = read(received(data, channel))
    except InvalidNotification:
        return
    assert notifications
    for notification in notifications:
        assert notification.session_id is None or re.fullmatch(r"[\w~-][\w.~-]*", notification.session_id, re.ASCII)
        if isinstance(notification, MessagesNotification):
            assert all(message.at is None or message.at.tzinfo is UTC for message in notification.messages)
    if isinstance(data, dict):
        sessions = [one for one in notifications if isinstance(one, SessionNotification) and one.document is not None]
        assert [(id_in(part), part) for part in parts_of(data)] == [(one.session_id, one.document) for one in sessions]


@given(text=st.binary(), channel=channels, is_data=st.booleans())
def test_any_bytes(text: bytes, channel: str | None, is_data: bool) -> None:
    """Any bytes are read or refused as invalid, nothing else."""
    try:
        read(Message(raw=text, channel=channel, data=text if is_data else None))
    except InvalidNotification as error:
        assert str(error)  # noqa: PT017  many are no misfits

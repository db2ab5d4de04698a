"""The operations of GWS, as a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from fbsessiond import Operation, Session
from fbsessiond.message import Message
from fbsessiond.notification import AnyNotification, read
from fbsessiond.operations import OPERATIONS

FIXTURES = Path(__file__).parent.parent / "fixtures"
ID = "0002DaAVKJ0V0095"
SESSION = Session(id=ID, agent="a1", state="Chatting")

MADE = [
    (Operation.accept(SESSION, "Marat"), {"nickname": "Marat"}),
    (Operation.reject(SESSION), {}),
    (Operation.leave(SESSION), {}),
    (Operation.complete(SESSION), {}),
    (Operation.complete(SESSION, "Back office"), {"queueName": "Back office"}),
    (Operation.send_message(SESSION, "hello"), {"text": "hello"}),
    (Operation.send_to_agents(SESSION, "look"), {"text": "look"}),
    (Operation.send_url(SESSION, "https://example.com/a"), {"url": "https://example.com/a"}),
    (Operation.add_comment(SESSION, "asks for a refund"), {"comment": "asks for a refund"}),
    (Operation.consult(SESSION, "/users/1"), {"targetPath": "/users/1"}),
    (Operation.transfer(SESSION, "/queues/1"), {"targetPath": "/queues/1"}),
    (Operation.remove_participant(SESSION, "/users/1"), {"targetUri": "/users/1"}),
    (Operation.set_disposition(SESSION, "resolved"), {"disposition": "resolved"}),
    (Operation.set_disposition(SESSION, "no", "Code"), {"disposition": "no", "dispositionKey": "Code"}),
    (Operation.set_in_focus(SESSION), {}),
    (Operation.attach_user_data(SESSION, {"a": 1}), {"userData": {"a": 1}}),
    (Operation.update_user_data(SESSION, {"a": None}), {"userData": {"a": None}}),
    (Operation.delete_user_data(SESSION, ("a", "b")), {"keys": ["a", "b"]}),
    (Operation.start_typing(SESSION), {}),
    (Operation.stop_typing(SESSION), {}),
]


def notification(document: dict[str, Any], **also: Any) -> AnyNotification:
    """Return a notification with a session's document."""
    data = {"messageType": "FacebooksessionStateChangeMessage", "facebooksession": {"id": ID, **document}, **also}
    return read(Message(b"", None, json.dumps(data).encode()))[0]


def fixture(name: str) -> AnyNotification:
    """Return the notification of a fixture."""
    data = json.loads((FIXTURES / name).read_bytes())["data"]
    return read(Message(b"", None, json.dumps(data).encode()))[0]


@pytest.mark.parametrize(("operation", "parameters"), MADE, ids=lambda value: getattr(value, "name", ""))
def test_operation_is_made(operation: Operation, parameters: dict[str, Any]) -> None:
    """Each has a way to be made from a session, and sends its name and the platform's names for its parameters."""
    assert operation.session == ID
    assert operation.body == {"operationName": operation.name, **parameters}
    assert operation.kind is OPERATIONS[operation.name]


def test_every_operation_can_be_made() -> None:
    """There is a way to make every operation of the table."""
    assert {operation.name for operation, _ in MADE} == set(OPERATIONS)


def test_operation_of_an_id() -> None:
    """A session's id is as good as the session."""
    assert Operation.leave(ID) == Operation.leave(SESSION)


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("Levae", {}, "no operation 'Levae'"),
        ("Leave", {"text": "bye"}, "Leave has no parameter 'text'; it has none"),
        ("SendMessage", {"txt": "a"}, "SendMessage has no parameter 'txt'; it has text"),
        ("SendMessage", {}, "SendMessage needs text"),
        ("SendMessage", {"text": ""}, "text should be a text"),
        ("SendMessage", {"text": "x" * 100_001}, "at most 100000 characters"),
        ("SendUrl", {"url": "javascript:alert(1)"}, "begins with http:// or https://"),
        ("SendUrl", {"url": "https://a b"}, "begins with http:// or https://"),
        ("Consult", {}, "Consult needs targetUri or targetPath"),
        ("AttachUserData", {"userData": {}}, "userData should be a table"),
        ("AttachUserData", {"userData": {"": 1}}, "userData should be a table"),
        ("DeleteUserData", {"keys": "a"}, "keys should be a list"),
        ("DeleteUserData", {"keys": []}, "keys should be a list"),
    ],
)
def test_parameters_are_checked(name: str, parameters: dict[str, Any], words: str) -> None:
    """What GWS would refuse isn't made, with the reason."""
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Operation(name, ID, parameters)


def test_one_target_is_enough() -> None:
    """Where one of several parameters is needed, either will do."""
    assert Operation("Transfer", ID, {"targetUri": "/users/1"}).body["targetUri"] == "/users/1"


@pytest.mark.parametrize(
    ("name", "capabilities", "is_allowed"),
    [
        ("Leave", {"Leave", "Complete"}, True),
        ("Leave", {"Complete"}, False),
        ("SetInFocus", {"InFocus"}, True),
        ("AddComment", set[str](), True),
    ],
)
def test_capabilities(name: str, capabilities: set[str], is_allowed: bool) -> None:
    """An operation is allowed by its capability, in either spelling, or by none where no sample shows one."""
    assert OPERATIONS[name].is_allowed(frozenset(capabilities)) is is_allowed


LEFT, GONE = {"state": "LeftChat"}, None


@pytest.mark.parametrize(
    ("operation", "session", "shows"),
    [
        (Operation.leave(ID), LEFT, True),
        (Operation.leave(ID), {"state": "Completed"}, True),
        (Operation.leave(ID), {"state": "Revoked"}, True),
        (Operation.leave(ID), {"state": "Chatting"}, False),
        (Operation.leave(ID), GONE, True),
        (Operation.complete(ID), LEFT, False),
        (Operation.complete(ID), GONE, True),
        (Operation.accept(ID, "M"), {"state": "Chatting"}, True),
        (Operation.accept(ID, "M"), GONE, None),
        (Operation.reject(ID), {"state": "Completed"}, True),
        (Operation.transfer(ID, "/users/1"), GONE, True),
        (Operation.add_comment(ID, "x"), {"comment": "x"}, True),
        (Operation.add_comment(ID, "x"), {"comment": "y"}, False),
        (Operation.set_disposition(ID, "r"), {"userData": {"DISP_KEY": "r"}}, True),
        (Operation.set_disposition(ID, "r"), {"userData": {"DISP_KEY": "s"}}, False),
        (Operation.set_disposition(ID, "r"), {"userData": {"Other": "s"}}, None),
        (Operation.set_disposition(ID, "r", "Code"), {"userData": {}}, False),
        (Operation.set_disposition(ID, "r", "Code"), {"userData": {"Code": "r"}}, True),
        (Operation.attach_user_data(ID, {"a": 1}), {"userData": {"a": 1, "b": 2}}, True),
        (Operation.update_user_data(ID, {"a": 1}), {"userData": {"a": 2}}, False),
        (Operation.delete_user_data(ID, ["a"]), {"userData": {"b": 2}}, True),
        (Operation.delete_user_data(ID, ["a"]), {"userData": {"a": 2}}, False),
        (Operation.delete_user_data(ID, ["a"]), {}, False),
        (Operation.send_message(ID, "x"), LEFT, None),
        (Operation.set_in_focus(ID), LEFT, None),
    ],
)
def test_reading_back(operation: Operation, session: dict[str, Any] | None, shows: bool | None) -> None:
    """A session, read back, shows that an operation happened, or that it didn't, or can't tell."""
    assert operation.kind.shows_in(operation.parameters, session) is shows


@pytest.mark.parametrize(
    ("operation", "arrived", "confirms"),
    [
        (Operation.leave(ID), fixture("documented/leave-leftchat.json"), True),
        (Operation.leave(ID), fixture("documented/chatting.json"), False),
        (Operation.reject(ID), fixture("documented/reject-completed.json"), True),
        (Operation.send_message(ID, "How may I help you?"), fixture("documented/send-message-new-messages.json"), True),
        (Operation.send_message(ID, "another"), fixture("documented/send-message-new-messages.json"), False),
        (Operation.send_to_agents(ID, "Helloagentslave"), fixture("captured/send-to-agents-new-messages.json"), True),
        (
            Operation.send_to_agents(ID, "How may I help you?"),
            fixture("documented/send-message-new-messages.json"),
            False,
        ),
        (Operation.send_url(ID, "http://google.com"), fixture("documented/send-url-new-messages.json"), True),
        (Operation.leave(ID), fixture("documented/send-message-new-messages.json"), False),
        (
            Operation.add_comment(ID, "Some chat comment text"),
            fixture("documented/add-comment-properties-updated.json"),
            True,
        ),
        (Operation.consult(ID, "/u"), fixture("documented/participants-updated-after-accept.json"), True),
        (Operation.consult(ID, "/u"), notification({"state": "Chatting"}, notificationType="StatusChange"), False),
        (Operation.leave(ID), fixture("siblings/chat-leave-completed.json"), False),
        (Operation.leave(ID), notification(LEFT, notificationType="Error"), False),
        (Operation.set_in_focus(ID), notification(LEFT, notificationType="StatusChange"), False),
    ],
)
def test_confirmation(operation: Operation, arrived: AnyNotification, confirms: bool) -> None:
    """The notification that shows the expected change confirms an operation; no other does, nor an error."""
    assert operation.kind.is_confirmed_by(operation.parameters, arrived) is confirms


def test_leave_has_two_good_ends() -> None:
    """Leaving alone leads to LeftChat, leaving a conference to Completed: both are success."""
    kind = OPERATIONS["Leave"]
    assert all(kind.is_confirmed_by({}, notification({"state": state})) for state in ("LeftChat", "Completed"))


@pytest.mark.parametrize("kind", OPERATIONS.values(), ids=lambda kind: kind.name)
def test_the_table_is_whole(kind: Any) -> None:
    """Every operation says what it does, what counts as its success, and where that is written."""
    assert kind.does
    assert kind.succeeds
    assert "GWS 8.5.2" in kind.source
    assert kind.is_confirmed is ("nothing shows" not in kind.succeeds)
    assert kind.can_be_read_back is (kind.in_session is not None)


@pytest.mark.parametrize("session", ["", ".", "..", "a/b", "x" * 200, None, 5], ids=repr)
def test_session_id(session: Any) -> None:
    """What can't be a session's id is refused when the operation is made: it becomes part of an address."""
    with pytest.raises(ValueError, match="Leave needs a session's id"):
        Operation("Leave", session)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", float("nan"), {(1, 2): 3}], ids=repr)
def test_parameters_without_words(value: object) -> None:
    """Parameters that JSON has no words for are refused when the operation is made: they are written down and sent."""
    with pytest.raises(ValueError, match="AttachUserData has a parameter that JSON has no words for"):
        Operation.attach_user_data(ID, {"key": value})


def test_unchecked() -> None:
    """An operation that was written down is what it was; whether it can be sent, a check says."""
    assert Operation.unchecked("SendMessage", ID, {"text": "hello"}) == Operation.send_message(ID, "hello")
    unknown = Operation.unchecked("Wave", ID, {"with": "a hand"})
    with pytest.raises(ValueError, match="there is no operation 'Wave'"):
        unknown.check()

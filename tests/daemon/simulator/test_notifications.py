"""fbsessiond.simulator.notifications: each in the shape of its sample."""

import json
from pathlib import Path
from typing import Any

import pytest

from fbsessiond.notification import MessagesNotification, SessionNotification, read
from fbsessiond.simulator.customers import Customer
from fbsessiond.simulator.interaction import Interaction, Participant
from fbsessiond.simulator.notifications import (
    Change,
    Spelling,
    captured,
    changed,
    history,
    new_messages,
    plain,
    pushed_url,
)
from fbsessiond.simulator.states import State
from fbsessiond.testing import EPOCH
from simulator_parts import ADA, as_message

FIXTURES = Path(__file__).parents[2] / "fixtures"
AGENT = Participant("00731", "Agent", "First", "/users/abc")


def interaction(customer: Customer = ADA) -> Interaction:
    """Return a chat with one message of each kind."""
    one = Interaction("0002SaTEST000001", "http://gws.invalid", customer, {}, EPOCH)
    one.states["agent1"] = State.CHATTING
    one.participants["agent1"] = AGENT
    one.add("Text", AGENT, EPOCH, text="Hello")
    one.add("PushUrl", AGENT, EPOCH, url="http://page.invalid/")
    return one


def sample(name: str) -> dict[str, Any]:
    """Return a sample's data."""
    found: dict[str, Any] = json.loads((FIXTURES / name).read_text())["data"]
    return found


@pytest.mark.parametrize(
    ("name", "spelling", "index"),
    [
        ("documented/send-message-new-messages.json", plain, 0),
        ("captured/send-to-agents-new-messages.json", captured, 0),
        ("documented/send-url-new-messages.json", pushed_url, 1),
    ],
)
def test_new_messages_have_the_keys_of_their_sample(name: str, spelling: Spelling, index: int) -> None:
    """Keys of the notification, of the message and of its sender are the sample's, each with the same type."""
    one = interaction()
    data = new_messages(one, "agent1", [one.log[index]], spelling).data
    expected = sample(name)
    assert data.keys() == expected.keys()
    assert data["messageType"] == expected["messageType"]
    message, expected_message = data["messages"][0], expected["messages"][0]
    assert message["from"].keys() == expected_message["from"].keys()
    assert {key: type(value) for key, value in message.items()} == {
        key: type(value) for key, value in expected_message.items()
    }


def test_history_has_the_time_of_the_page_of_accept() -> None:
    """Messages from before joining have a T in their date, and no second spelling of it."""
    one = interaction()
    message = new_messages(one, "agent1", one.log, history).data["messages"][0]
    assert message["timestamp"] == "2026-01-01T00:00:00.000+0000"
    assert "timestampSeconds" not in message


def test_timestamp_seconds_are_milliseconds() -> None:
    """Both spellings of a time name the same one."""
    one = interaction()
    notification = read(as_message(new_messages(one, "agent1", one.log, plain).data))[0]
    assert isinstance(notification, MessagesNotification)
    assert notification.session_id == one.id
    assert {message.at for message in notification.messages} == {EPOCH}
    assert notification.messages[0].timestamp_seconds == 1767225600000


def test_changes_have_the_keys_of_their_sample() -> None:
    """A referenceId is there where the operation's sample has one."""
    one = interaction()
    documented = sample("documented/chatting.json")
    data = changed(Change.STATUS, one, "agent1", one.brief("agent1"), reference=17).data
    assert data.keys() == documented.keys()
    assert data["facebooksession"].keys() == documented["facebooksession"].keys()
    assert changed(Change.STATUS, one, "agent1").data.keys() == sample("documented/leave-leftchat.json").keys()


def test_changes_are_read_as_what_they_are() -> None:
    """The daemon's own model understands each type."""
    one = interaction()
    for change in Change:
        notification = read(as_message(changed(change, one, "agent1", errorMessage="It failed.").data))[0]
        assert isinstance(notification, SessionNotification)
        assert notification.notification_type == change.value
        assert notification.is_error == (change is Change.ERROR)
        assert notification.session_id == one.id

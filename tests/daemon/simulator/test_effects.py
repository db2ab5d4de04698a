"""fbsessiond.simulator.effects: what each operation does, and what it tells whom."""

import json
from pathlib import Path
from typing import Any

import pytest

from fbsessiond.notification import read
from fbsessiond.simulator.effects import EFFECTS, Told
from fbsessiond.simulator.operations import OPERATIONS
from fbsessiond.simulator.states import State
from simulator_parts import Floor, as_message

FIXTURES = Path(__file__).parents[2] / "fixtures"


def types(told: Told, agent: str = "agent1") -> list[str]:
    """Return the types of what an agent is told, and check that each can be read as a notification of a session."""
    for notification in told:
        (found,) = read(as_message(notification.data))
        assert found.session_id == notification.session
    return [notification.data["notificationType"] for notification in told if notification.agent == agent]


def sessions(told: Told, agent: str = "agent1") -> list[dict[str, Any]]:
    """Return the sessions in what an agent is told."""
    return [each.data["facebooksession"] for each in told if each.agent == agent and "facebooksession" in each.data]


def sample(name: str) -> dict[str, Any]:
    """Return a sample's data."""
    found: dict[str, Any] = json.loads((FIXTURES / name).read_text())["data"]
    return found


def messages(told: Told, agent: str = "agent1") -> list[dict[str, Any]]:
    """Return the messages that an agent is told of."""
    return [message for each in told if each.agent == agent for message in each.data.get("messages", ())]


def test_every_operation_has_an_effect() -> None:
    """The tables of operations and effects name the same ones."""
    assert EFFECTS.keys() == OPERATIONS.keys()


def test_accept_tells_three_things() -> None:
    """StatusChange without participants, then the participants, then what was said before."""
    floor = Floor()
    told = floor.do(floor.invited(), "Accept", nickname="First")
    assert types(told) == ["StatusChange", "ParticipantsUpdated", "NewMessages"]
    first, second = sessions(told)
    assert (first["state"], first["participants"]) == ("Chatting", [])
    assert [each["nickname"] for each in second["participants"]] == ["First", "AdaQuill"]
    assert [each["type"] for each in messages(told)] == ["ParticipantJoined", "Text", "ParticipantJoined"]
    assert told[0].data.keys() == sample("documented/chatting.json").keys()
    assert told[1].data.keys() == sample("documented/participants-updated-after-accept.json").keys()


def test_reject_completes_and_the_interaction_waits_again() -> None:
    """One notification, in the shape of the documented one."""
    floor = Floor()
    session = floor.invited()
    told = floor.do(session, "Reject")
    (finished,) = sessions(told)
    assert told[0].data.keys() == sample("documented/reject-completed.json").keys()
    assert finished.keys() == sample("documented/reject-completed.json")["facebooksession"].keys()
    assert finished["state"] == "Completed"
    assert floor.platform.waiting(session) == 1


def test_leave_alone_leads_to_left_chat() -> None:
    """The notification has no referenceId, and only the customer is left."""
    floor = Floor()
    told = floor.do(floor.chatting(), "Leave")
    expected = sample("documented/leave-leftchat.json")
    (left,) = sessions(told)
    assert told[0].data.keys() == expected.keys()
    assert left["state"] == "LeftChat"
    assert left["capabilities"] == expected["facebooksession"]["capabilities"]
    assert [each["type"] for each in left["participants"]] == ["Customer"]


def test_leave_in_a_conference_completes() -> None:
    """The others hear that one has left, and go on."""
    floor = Floor()
    session = floor.chatting("agent1", "agent2")
    told = floor.do(session, "Leave")
    assert [each["state"] for each in sessions(told)] == ["Completed"]
    assert types(told, "agent2") == ["ParticipantsUpdated", "NewMessages"]
    assert messages(told, "agent2")[0]["type"] == "ParticipantLeft"
    assert floor.platform.state("agent2", session) is State.CHATTING


def test_complete_ends_a_session_that_was_left() -> None:
    """The documented head has referenceId, comment and userData."""
    floor = Floor()
    session = floor.left()
    floor.do(session, "AddComment", comment="Kind")
    (completed,) = floor.do(session, "Complete")
    assert completed.data["referenceId"]
    assert completed.data["notificationType"] == "StatusChange"
    assert completed.data["facebooksession"]["state"] == "Completed"
    assert completed.data["facebooksession"]["comment"] == "Kind"
    assert floor.platform.state("agent1", session) is None


def test_complete_in_a_conference_leaves_the_other_there() -> None:
    """The other hears of it."""
    floor = Floor()
    session = floor.chatting("agent1", "agent2")
    told = floor.do(session, "Complete")
    assert types(told, "agent2") == ["ParticipantsUpdated"]
    assert floor.platform.state("agent2", session) is State.CHATTING


def test_complete_with_a_queue_puts_it_there() -> None:
    """The interaction waits to be offered again."""
    floor = Floor()
    session = floor.left()
    floor.do(session, "Complete", queueName="Later")
    assert floor.platform.waiting(session) == 1


def test_transfer_to_an_agent_invites_him() -> None:
    """The one's session is completed, with a referenceId; the other's begins."""
    floor = Floor()
    told = floor.do(floor.chatting(), "Transfer", targetUri=f"/users/{floor.platform.user_id('agent2')}")
    assert told[0].data.keys() == sample("synthetic/transfer-completed.json").keys()
    assert sessions(told)[0]["state"] == "Completed"
    assert sessions(told, "agent2")[0]["state"] == "Invited"


def test_transfer_to_a_queue_lets_it_wait() -> None:
    """Nobody is invited yet."""
    floor = Floor()
    session = floor.chatting()
    told = floor.do(session, "Transfer", targetPath="/queues/41cc")
    assert len(told) == 1
    assert floor.platform.waiting(session) == 1


def test_transfer_out_of_a_conference() -> None:
    """Who stays hears of it."""
    floor = Floor(("agent1", "agent2", "agent3"))
    told = floor.do(floor.chatting("agent1", "agent2"), "Transfer", targetUri="/users/agent3")
    assert types(told, "agent2") == ["ParticipantsUpdated"]
    assert types(told, "agent3") == ["StatusChange"]


def test_consult_tells_two_things() -> None:
    """The participants at once, and once more when the other has accepted."""
    floor = Floor()
    session = floor.chatting()
    first = floor.do(session, "Consult", targetUri="/users/agent2")
    assert types(first) == ["ParticipantsUpdated"]
    assert types(first, "agent2") == ["StatusChange"]
    second = floor.do(session, "Accept", "agent2", nickname="Second")
    assert types(second) == ["ParticipantsUpdated", "NewMessages"]
    assert [each["nickname"] for each in sessions(second)[0]["participants"]] == ["First", "Second", "AdaQuill"]


def test_removal_is_noticed_by_both() -> None:
    """A notice as it was captured, then the participants for the one, and the end for the other."""
    floor = Floor()
    session = floor.chatting("agent1", "agent2")
    told = floor.do(session, "RemoveParticipantFromConference", targetUri="/users/agent2")
    assert types(told) == ["NewMessages", "ParticipantsUpdated"]
    assert types(told, "agent2") == ["NewMessages", "StatusChange"]
    notice = sample("captured/remove-participant-notice.json")["messages"][0]
    assert messages(told)[0].keys() == notice.keys()
    assert messages(told)[0]["visibility"] == "Agents"
    removed = floor.platform.user_id("agent2")
    assert messages(told)[0]["text"] == f"REMOVE_PARTICIPANT_FROM_CONFERENCE{removed}"
    assert sessions(told, "agent2")[0]["state"] == "Completed"


def test_comment_has_the_keys_of_its_sample() -> None:
    """PropertiesUpdated with the few keys, and the comment."""
    floor = Floor()
    (told,) = floor.do(floor.chatting(), "AddComment", comment="Kind")
    expected = sample("documented/add-comment-properties-updated.json")
    assert told.data.keys() == expected.keys()
    assert told.data["facebooksession"].keys() == expected["facebooksession"].keys()
    assert told.data["facebooksession"]["comment"] == "Kind"


@pytest.mark.parametrize(("key", "given"), [("DISP_KEY", {}), ("Code", {"dispositionKey": "Code"})])
def test_disposition_is_a_key_of_the_user_data(key: str, given: dict[str, str]) -> None:
    """The server's own key, unless the request names another."""
    floor = Floor()
    (told,) = floor.do(floor.left(), "SetDisposition", disposition="resolved", **given)
    assert told.data["notificationType"] == "PropertiesUpdated"
    assert told.data["referenceId"]
    assert told.data["facebooksession"]["userData"][key] == "resolved"


def test_user_data_is_added_changed_and_deleted() -> None:
    """Other keys stay as they are."""
    floor = Floor()
    session = floor.left()
    floor.do(session, "AttachUserData", userData={"A": 1, "B": 2})
    floor.do(session, "UpdateUserData", userData={"B": 3})
    (told,) = floor.do(session, "DeleteUserData", keys=["A", "Never"])
    data = told.data["facebooksession"]["userData"]
    assert told.data["notificationType"] == "PropertiesUpdated"
    assert (data["B"], data["FirstName"]) == (3, "Ada")
    assert "A" not in data


def test_focus_tells_nothing() -> None:
    """No notification of it is known."""
    floor = Floor()
    assert floor.do(floor.left(), "SetInFocus") == []


@pytest.mark.parametrize(
    ("operation", "parameters", "name", "kind", "visibility"),
    [
        ("SendMessage", {"text": "Hi"}, "documented/send-message-new-messages.json", "Text", "All"),
        ("SendToAgents", {"text": "Hi"}, "captured/send-to-agents-new-messages.json", "Text", "Agents"),
        ("SendUrl", {"url": "http://page.invalid/"}, "documented/send-url-new-messages.json", "PushUrl", "All"),
    ],
)
def test_messages_have_the_keys_of_their_sample(
    operation: str, parameters: dict[str, str], name: str, kind: str, visibility: str
) -> None:
    """Each spelling of a message's session is the one of its page, and all agents in the chat hear it."""
    floor = Floor()
    told = floor.do(floor.chatting("agent1", "agent2"), operation, **parameters)
    assert {each.agent for each in told} == {"agent1", "agent2"}
    assert told[0].data.keys() == sample(name).keys()
    assert (messages(told)[0]["type"], messages(told)[0]["visibility"]) == (kind, visibility)
    assert types(told) == ["NewMessages"]


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("SendStartTypingNotification", "TypingStarted"), ("SendStopTypingNotification", "TypingStopped")],
)
def test_typing_is_a_message_without_text(operation: str, kind: str) -> None:
    """It says who types."""
    floor = Floor()
    (message,) = messages(floor.do(floor.chatting(), operation))
    assert (message["type"], message["from"]["type"]) == (kind, "Agent")
    assert "text" not in message


def test_invitation_shows_all_that_is_known() -> None:
    """The agent sees who writes, and may accept or reject."""
    floor = Floor()
    (told,) = floor.platform.invite("agent1", floor.platform.arrive())
    assert told.data["facebooksession"]["capabilities"] == ["Accept", "Reject"]
    assert told.data["facebooksession"]["userData"]["_facebookItxType"] == "10"
    assert "referenceId" not in told.data


def test_revocation_ends_an_invitation() -> None:
    """The interaction waits again, unless somebody chats already."""
    floor = Floor()
    session = floor.invited()
    told = floor.platform.revoke("agent1", session)
    assert told[0].data.keys() == sample("synthetic/revoked.json").keys()
    assert sessions(told)[0]["state"] == "Revoked"
    assert floor.platform.waiting(session) == 1
    session = floor.chatting()
    floor.do(session, "Consult", targetUri="/users/agent2")
    assert types(floor.platform.revoke("agent2", session), "agent2") == ["StatusChange"]
    assert floor.platform.waiting(session) is None


def test_customers_write_and_leave() -> None:
    """Every agent in the chat hears of it."""
    floor = Floor()
    session = floor.chatting("agent1", "agent2")
    told = floor.platform.customer_writes(session, "Oh")
    assert [each["text"] for each in messages(told, "agent2")] == ["Oh"]
    told = floor.platform.customer_leaves(session)
    assert types(told) == ["NewMessages", "ParticipantsUpdated"]
    assert {each["type"] for each in sessions(told)[0]["participants"]} == {"Agent"}

"""fbsessiond.simulator.interaction: one conversation, and its documents."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from fbsessiond.dates import parse_date
from fbsessiond.session import session_from
from fbsessiond.simulator.interaction import CUSTOMER, Interaction, Participant, platform_date
from fbsessiond.simulator.states import State
from fbsessiond.testing import EPOCH
from simulator_parts import ADA

DOCUMENTED = Path(__file__).parents[2] / "fixtures/documented"
AGENT = Participant("00731", "Agent", "First", "/users/abc")
WHO = Participant("00732", "Customer", "AdaQuill")


def interaction(state: State = State.CHATTING) -> Interaction:
    """Return an interaction that agent1 has a session of."""
    one = Interaction("0002SaTEST000001", "http://gws.invalid", ADA, {"FirstName": "Ada"}, EPOCH, comment="Kind")
    one.states["agent1"] = state
    one.participants = {CUSTOMER: WHO, "agent1": AGENT}
    one.waiting = False
    return one


def documented(name: str) -> dict[str, Any]:
    """Return the session of a documented sample."""
    found: dict[str, Any] = json.loads((DOCUMENTED / name).read_text())["data"]["facebooksession"]
    return found


def test_full_document_has_the_keys_of_leave() -> None:
    """All keys of the documented sample, and no other."""
    one = interaction(State.LEFT_CHAT)
    del one.participants["agent1"]
    sample = documented("leave-leftchat.json")
    document = one.full("agent1")
    assert document.keys() == sample.keys()
    assert document["participants"][0].keys() == sample["participants"][0].keys()
    assert session_from(document, "agent1").received_at == EPOCH


def test_brief_document_has_the_keys_of_accept() -> None:
    """The documented samples of chats have five keys, and three for each participant, the agents first."""
    sample = documented("participants-updated-after-accept.json")
    document = interaction().brief("agent1")
    assert document.keys() == sample.keys()
    assert [each["type"] for each in document["participants"]] == [each["type"] for each in sample["participants"]]
    assert document["participants"][0].keys() == sample["participants"][0].keys()


def test_a_finished_session_has_neither_capabilities_nor_participants() -> None:
    """The documented sample of Reject has no such key, and an empty list."""
    one = interaction(State.COMPLETED)
    assert one.brief("agent1").keys() == documented("reject-completed.json").keys()
    assert "capabilities" not in one.full("agent1")
    assert one.full("agent1")["participants"] == []


def test_a_session_without_a_comment_has_no_such_key() -> None:
    """The comment is there when somebody wrote one."""
    one = interaction()
    one.comment = None
    assert "comment" not in one.full("agent1")


def test_an_agent_has_an_address() -> None:
    """Agents have uri and path among the participants, customers don't."""
    agent, customer = interaction().full("agent1")["participants"]
    assert agent["uri"] == "http://gws.invalid/api/v2/users/abc"
    assert agent["path"] == "/users/abc"
    assert "uri" not in customer


def test_it_is_over_when_nobody_has_to_do_with_it() -> None:
    """While it waits, or an agent's session isn't finished, it isn't over."""
    one = interaction()
    assert not one.is_over
    one.states["agent1"] = State.COMPLETED
    assert one.is_over
    one.waiting = True
    assert not one.is_over


def test_a_conference_has_two_agents() -> None:
    """Another agent who chats makes it a conference, one who is only invited doesn't."""
    one = interaction()
    one.states["agent2"] = State.INVITED
    assert not one.in_conference
    one.states["agent2"] = State.CHATTING
    assert one.in_conference
    assert one.chatting == ["agent1", "agent2"]


def test_messages_are_numbered_from_one() -> None:
    """Each message has the next index, and content by its type."""
    one = interaction()
    one.add("ParticipantJoined", WHO, EPOCH)
    entry = one.add("Text", WHO, EPOCH, text="Hello", visibility="Agents")
    assert (entry.index, entry.content, entry.visibility) == (2, {"text": "Hello"}, "Agents")
    assert len(one.log) == 2


def test_dates_are_spelled_as_the_platform_does() -> None:
    """A blank, or a T, milliseconds and an offset without a colon."""
    at = datetime(2015, 7, 16, 10, 22, 5, 7_000, timezone(timedelta(hours=3)))
    assert platform_date(at) == "2015-07-16 10:22:05.007+0300"
    assert platform_date(at, "T") == "2015-07-16T10:22:05.007+0300"
    assert parse_date(platform_date(at)) == at

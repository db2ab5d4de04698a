import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fbsessiond.session import Session, session_from

FIXTURES = Path(__file__).parents[1] / "fixtures"


def fixture(name: str) -> dict[str, Any]:
    """Return a sample's own part on its session."""
    document: dict[str, Any] = json.loads((FIXTURES / name).read_bytes())["data"]["facebooksession"]
    return document


def test_documented_session() -> None:
    """A documented session shows all that the platform says of it, under our own names."""
    document = fixture("documented/leave-leftchat.json")
    session = session_from(document, "agent1")
    assert session.id == "0002DaAVKJ0V0095"
    assert session.agent == "agent1"
    assert session.state == "LeftChat"
    assert session.capabilities == set(document["capabilities"])
    assert [participant.nickname for participant in session.participants.values()] == ["VitaliyOnv"]
    assert session.comment == "Iamcrazyaboutmytest"
    assert session.type == "Inbound"
    assert session.received_date == "2015-09-0215:39:22.000+0300"


def test_bare_session() -> None:
    """A session of which only the id and the state are known is empty in all else."""
    assert session_from({"id": "S1", "state": "Invited"}, "agent1") == Session(id="S1", agent="agent1", state="Invited")


def test_state_without_blanks() -> None:
    """The blanks that some media put around a state aren't part of it."""
    assert session_from({"id": "S1", "state": " Chatting"}, "agent1").state == "Chatting"


def test_unknown_state() -> None:
    """A session whose state was never said has an empty one."""
    assert session_from({"id": "S1"}, "agent1").state == ""


def test_user_data() -> None:
    """Attached data stays as sent: numbers, nulls and nested objects aren't converted."""
    user_data = {"PegAGSocialMediaAgentGroup": 1, "RRequestedSkills": None, "WWE_PARTY_1003": {"path": ["/users/1"]}}
    assert session_from({"id": "S1", "state": "Chatting", "userData": user_data}, "agent1").user_data == user_data


def test_same_person_twice() -> None:
    """Somebody who takes part twice is there twice: participants are kept by participantId, not by nickname."""
    participants = [
        {"nickname": "TestName", "type": "Agent", "participantId": "009052CB05C900EA"},
        {"nickname": "FirstL", "type": "Customer", "participantId": "009052CB056C00E5"},
        {"nickname": "TestName", "type": "Agent", "participantId": "009052CB057100E7"},
    ]
    session = session_from({"id": "S1", "state": "Chatting", "participants": participants}, "agent1")
    assert {key: participant.nickname for key, participant in session.participants.items()} == {
        "009052CB05C900EA": "TestName",
        "009052CB056C00E5": "FirstL",
        "009052CB057100E7": "TestName",
    }


def test_other_keys() -> None:
    """Keys that have no field of their own are kept among the others, as sent."""
    document = {"id": "S1", "state": "Chatting", "suggestedQueueUris": ["http://queue"], "brandNew": {"a": None}}
    assert session_from(document, "agent1").others == {
        "suggestedQueueUris": ["http://queue"],
        "brandNew": {"a": None},
    }


@pytest.mark.parametrize(
    ("received_date", "received_at"),
    [
        ("2015-09-0215:39:22.000+0300", datetime(2015, 9, 2, 12, 39, 22, tzinfo=UTC)),
        ("the other day", None),
        (None, None),
    ],
)
def test_received_at(received_date: str | None, received_at: datetime | None) -> None:
    """The date of receipt is a point in time where its spelling is known; its text is kept in any case."""
    session = session_from({"id": "S1", "state": "Chatting", "receivedDate": received_date}, "agent1")
    assert session.received_at == received_at
    assert session.received_date == received_date


@pytest.mark.parametrize(
    ("state", "is_finished"),
    [
        ("Completed", True),
        ("Revoked", True),
        ("Invited", False),
        ("Chatting", False),
        ("LeftChat", False),
        ("Vanished", False),
        ("BrandNew", False),
    ],
)
def test_is_finished(state: str, is_finished: bool) -> None:
    """A session is finished in a terminal state; one that is left, gone, or in a state nobody knows, isn't."""
    assert session_from({"id": "S1", "state": state}, "agent1").is_finished is is_finished


def test_fixed() -> None:
    """What handlers share can't be changed by one of them."""
    session = session_from({"id": "S1", "state": "Chatting"}, "agent1")
    with pytest.raises(ValidationError, match="frozen"):
        session.state = "Completed"  # pyright: ignore[reportAttributeAccessIssue]


def test_unfit_document() -> None:
    """A document that no notification brought is refused."""
    with pytest.raises(ValidationError):
        session_from({"state": "Chatting"}, "agent1")

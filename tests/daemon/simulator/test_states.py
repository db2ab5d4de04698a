"""fbsessiond.simulator.states: what GWS allows in each state."""

import json
from pathlib import Path

import pytest

from fbsessiond.simulator.operations import OPERATIONS
from fbsessiond.simulator.states import CAPABILITIES, State, allows, capabilities

DOCUMENTED = Path(__file__).parents[2] / "fixtures/documented"


def documented(name: str) -> list[str]:
    """Return the capabilities of a documented sample."""
    found: list[str] = json.loads((DOCUMENTED / name).read_text())["data"]["facebooksession"]["capabilities"]
    return found


def test_capabilities_after_leaving_are_the_documented_ones() -> None:
    """A session that was left allows what the page of Leave shows, in its order."""
    assert capabilities(State.LEFT_CHAT, conference=False) == documented("leave-leftchat.json")


def test_capabilities_of_a_chat_begin_with_the_documented_ones() -> None:
    """A chat allows what the samples show; InFocus is spelled SetInFocus as on the newer page."""
    shown = ["SetInFocus" if name == "InFocus" else name for name in documented("chatting.json")]
    assert capabilities(State.CHATTING, conference=False)[: len(shown)] == shown


@pytest.mark.parametrize("state", [State.COMPLETED, State.REVOKED])
def test_a_finished_session_allows_nothing(state: State) -> None:
    """No operation is valid after the end."""
    assert not any(allows(state, operation, conference=True) for operation in OPERATIONS)


def test_a_conference_allows_more() -> None:
    """Only a chat with another agent has somebody to be removed."""
    removal = "RemoveParticipantFromConference"
    assert removal in capabilities(State.CHATTING, conference=True)
    assert not allows(State.CHATTING, removal, conference=False)
    assert not allows(State.LEFT_CHAT, removal, conference=True)


def test_operations_that_no_capability_names_are_allowed() -> None:
    """Comments and addresses can be sent although capabilities don't say so."""
    assert allows(State.CHATTING, "SendUrl", conference=False)
    assert allows(State.LEFT_CHAT, "AddComment", conference=False)
    assert not allows(State.LEFT_CHAT, "SendUrl", conference=False)
    assert not allows(State.INVITED, "AddComment", conference=False)


def test_every_operation_is_valid_in_some_state() -> None:
    """The tables of states and operations name the same operations."""
    named = {name for state in State for name in OPERATIONS if allows(state, name, conference=True)}
    assert named == set(OPERATIONS)
    assert {name for names in CAPABILITIES.values() for name in names} <= set(OPERATIONS)

"""fbsessiond.simulator.platform: agents, sessions, operations, and a count of each effect."""

from typing import Any

import pytest

from fbsessiond.simulator.happening import What
from fbsessiond.simulator.operations import Refusal, StatusCode
from fbsessiond.simulator.platform import Applied
from fbsessiond.simulator.states import State
from simulator_parts import Floor


def refusal(floor: Floor, session: str, operation: str, agent: str = "agent1", **parameters: Any) -> StatusCode:
    """Return why an operation isn't taken."""
    outcome = floor.platform.request(agent, session, {"operationName": operation, **parameters})
    assert isinstance(outcome, Refusal)
    return outcome.status


def test_an_interaction_waits_until_it_is_offered() -> None:
    """Before that no agent has a session of it."""
    floor = Floor()
    session = floor.platform.arrive()
    assert floor.platform.waiting(session) == 0
    assert floor.platform.state("agent1", session) is None
    floor.platform.invite("agent1", session)
    assert floor.platform.waiting(session) is None
    assert floor.platform.state("agent1", session) is State.INVITED
    assert [each.what for each in floor.happenings] == [What.WAITING, What.INVITED]


def test_ids_are_like_the_samples() -> None:
    """16 letters and digits for a session, 16 hexadecimal digits for a participant, none of them twice."""
    floor = Floor()
    sessions = [floor.chatting() for _ in range(40)]
    assert len(set(sessions)) == 40
    assert all(len(session) == 16 and session.isalnum() for session in sessions)
    floor.clock.seconds = 1.0
    assert floor.chatting()[:12] != sessions[0][:12]
    participants = [
        each["participantId"] for session in floor.platform.sessions("agent1") for each in session["participants"]
    ]
    assert len(set(participants)) == 82
    assert all(len(bytes.fromhex(participant)) == 8 for participant in participants)


def test_a_request_changes_nothing_yet() -> None:
    """The effect comes with carrying it out, and is counted then."""
    floor = Floor()
    session = floor.chatting()
    order = floor.order(session, "Leave")
    assert floor.platform.state("agent1", session) is State.CHATTING
    assert floor.platform.count(session, "Leave") == 0
    floor.platform.carry_out(order)
    assert floor.platform.state("agent1", session) is State.LEFT_CHAT
    assert floor.platform.count(session, "Leave") == 1
    assert floor.heard(What.ACCEPTED)[-1].details == {"operation": "Leave", "by": "http"}
    assert floor.heard(What.EFFECT)[-1].details == {"operation": "Leave", "by": "http", "state": "LeftChat"}


def test_an_order_that_became_invalid_fails_with_an_error() -> None:
    """The second of two that were both accepted has no effect."""
    floor = Floor()
    session = floor.left()
    orders = [floor.order(session, "Complete") for _ in range(2)]
    assert [each.data["notificationType"] for each in floor.platform.carry_out(orders[0])] == ["StatusChange"]
    (error,) = floor.platform.carry_out(orders[1])
    assert error.data["notificationType"] == "Error"
    assert error.data["errorMessage"] == "Complete failed."
    assert error.data["referenceId"] == orders[1].reference
    assert floor.platform.count(session, "Complete") == 1
    assert len(floor.heard(What.FAILED)) == 1


def test_effects_are_counted_by_who_caused_them() -> None:
    """What an agent does at the desk isn't mixed with what a client asks for."""
    floor = Floor()
    session = floor.left()
    floor.do(session, "SetInFocus")
    order = floor.platform.request("agent1", session, {"operationName": "SetInFocus"}, by="desktop")
    assert not isinstance(order, Refusal)
    floor.platform.carry_out(order)
    floor.do(session, "SetInFocus")
    assert floor.platform.count(session, "SetInFocus") == 3
    assert floor.platform.count(session, "SetInFocus", by="http") == 2
    assert floor.platform.count(session, "SetInFocus", by="desktop") == 1
    assert floor.platform.effects[Applied("agent1", session, "SetInFocus", "http")] == 2


def test_what_is_not_valid_in_a_state_is_refused() -> None:
    """Status code 2, and a word about it."""
    floor = Floor()
    assert refusal(floor, floor.invited(), "Leave") is StatusCode.INVALID_IN_STATE
    assert refusal(floor, floor.left(), "Leave") is StatusCode.INVALID_IN_STATE
    assert floor.heard(What.REFUSED)[-1].details == {
        "operation": "Leave",
        "by": "http",
        "status_code": 2,
        "because": "Leave is not valid in state LeftChat",
    }


def test_parameters_are_checked_first() -> None:
    """Status code 1, even for a session that isn't there."""
    assert refusal(Floor(), "never", "SendMessage") is StatusCode.MISSING_PARAMETER


def test_a_session_that_is_not_the_agents_is_not_found() -> None:
    """Neither another agent's, nor one that is over, nor one that never was."""
    floor = Floor()
    session = floor.chatting()
    assert refusal(floor, session, "Leave", "agent2") is StatusCode.NOT_FOUND
    assert refusal(floor, "never", "Leave") is StatusCode.NOT_FOUND
    floor.do(session, "Complete")
    assert refusal(floor, session, "Complete") is StatusCode.NOT_FOUND


@pytest.mark.parametrize("operation", ["Consult", "Transfer", "RemoveParticipantFromConference"])
def test_a_target_that_is_nobody_is_not_found(operation: str) -> None:
    """Status code 6 for a user whom nobody knows."""
    floor = Floor()
    session = floor.chatting("agent1", "agent2")
    assert refusal(floor, session, operation, targetUri="/users/nobody") is StatusCode.NOT_FOUND


def test_a_queue_cannot_be_consulted() -> None:
    """Only Transfer takes a queue here."""
    floor = Floor()
    assert refusal(floor, floor.chatting(), "Consult", targetPath="/queues/1") is StatusCode.NOT_FOUND


def test_an_agent_who_is_there_already_is_no_target() -> None:
    """Neither oneself nor the other in the conference can be asked in."""
    floor = Floor()
    session = floor.chatting("agent1", "agent2")
    for agent in ("agent1", "agent2"):
        assert refusal(floor, session, "Consult", targetUri=f"/users/{agent}") is StatusCode.INVALID_IN_STATE
        assert refusal(floor, session, "Transfer", targetUri=f"/users/{agent}") is StatusCode.INVALID_IN_STATE


def test_only_another_in_the_conference_can_be_removed() -> None:
    """Neither oneself, nor somebody who isn't in the chat."""
    floor = Floor(("agent1", "agent2", "agent3"))
    session = floor.chatting("agent1", "agent2")
    for agent in ("agent1", "agent3"):
        outcome = refusal(floor, session, "RemoveParticipantFromConference", targetUri=f"/users/{agent}")
        assert outcome is StatusCode.INVALID_IN_STATE


def test_a_transfer_is_heard_as_an_invitation() -> None:
    """Whoever plays the other agent learns of it."""
    floor = Floor()
    session = floor.chatting()
    floor.do(session, "Transfer", targetUri="/users/agent2")
    assert [(each.agent, each.session) for each in floor.heard(What.INVITED)][-1] == ("agent2", session)


def test_what_is_put_back_waits_again() -> None:
    """That is told once, each time."""
    floor = Floor()
    session = floor.invited()
    floor.do(session, "Reject")
    floor.platform.invite("agent1", session)
    floor.platform.revoke("agent1", session)
    assert len(floor.heard(What.WAITING)) == 3
    assert floor.platform.waiting(session) == 2


def test_a_finished_session_begins_a_new_life_under_its_id() -> None:
    """After Reject the same agent can be invited to the same interaction."""
    floor = Floor()
    session = floor.invited()
    floor.do(session, "Reject")
    floor.platform.invite("agent1", session)
    assert floor.platform.state("agent1", session) is State.INVITED


def test_only_an_open_invitation_is_revoked() -> None:
    """Once it is answered there is nothing to take back."""
    floor = Floor()
    assert floor.platform.revoke("agent1", floor.chatting()) == []
    assert floor.platform.revoke("agent1", "never") == []


def test_a_customer_gives_up() -> None:
    """An interaction that nobody took is forgotten."""
    floor = Floor()
    session = floor.platform.arrive()
    floor.platform.abandon(session)
    assert floor.platform.waiting(session) is None
    assert floor.heard(What.ABANDONED)[0].session == session


def test_nobody_hears_a_customer_without_a_chat() -> None:
    """While nobody chats, after leaving, and after the end, nothing is told."""
    floor = Floor()
    session = floor.chatting()
    floor.platform.customer_leaves(session)
    for silent in (floor.invited(), floor.left(), session, "never"):
        assert floor.platform.customer_writes(silent, "Oh") == []
        assert floor.platform.customer_leaves(silent) == []


def test_sessions_are_those_that_are_not_finished() -> None:
    """Each agent sees his own."""
    floor = Floor()
    chatting, left, invited = floor.chatting(), floor.left(), floor.invited("agent2")
    floor.do(floor.chatting(), "Complete")
    assert floor.platform.open_sessions("agent1") == [chatting, left]
    assert [each["state"] for each in floor.platform.sessions("agent1")] == ["Chatting", "LeftChat"]
    assert floor.platform.open_sessions("agent2") == [invited]


def test_in_a_conference_each_agent_has_a_session_of_his_own() -> None:
    """When the one has left, the other's goes on, and the interaction ends with it."""
    floor = Floor()
    session = floor.chatting("agent1", "agent2")
    floor.do(session, "Leave")
    assert floor.platform.open_sessions("agent1") == []
    assert floor.platform.open_sessions("agent2") == [session]
    floor.do(session, "Complete", "agent2")
    assert floor.platform.state("agent2", session) is None

"""The life of a session at one agent: its states, and what GWS allows in each.

    Invited ──Accept──► Chatting ──Leave, alone──────────────► LeftChat ──Complete──► Completed
       │                    └─────Leave in a conference, Complete, Transfer, removed by another──►│
       ├──Reject─────────────────────────────────────────────────────────────────────────────────►│
       └──nobody answers──► Revoked

Where an interaction that isn't answered, is rejected, or is put into a queue, is offered anew, it keeps its id.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """A session's state at one agent."""

    INVITED = "Invited"
    CHATTING = "Chatting"
    LEFT_CHAT = "LeftChat"
    COMPLETED = "Completed"
    REVOKED = "Revoked"


FINISHED = frozenset({State.COMPLETED, State.REVOKED})
"""States in which the session is the agent's no longer: the list of sessions leaves it out."""

CAPABILITIES: Mapping[State, tuple[str, ...]] = {
    # No sample of a Facebook session has this state; Genesys' own clients look for `Accept` in it.
    State.INVITED: ("Accept", "Reject"),
    State.CHATTING: (
        # [GWS 8.5.2, FacebookPMMessageType], with SetInFocus, as in [Leave], for its older name InFocus
        *("Transfer", "Complete", "Leave", "SetInFocus", "SendMessage"),
        *("SendStartTypingNotification", "SendStopTypingNotification"),
        # what a sibling medium names besides [GWS 8.5.2, ChatInviteUser]
        *("Consult", "SendToAgents", "SetDisposition", "AttachUserData", "DeleteUserData", "UpdateUserData"),
    ),
    # [GWS 8.5.2, Leave]
    State.LEFT_CHAT: (
        *("SetInFocus", "Complete", "SetDisposition"),
        *("AttachUserData", "DeleteUserData", "UpdateUserData"),
    ),
    # A finished session has no such key at all. [GWS 8.5.2, Reject]
    State.COMPLETED: (),
    State.REVOKED: (),
}
"""What `capabilities` shows, in the order of the samples."""

UNNAMED: Mapping[State, frozenset[str]] = {
    # Both pages show the operation working in a session whose capabilities don't name it.
    State.CHATTING: frozenset({"AddComment", "SendUrl"}),  # [GWS 8.5.2, AddComment, SendUrl]
    State.LEFT_CHAT: frozenset({"AddComment"}),  # Genesys' mobile client lets the comment be edited after leaving
}
"""What is allowed although no sample's `capabilities` name it."""

IN_CONFERENCE = ("RemoveParticipantFromConference",)
"""What needs a second agent in the chat."""


def capabilities(state: State, *, conference: bool) -> list[str]:
    """Return what `capabilities` shows in a state."""
    return [*CAPABILITIES[state], *(IN_CONFERENCE if conference and state is State.CHATTING else ())]


def allows(state: State, operation: str, *, conference: bool) -> bool:
    """Say whether an operation is valid in a state."""
    return operation in capabilities(state, conference=conference) or operation in UNNAMED.get(state, ())

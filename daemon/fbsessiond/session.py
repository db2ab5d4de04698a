"""What we work with: a strict model of a session."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fbsessiond.dates import parse_date
from fbsessiond.notification import Document, Participant, SessionDocument

INVITED = "Invited"
TERMINAL_STATES = frozenset({"Completed", "Revoked"})
"""States after which nothing of the same life of a session follows: Genesys' own clients take them as finished."""

VANISHED = "Vanished"
"""Our own word: after a gap the agent's list doesn't have the session any more, and how it ended isn't known."""


class Session(BaseModel):
    """A Facebook private-messaging session, as last known: what all notifications up to here say of it together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    agent: str
    """Whose session it is: the name of the agent in the configuration."""
    state: str
    capabilities: frozenset[str] = frozenset()
    """The operations that GWS allows now."""
    participants: Mapping[str, Participant] = Field(default_factory=dict[str, Participant])
    """By `participantId`: one person can take part twice under one nickname. [GWS 8.5.2, ChatInviteUser]"""
    user_data: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    """Attached data, as sent: texts, numbers, nulls and nested objects, never converted."""
    comment: str | None = None
    type: str | None = None
    received_date: str | None = None
    """When the platform received the interaction, as it spells it."""
    others: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    """Every key that has no field of its own here, as sent."""

    @property
    def received_at(self) -> datetime | None:
        """When the platform received the interaction, in UTC; None where the spelling isn't known."""
        return parse_date(self.received_date) if self.received_date else None

    @property
    def is_finished(self) -> bool:
        """Whether the session is in a terminal state."""
        return self.state in TERMINAL_STATES


def session_from(document: Document, agent: str) -> Session:
    """Build the strict model from a session's merged document, which has a state.

    Raises pydantic's `ValidationError` where the document isn't one that `notification.read` let through.
    """
    seen = SessionDocument.model_validate(document)
    return Session.model_construct(  # what it is made of is validated
        id=seen.id,
        agent=agent,
        state=seen.state or "",
        capabilities=frozenset(seen.capabilities or ()),
        participants={participant.participant_id: participant for participant in seen.participants or ()},
        user_data=seen.user_data or {},
        comment=seen.comment,
        type=seen.facebooksession_type,
        received_date=seen.received_date,
        others=seen.model_extra or {},
    )

"""Follow-ups: what a handler asks for, and how far each has come."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from fbsessiond.operations import Operation

FollowUp: TypeAlias = Operation
"""An action that a handler asks for."""


class FollowUpState(StrEnum):
    """How far a follow-up has come."""

    INTENDED = "intended"
    SENT = "sent"
    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    OBSERVED = "observed"
    UNCONFIRMED = "unconfirmed"
    PARKED = "parked"
    FAILED = "failed"
    CAPTURED = "captured"
    """Asked for in a replay, which sends nothing."""
    WITHDRAWN = "withdrawn"
    """A step before it didn't succeed, or a person dropped it."""

    @property
    def is_open(self) -> bool:
        """Whether more is to come."""
        return self in {FollowUpState.INTENDED, FollowUpState.SENT, FollowUpState.ACCEPTED}

    @property
    def has_succeeded(self) -> bool:
        """Whether the next step may be taken."""
        return self in {
            FollowUpState.CONFIRMED,
            FollowUpState.OBSERVED,
            FollowUpState.UNCONFIRMED,
            FollowUpState.CAPTURED,
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation has come; what is on disk of it."""

    state: FollowUpState = FollowUpState.INTENDED
    attempts: int = 0
    """How often it was sent, or tried to."""
    sent_at: datetime | None = None
    """When it was sent; once GWS has taken it, when that was."""
    after: int = 0
    """The place in the session's notifications at which it was sent: what shows its effect comes later."""
    reference_id: int | None = None
    because: str | None = None
    again_at: datetime | None = None
    """When to go on; None: at once, or never where it has ended."""

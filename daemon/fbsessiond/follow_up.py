"""Follow-ups: what a handler asks for, and how far each has come."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

from fbsessiond.operations import Operation, Parameters


@dataclass(frozen=True, slots=True)
class Webhook:
    """A message of a handler's own, posted by an instance of the handler `webhook` in its turn among the follow-ups."""

    to: str
    """The instance's name in the configuration, which has its address and its secrets."""
    session: str
    """The id of the session that it is about."""
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What it says; what stands here leaves this machine."""

    name: ClassVar[str] = "Webhook"

    @property
    def parameters(self) -> Parameters:
        """What is written down of it."""
        return {"to": self.to, "data": dict(self.data)}

    def check(self) -> None:
        """Raise `ValueError` where it couldn't be written down."""
        try:
            json.dumps(self.parameters, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"a webhook's data should be JSON: {error}") from error

    def __post_init__(self) -> None:
        self.check()


FollowUp: TypeAlias = Operation | Webhook
"""An action that a handler asks for."""


def written(name: str, session: str, parameters: Parameters) -> FollowUp:
    """Return a follow-up that was written down, perhaps by another version: `check` says whether this one knows it."""
    if name == Webhook.name and isinstance(data := parameters.get("data"), Mapping):
        return Webhook(str(parameters.get("to")), session, data)
    return Operation.unchecked(name, session, parameters)


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

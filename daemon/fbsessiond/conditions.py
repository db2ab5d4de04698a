"""Which transitions a handler wants, and when: `on` in the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fbsessiond.durations import Duration
from fbsessiond.expression import ExpressionError, compiled
from fbsessiond.message import Origin
from fbsessiond.notification import Document


def _as_list(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise ValueError("should be a text or a list of texts")  # noqa: TRY004  pydantic takes a ValueError for the verdict
    return [value] if isinstance(value, str) else value


def _expression(text: str) -> str:
    return compiled(text).text


States: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_list, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
    Field(min_length=1),
]
"""A state or a list of states."""

Origins: TypeAlias = Annotated[
    tuple[Origin, ...],
    BeforeValidator(_as_list, json_schema_input_type=Origin | Annotated[list[Origin], Field(min_length=1)]),
    Field(min_length=1),
]
"""An origin or a list of origins."""

Pause: TypeAlias = Annotated[Duration, Field(gt=timedelta(0))]

Per: TypeAlias = Literal["session", "contact", "agent"]
"""What a throttle counts by."""


class Condition(BaseModel):
    """One table of `on`: all that it names has to be so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_states: States | None = Field(default=None, alias="from", examples=["Chatting"])
    """The state before, or a list; at a session's first sight there is none."""
    to: States | None = Field(default=None, examples=["LeftChat"])
    """The state after, or a list."""
    not_from: States | None = Field(default=None, examples=[["Invited"]])
    """No such state before."""
    not_to: States | None = Field(default=None, examples=[["Completed", "Revoked"]])
    """No such state after."""
    origin: Origins | None = Field(default=None, examples=["live"])
    """Where the transition comes from, or a list."""
    when: Annotated[str, AfterValidator(_expression)] | None = Field(
        default=None, examples=['user_data["DISP_KEY"] == "resolved"']
    )
    """An expression in CEL on what the session is."""
    lasts: Pause | None = Field(default=None, alias="for", examples=["5m"])
    """How long the session has to stay in the state; leaving it earlier withdraws the delivery."""
    once_within: Pause | None = Field(default=None, examples=["1h"])
    """The first transition counts, and none in this time after it."""
    once_after: Pause | None = Field(default=None, examples=["10m"])
    """When this time has passed since the first transition, the last one in it counts."""
    once_per: Per | None = Field(default=None, examples=["contact"])
    """What `once_within` and `once_after` count by; by default each session."""

    @model_validator(mode="after")
    def _one_time(self) -> "Condition":
        times = [self.lasts, self.once_within, self.once_after]
        if sum(time is not None for time in times) > 1:
            raise ValueError("should have one of 'for', 'once_within' and 'once_after', not several")
        if self.once_per is not None and self.once_within is None and self.once_after is None:
            raise ValueError("has 'once_per' without 'once_within' or 'once_after'")
        return self


@dataclass(frozen=True, slots=True)
class Throttle:
    """That of several transitions one counts."""

    group: str
    """Which ones are counted together: `1/contact/00025aA4V4DR005N`, the first table of `on`, of one contact."""
    pause: timedelta
    is_last: bool
    """Whether the last one in the pause counts, at its end; otherwise the first one does."""


class Candidate:
    """A transition that handlers may want, as conditions look at it."""

    def __init__(
        self,
        agent: str,
        session: str,
        before: str | None,
        after: str,
        origin: Origin,
        document: Callable[[], Document],
    ) -> None:
        """Take what is known; `document` returns the session's, as it is known after the change, when it is needed."""
        self.agent = agent
        self.session = session
        self.before = before
        self.after = after
        self.origin = origin
        self._document = document

    @cached_property
    def document(self) -> Document:
        """The session as it is known after the change."""
        return self._document()

    @cached_property
    def variables(self) -> Mapping[str, Any]:
        """What an expression can look at. A session has the fields that handlers know it by."""
        document = self.document
        parts = {
            "user_data": document.get("userData") or {},
            "participants": document.get("participants") or [],
            "capabilities": document.get("capabilities") or [],
        }
        session = {
            **parts,
            "id": self.session,
            "agent": self.agent,
            "state": self.after,
            "comment": document.get("comment"),
            "type": document.get("facebooksessionType"),
            "received_date": document.get("receivedDate"),
        }
        transition = {"before": self.before or "", "after": self.after, "origin": self.origin.value}
        return {**parts, **transition, "session": session, "agent": self.agent}

    def group(self, per: Per) -> str:
        """Return what this one is counted with: a contact is who the platform says, else whom Facebook says."""
        if per == "agent":
            return f"agent/{self.agent}"
        data = self.document.get("userData") or {} if per == "contact" else {}
        contact = data.get("ContactId") or data.get("_facebookActorId")
        return f"contact/{contact}" if contact else f"session/{self.agent}/{self.session}"


def why_not(condition: Condition, candidate: Candidate) -> str | None:
    """Return the first thing that a condition wants otherwise, with the value; None where all is as it wants.

    Before a session's first sight there is no state: no `from` names it, and no `not_from` rules it out. What stands in
    the values may be a customer's.
    """
    before, after, origin = candidate.before, candidate.after, candidate.origin
    checks = (
        ("from", condition.from_states is None or before in condition.from_states, before),
        ("not_from", condition.not_from is None or before not in condition.not_from, before),
        ("to", condition.to is None or after in condition.to, after),
        ("not_to", condition.not_to is None or after not in condition.not_to, after),
        ("origin", condition.origin is None or origin in condition.origin, origin.value),
    )
    for name, holds, value in checks:
        if not holds:
            return f"{name}: was {'the first sight' if value is None else value}"
    return None if condition.when is None else _why_false(condition.when, candidate.variables)


def throttle_of(condition: Condition, number: int, candidate: Candidate) -> Throttle | None:
    """Return what limits a condition, which is a handler's so many-th."""
    pause = condition.once_within or condition.once_after
    if pause is None:
        return None
    group = f"{number}/{candidate.group(condition.once_per or 'session')}"
    return Throttle(group, pause, is_last=condition.once_after is not None)


def _why_false(text: str, variables: Mapping[str, Any]) -> str | None:
    expression = compiled(text)
    try:
        if expression.holds(variables):
            return None
        found = "is false"
    except ExpressionError as error:
        found = f"{UNDECIDED}: {error}"
    values = expression.values(variables)
    return f"when: {text} {found}{'; ' if values else ''}{values}"


UNDECIDED = "can't be evaluated"
"""Stands in a reason where an expression went wrong: that counts as false."""

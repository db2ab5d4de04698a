"""From transitions to handlers: what each one is called, wants, and may cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fbsessiond import limits
from fbsessiond.conditions import Candidate, Condition, Throttle, throttle_of, why_not
from fbsessiond.durations import Duration
from fbsessiond.handler import Handler
from fbsessiond.message import Origin


class DeliverySettings(BaseModel):
    """How a handler's deliveries are carried out: `delivery` in the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=10, ge=1, le=1_000)
    """Failed attempts after which a delivery is a dead letter."""
    timeout: Duration = Field(default=timedelta(seconds=30), gt=timedelta(0), le=timedelta(hours=1))
    """How long one attempt may take."""
    backoff: Duration = Field(default=timedelta(seconds=1), gt=timedelta(0), le=timedelta(hours=1))
    """The longest pause after the first failure; it doubles with each further one, up to an hour."""
    concurrency: int = Field(default=8, ge=1, le=1_000)
    """How many sessions at a time."""
    snapshot: Literal["run", "run-if-still-true", "skip"] = "run"
    """What to do with a transition that a snapshot found, perhaps long after it happened."""
    late: Literal["run", "skip"] = "run"
    """What to do with a clock that fires too late, as after a stop of the daemon."""
    max_late: Duration = Field(default=timedelta(minutes=1), gt=timedelta(0))
    """How late is too late."""


@dataclass(frozen=True, slots=True)
class Wish:
    """That a handler wants a transition, and when."""

    lasts: timedelta | None = None
    """How long the session has to stay in the state; None: it is wanted now."""
    throttle: Throttle | None = None
    """What others it is counted with, of which only one is wanted."""


NOW = Wish()


@dataclass(frozen=True, slots=True)
class Route:
    """A handler's instance in the configuration."""

    name: str
    handler: Handler
    on: Sequence[Condition] = ()
    """The first one that matches counts; none: every transition."""
    delivery: DeliverySettings = field(default_factory=DeliverySettings)

    @property
    def has_clocks(self) -> bool:
        """Whether any condition waits for how long a state lasts."""
        return any(condition.lasts is not None for condition in self.on)

    def wish(self, candidate: Candidate) -> Wish | str:
        """Return what the handler wants of a transition; or why it doesn't want it, for a person.

        Of several conditions each has its reason, a line each, the number of its table before it.
        """
        if candidate.origin is Origin.SNAPSHOT and self.delivery.snapshot == "skip":
            return 'delivery.snapshot is "skip", and a snapshot found it'
        if not self.on:
            return NOW
        reasons: list[str] = []
        for number, condition in enumerate(self.on, 1):
            reason = why_not(condition, candidate)
            if reason is None:
                return Wish(condition.lasts, throttle_of(condition, number, candidate))
            reasons.append(reason if len(self.on) == 1 else f"{number}. {reason}")
        return "\n".join(reasons)[: limits.PROBLEM_CHARACTERS]

"""From transitions to handlers: what each one is called, wants, and may cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fbsessiond.conditions import Condition, why_not
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


@dataclass(frozen=True, slots=True)
class Route:
    """A handler's instance in the configuration."""

    name: str
    handler: Handler
    on: Sequence[Condition] = ()
    """Any of them has to match; none: every transition."""
    delivery: DeliverySettings = field(default_factory=DeliverySettings)

    def wants(self, before: str | None, after: str, origin: Origin) -> bool:
        """Say whether the handler wants a transition."""
        if origin is Origin.SNAPSHOT and self.delivery.snapshot == "skip":
            return False
        return not self.on or any(why_not(condition, before, after, origin) is None for condition in self.on)

"""A scenario: how many agents and customers, and what they do. One TOML file; every key has a default."""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fbsessiond.configuration_errors import Places, describe
from fbsessiond.durations import Duration
from fbsessiond.errors import ConfigurationError
from fbsessiond.simulator.faults import FaultTable


def _ordered(between: tuple[timedelta, timedelta]) -> tuple[timedelta, timedelta]:
    if between[0] > between[1]:
        raise ValueError("should be the shorter one, then the longer one")
    return between


Between: TypeAlias = Annotated[tuple[Duration, Duration], AfterValidator(_ordered)]
"""A duration that differs from time to time: the shortest and the longest, e.g. `["1s", "4s"]`."""

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""A part of all cases, from 0 to 1."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GwsBehaviour(_Table):
    """How the simulated GWS itself behaves."""

    csrf: bool = False
    """Demand a CSRF token with each POST."""
    delay: Between = (timedelta(milliseconds=20), timedelta(milliseconds=120))
    """How long it takes from an operation's answer to its effect."""
    hold: Duration = timedelta(seconds=30)
    """How long a connect is held when there is nothing to send."""
    max_interval: Duration = timedelta(seconds=10)
    """How long a CometD client may be silent until it is forgotten."""
    acknowledge: bool = True
    """Offer the acknowledgement extension."""


class AgentBehaviour(_Table):
    """What the agents do at their desks, as if no daemon were there."""

    count: int = Field(default=1, ge=1, le=10_000)
    """Their usernames are agent1, agent2 and so on."""
    password: str = "simulated"  # noqa: S105  of agents that don't exist
    answer: Between = (timedelta(seconds=1), timedelta(seconds=4))
    """How long an invitation rings until the agent does something about it."""
    ring: Duration = timedelta(seconds=10)
    """How long one rings that nobody answers, until it is revoked."""
    accept: Share = 0.85
    reject: Share = 0.1
    """The rest isn't answered at all."""
    complete_at_once: Share = 0.1
    """Chats that the agent completes without leaving them first."""
    disposition: Share = 0.5
    """Chats for which the agent sets the disposition `resolved` before the end."""
    wrap_up: Share = 0.3
    """Sessions that the agent left and then completes as well; the others are left to somebody else."""
    wrap_up_after: Between = (timedelta(seconds=2), timedelta(seconds=8))

    @model_validator(mode="after")
    def _at_most_all(self) -> "AgentBehaviour":
        if self.accept + self.reject > 1:
            raise ValueError("accept and reject are parts of all invitations: together at most 1")
        return self


class CustomerBehaviour(_Table):
    """Who writes, how often, and how long."""

    per_minute: float = Field(default=12.0, ge=0, le=60_000)
    """How many arrive in a minute, for all agents together; 0: nobody comes."""
    queue: Between = (timedelta(seconds=1), timedelta(seconds=2))
    """How long an interaction waits in the queue until it is offered."""
    chat: Between = (timedelta(seconds=4), timedelta(seconds=15))
    """How long a chat takes."""
    writes_every: Between = (timedelta(seconds=2), timedelta(seconds=5))
    leaves: Share = 0.3
    """Chats that the customer leaves before the agent does."""


class Scenario(_Table):
    """All of it."""

    seed: int | None = None
    """The same seed gives the same customers and chances again."""
    duration: Duration | None = None
    """After that the simulator ends; by default it goes on."""
    gws: GwsBehaviour = GwsBehaviour()
    agents: AgentBehaviour = AgentBehaviour()
    customers: CustomerBehaviour = CustomerBehaviour()
    faults: FaultTable = FaultTable()


QUIET = Scenario(customers=CustomerBehaviour(per_minute=0))
"""Nobody comes and nothing goes wrong, unless a test has it so."""


def load_scenario(path: Path) -> Scenario:
    """Read a scenario. Raises `ConfigurationError` with all mistakes, a line each."""
    try:
        text = path.read_text()
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't read the scenario: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: isn't TOML: {error}") from error
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError("\n".join(describe(error, Scenario, document, Places(path, text)))) from None

"""The interface of handlers: what they get, what they give back.

    class Greet(Handler):
        '''Say hello when an agent enters a session.'''
        greeting: str = "hello"                     # an option: [handlers.greet] greeting = "…"

        async def handle(self, delivery: Delivery) -> Outcome:
            print(self.greeting, delivery.transition.session.id)
            return Done()

A transition reaches each handler that wants it at least once, and one session's transitions reach a handler in order,
one at a time. `Delivery.key` is the same however often a delivery is tried: use it to do a thing only once.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from fbsessiond.finding import Finding
from fbsessiond.follow_up import FollowUp, Webhook
from fbsessiond.reveal import Reveal
from fbsessiond.transition import Transition


@dataclass(frozen=True, slots=True)
class Delivery:
    """One transition for one handler."""

    id: str
    """`42/audit`: the journal's entry and the handler's name."""
    key: str
    """Its idempotency key: the same at every attempt, and different from any other delivery's, in any journal."""
    handler: str
    """The name of the handler's instance in the configuration."""
    attempt: int
    """1 at the first attempt. An interruption, such as a restart, is no attempt."""
    due_at: datetime
    """When it was first due, in UTC."""
    late: timedelta
    """How long after that it runs: after a restart or failed attempts, more than a moment."""
    transition: Transition


@dataclass(frozen=True, slots=True, init=False)
class Done:
    """The delivery is settled; follow-ups are written down with it, and carried out one after the other."""

    follow_ups: tuple[FollowUp, ...]

    def __init__(self, *follow_ups: FollowUp) -> None:
        object.__setattr__(self, "follow_ups", follow_ups)


@dataclass(frozen=True, slots=True)
class Defer:
    """Not now: try again after a pause. Counts as no failed attempt."""

    pause: timedelta


@dataclass(frozen=True, slots=True)
class Reject:
    """Never: the delivery becomes a dead letter at once. The reason is for the person who looks at it."""

    reason: str


STATE_DIRECTORY = "state_directory"
"""The key in pydantic's validation context under which the folder for handlers' files is."""


def _in_state_directory(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get(STATE_DIRECTORY, Path())
    return folder / path.expanduser()


StatePath: TypeAlias = Annotated[Path, AfterValidator(_in_state_directory)]
"""An option that names a file: a relative path counts from the daemon's state directory."""

Outcome: TypeAlias = Done | Defer | Reject
"""What `handle` gives back. An exception is a failed attempt: it is tried again, with growing pauses."""


def misfit(returned: object) -> str | None:
    """Say what a handler returned that is no outcome, as one without type checks may; None: it is one."""
    match returned:
        case Done(follow_ups=follow_ups) if _are_follow_ups(follow_ups):
            return None
        case Defer(pause=timedelta()) | Reject():
            return None
        case Done():
            what = "Done with what is no follow-up"
        case Defer():
            what = "Defer without a timedelta"
        case _:
            what = type(returned).__name__
    return f"handle() returned {what}; it returns Done(…), Defer(…) or Reject(…)"


def _are_follow_ups(values: Sequence[object]) -> bool:
    return all(isinstance(value, FollowUp) for value in values)


class Handler(BaseModel, ABC):
    """A reaction to transitions. Its fields are its options, checked when the daemon starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acts_outside: ClassVar[bool] = False
    """Whether handling a delivery changes something outside this machine: then a replay leaves the handler out."""
    only_observes: ClassVar[bool] = False
    """Whether it never asks for follow-ups: then a rehearsal, which compares these, has no need of it."""

    @abstractmethod
    async def handle(self, delivery: Delivery) -> Outcome:
        """React to one delivery.

        It runs on the daemon's event loop: await what takes time, and hand what blocks to `asyncio.to_thread`. It is
        cancelled after the configured time-out, which counts as a failed attempt, and when the daemon stops, which
        doesn't.
        """

    async def post(self, webhook: Webhook, key: str, at: datetime) -> Outcome:  # noqa: ARG002  for those that do
        """Carry out a `Webhook` that another handler asked for, at a time in UTC; the key is the same at every attempt.

        A handler that posts messages overrides it; any other refuses.
        """
        return Reject(f"{webhook.to} posts no webhooks: it is a {type(self).__name__}")

    async def revealed(self, reveal: Reveal) -> None:
        """Take note that somebody had customer data of the journal shown. It may come twice, with the same key.

        A handler that keeps a record for auditors overrides it. An exception has it come again later.
        """

    def verify(self) -> Iterator[Finding]:
        """Check what the handler keeps, and yield what is wrong with it: `fbsessiond NAME verify`, where it has any."""
        return iter(())

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Hold what the handler needs while the daemon runs: a client, a file. Entered once, left at the end."""
        yield

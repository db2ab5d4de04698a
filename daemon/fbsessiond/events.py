"""What happens on the way of a notification: one dataclass an event, for whoever counts it or traces it.

The parts tell each with `observe`, once it is over and on disk where it goes there. They know nothing of metrics or
traces. Events of the notification connection are in `cometd.events`, those of a request in `gws.requests`. Spans of
time are in seconds on the monotonic clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from fbsessiond.follow_up import Progress
from fbsessiond.gap import Gap
from fbsessiond.gws.requests import RequestEnded
from fbsessiond.journal.records import Draft, FollowUpLease, Lease
from fbsessiond.message import Batch
from fbsessiond.transition import Kind


@dataclass(frozen=True, slots=True)
class BatchTaken:
    """A batch is on disk."""

    batch: Batch
    seconds: float
    """How long writing it took."""
    first_seq: int
    """The number of its first entry, if it has any; the others follow."""
    drafts: Sequence[Draft]
    quarantined: int


class AttemptOutcome(StrEnum):
    """How an attempt at a delivery can end."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    """Later: the handler wants to be asked then, or a clock waits until it is known what a gap hid."""
    FAILED = "failed"
    """It is tried again."""
    DEAD = "dead"
    """The last attempt failed, or the handler rejected it."""
    WITHDRAWN = "withdrawn"
    """It wasn't wanted any more; the handler wasn't asked."""


@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """A delivery is about to be carried out, in the context in which this is told."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt at a delivery is over, and settled."""

    lease: Lease
    outcome: AttemptOutcome
    at: datetime
    """When the handler was ready with it."""
    seconds: float | None
    """How long the handler took; None: it wasn't asked."""


@dataclass(frozen=True, slots=True)
class FollowUpBegan:
    """A follow-up is about to be carried on, in the context in which this is told."""

    lease: FollowUpLease


@dataclass(frozen=True, slots=True)
class FollowUpPaused:
    """A follow-up has ended, or goes on later."""

    lease: FollowUpLease
    progress: Progress
    seconds: float
    """How long it was carried on."""


@dataclass(frozen=True, slots=True)
class GapFound:
    """A span of time has ended in which a notification may have been missed."""

    gap: Gap


class SnapshotOutcome(StrEnum):
    """How reading an agent's sessions can end."""

    AGREED = "agreed"
    """GWS has the sessions as the journal has them."""
    DIFFERED = "differed"
    """It has them otherwise."""
    UNAVAILABLE = "unavailable"
    """They couldn't be read."""


@dataclass(frozen=True, slots=True)
class SnapshotCompared:
    """An agent's sessions were read, or couldn't be."""

    outcome: SnapshotOutcome
    kinds: Sequence[Kind] = ()
    """What was written down anew."""


@dataclass(frozen=True, slots=True)
class SilenceFound:
    """A change wasn't notified, though all looked well."""


Event: TypeAlias = (
    BatchTaken
    | AttemptBegan
    | AttemptEnded
    | FollowUpBegan
    | FollowUpPaused
    | GapFound
    | SnapshotCompared
    | SilenceFound
    | RequestEnded
)

Observe: TypeAlias = Callable[[Event], None]
"""Is told each event, in the context in which it happens; it must not block, nor raise."""


def unobserved(_: Event) -> None:
    """Pass over an event."""

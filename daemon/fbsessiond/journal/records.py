"""What the journal holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

import msgspec

from fbsessiond.conditions import Throttle
from fbsessiond.follow_up import FollowUp, FollowUpState, Progress
from fbsessiond.message import Message, Origin
from fbsessiond.transition import Change, Kind


class Wait(StrEnum):
    """What a delivery waits for that isn't due at once."""

    FOR = "for"
    """That its session stays in the state; leaving it earlier withdraws the delivery."""
    ONCE_AFTER = "once_after"
    """That a throttle's pause ends; a later delivery that it counts takes its place."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A delivery that an entry causes."""

    handler: str
    due_at: datetime
    wait: Wait | None = None
    throttle: Throttle | None = None
    """Decided in the transaction that appends the entry, where what it is counted with is known."""


@dataclass(frozen=True, slots=True)
class NotWanted:
    """A handler that doesn't want an entry, and why: it is asked later."""

    handler: str
    because: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification that was understood: an entry that has no number yet."""

    message: Message
    change: Change
    document: bytes | None = None
    """The session's merged document as JSON. None: the notification's own part says it all, or nothing changed."""
    wanted: Sequence[Wanted] = ()
    not_wanted: Sequence[NotWanted] = ()


@dataclass(frozen=True, slots=True)
class Misfit:
    """A message that doesn't validate, on its way to the quarantine."""

    message: Message
    error: str


class Entry(msgspec.Struct, frozen=True):
    """A notification in the journal."""

    seq: int
    received_at: datetime
    origin: Origin
    agent: str
    channel: str | None
    session: str | None
    kind: Kind
    before: str | None
    after: str | None
    notification: bytes
    """The message's `data`, word for word."""
    document: bytes | None
    """The session's merged document, where it is more than the notification's own part."""


class DeliveryState(StrEnum):
    """Where a delivery is in its life."""

    WAITING = "waiting"
    """Behind an earlier delivery of its session, or its clock runs."""
    DUE = "due"
    RUNNING = "running"
    DELIVERED = "delivered"
    DEAD = "dead"
    WITHDRAWN = "withdrawn"
    NOT_WANTED = "not_wanted"
    """There never was one: the handler's conditions didn't match, or a throttle held it back."""


class Lease(msgspec.Struct, frozen=True):
    """A delivery handed out to be carried out."""

    number: int
    """Guards its settlement: one that comes after the lease was given to another has no effect."""
    handler: str
    attempts: int
    """Failed attempts so far."""
    due_at: datetime
    """When it was first due."""
    entry: Entry
    wait: Wait | None = None
    """What it waited for before it was first due."""

    @property
    def id(self) -> str:
        """`42/audit`: the entry and the handler."""
        return f"{self.entry.seq}/{self.handler}"


class Settlement(msgspec.Struct, frozen=True):
    """How an attempt at a delivery ended."""

    lease: Lease
    state: DeliveryState
    """DELIVERED, DEAD or WITHDRAWN; or DUE: again at `due_at`."""
    attempts: int
    because: str | None = None
    """Why. With DUE, None leaves the reason that the last attempt gave: an interruption has none of its own."""
    due_at: datetime | None = None
    """None: now."""
    follow_ups: Sequence[FollowUp] = ()
    """What the handler asked for, written in the same transaction."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message in the quarantine."""

    seq: int
    """Its place in the quarantine, which counts by itself."""
    received_at: datetime
    origin: Origin
    agent: str
    channel: str | None
    error: str
    raw: bytes

    @property
    def id(self) -> str:
        """`quarantine/3`; a delivery's begins with a digit."""
        return f"quarantine/{self.seq}"


class ActKind(StrEnum):
    """What a person does with something that was given up."""

    RETRY = "retry"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Act:
    """What a person did with something that was given up."""

    subject: str
    """The id of a delivery, a follow-up, or a message in the quarantine: `42/audit`, `42/wrap-up/1`, `quarantine/3`."""
    kind: ActKind
    at: datetime
    by: str
    """Who, as far as that is known: `alice (uid 1000)`."""
    because: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery, as a reader sees it."""

    seq: int
    handler: str
    agent: str
    session: str
    after: str | None
    state: DeliveryState
    attempts: int
    because: str | None
    at: datetime
    """When it is due; or, once settled, when that was."""
    wait: Wait | None = None
    """What it waits for, or waited for before it was first due; once settled, that isn't kept."""

    @property
    def id(self) -> str:
        """`42/audit`."""
        return f"{self.seq}/{self.handler}"


@dataclass(frozen=True, slots=True)
class RunningClock:
    """A clock that runs for a session."""

    handler: str
    at: datetime
    """When it ends."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as last known, as a reader sees it."""

    agent: str
    session: str
    state: str | None
    since: datetime | None
    """When it entered the state."""
    seq: int
    """Its last entry."""
    clock: RunningClock | None = None
    """The clock that ends next."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much the journal holds."""

    entries: int
    first_seq: int | None
    last_seq: int | None
    first_received_at: datetime | None
    last_received_at: datetime | None
    kinds: dict[str, int] = field(default_factory=dict[str, int])
    sessions: int = 0
    deliveries: dict[str, int] = field(default_factory=dict[str, int])
    follow_ups: dict[str, int] = field(default_factory=dict[str, int])
    quarantined: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is still to be done, and what waits for a person, at one moment."""

    deliveries: Mapping[str, Mapping[DeliveryState, int]] = field(
        default_factory=dict[str, Mapping[DeliveryState, int]]
    )
    """By handler and state: due, waiting for its time or behind another, running. Of each handler the first
    `BACKLOG_COUNTED` are counted."""
    due_for: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    """By handler, for how long its oldest delivery has been due that doesn't run; none where nothing is due."""
    dead: Mapping[str, int] = field(default_factory=dict[str, int])
    """Dead letters by handler."""
    follow_ups: Mapping[FollowUpState, int] = field(default_factory=dict[FollowUpState, int])
    """Those that are open, parked or failed, by state."""
    follow_ups_due_for: timedelta = timedelta()
    quarantined: int = 0
    bytes: int = 0
    """How large the journal is."""


@dataclass(frozen=True, slots=True)
class FollowUpLease:
    """A follow-up handed out to be carried out."""

    number: int
    """Guards what is written of it: nothing, once it was given to another."""
    seq: int
    handler: str
    step: int
    agent: str
    operation: FollowUp
    progress: Progress

    @property
    def id(self) -> str:
        """`42/wrap-up/1`: the entry, the handler that asked, and the step."""
        return f"{self.seq}/{self.handler}/{self.step}"


@dataclass(frozen=True, slots=True)
class FollowUpRecord:
    """A follow-up, as a reader sees it."""

    seq: int
    handler: str
    step: int
    agent: str
    operation: FollowUp
    progress: Progress
    is_running: bool
    at: datetime
    """When it was asked for, or last changed."""

    @property
    def session(self) -> str:
        """The session on which it acts."""
        return self.operation.session

    @property
    def attempts(self) -> int:
        """How often it was sent, or tried to."""
        return self.progress.attempts

    @property
    def id(self) -> str:
        """`42/wrap-up/1`."""
        return f"{self.seq}/{self.handler}/{self.step}"


GivenUp: TypeAlias = DeliveryRecord | FollowUpRecord | Quarantined
"""What waits for a person: a dead letter, a follow-up that is parked or failed, a message in the quarantine."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """How much room there is where a journal is kept."""

    free_bytes: int
    """What this process may still use."""
    size_bytes: int
    """What the disk holds in all."""

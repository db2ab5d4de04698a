"""What every engine of the journal does. The conformance tests say the same in code, and run over each engine."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.follow_up import Progress
from fbsessiond.gap import Gap, Proof, Watched
from fbsessiond.journal.records import (
    Act,
    ActKind,
    Backlog,
    DeliveryRecord,
    DiskSpace,
    Draft,
    Entry,
    FollowUpLease,
    FollowUpRecord,
    GivenUp,
    Lease,
    Misfit,
    Quarantined,
    SessionRecord,
    Settlement,
    Statistics,
)
from fbsessiond.message import Batch
from fbsessiond.notification import Document
from fbsessiond.reveal import Reveal

FOLLOW_UPS = "/follow-ups"
"""What `Journal.wakes` calls the follow-ups; no handler can have this name."""


Timed: TypeAlias = Callable[[Literal["commit", "checkpoint"]], AbstractContextManager[None]]
"""Surrounds each step of that kind, for whoever wants to know how long it takes."""


def untimed(_: str) -> AbstractContextManager[None]:
    """Surround a step with nothing."""
    return nullcontext()


def gaps_of(agent: str) -> str:
    """Return what `Journal.wakes` calls an agent's gaps; no handler can have this name."""
    return f"/gaps/{agent}"


class Journal(ABC):
    """The durable record of everything, as the one daemon that writes it sees it.

    A method that writes returns when what it wrote is on disk. Every failure to write is a `JournalError`, after which
    the journal refuses everything: what a failed write left behind can't be known.
    """

    identity: str
    """Differs from any other journal's: the first part of every idempotency key."""

    @abstractmethod
    def space(self) -> DiskSpace | None:
        """Return how much room there is where it is kept; None where there is no limit that is known."""

    @abstractmethod
    async def failed(self) -> JournalError:
        """Wait until it has failed, whoever met that first; return how."""

    @abstractmethod
    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        """Write a batch durably: entries in order, the sessions' last known states, deliveries, quarantine.

        Return the number of its first entry, or that of the next one where it has none.

        What its source proves with it is written in the same transaction. A proof of another chain than the last one
        adds a gap, from the last proof to the new chain's beginning, and wakes `gaps_of` the agent.
        """

    @abstractmethod
    async def prove(self, proofs: Mapping[str, Proof]) -> None:
        """Write what the sources of some agents prove without a batch, by agent, in one transaction."""

    @abstractmethod
    async def known(self, agent: str, session: str) -> Document | None:
        """Return what is known of a session: its merged document; None before its first sight."""

    @abstractmethod
    async def open_sessions(self, agent: str) -> Mapping[str, str]:
        """Return the agent's sessions that could still change, with their states: not finished, and not vanished."""

    @abstractmethod
    async def standing(self) -> Sequence[Entry]:
        """Return, of each session that could still change, the entry that brought it to its state.

        One whose entry was forgotten is left out.
        """

    @abstractmethod
    async def clocks(self, handler: str) -> Sequence[Entry]:
        """Return the entries of a handler's clocks (`Wait.FOR`) that haven't fired."""

    @abstractmethod
    async def wind(self, handler: str, clocks: Sequence[tuple[Entry, datetime]], now: datetime) -> None:
        """Have exactly these clocks of a handler run: others are withdrawn, and what is missing begins.

        What was delivered, withdrawn or given up stays so; that a handler didn't want an entry before doesn't count.
        """

    @abstractmethod
    async def shift(self, by: timedelta) -> None:
        """Move all that is due later, since the machine's time was set: it is as far away as it was."""

    @abstractmethod
    async def watch(self, agent: str, now: datetime) -> Watched:
        """Begin to listen for an agent, or go on after a stop: until the next proof nothing is proved.

        Return what is known of it, with the position at which its source can go on.
        """

    @abstractmethod
    async def watched(self, agent: str) -> Watched:
        """Return what is known of the time in which it was listened for an agent. `watch` comes first."""

    @abstractmethod
    async def is_in_doubt(self, agent: str) -> bool:
        """Say whether the agent's sessions may have changed unseen: a gap is open, or what it hid isn't known yet."""

    @abstractmethod
    async def doubt(self, agent: str) -> None:
        """Take back what the chain proved since the agent's sessions were last compared: a change wasn't notified.

        What it proves from here on counts for nothing; the next one ends a gap with the cause `silent`. Where no chain
        holds, there is nothing to take back.
        """

    @abstractmethod
    async def agree(self, agent: str, at: datetime) -> None:
        """Note that the agent's sessions are known as they were at a time; gaps that had ended by then are closed."""

    @abstractmethod
    async def lease(self, handler: str, most: int, now: datetime, until: datetime) -> Sequence[Lease]:
        """Hand out up to `most` due deliveries of a handler, the longest due first, of each session only its first.

        A lease is a postponed due date: a delivery that isn't settled by `until` is due again. A reader sees that it
        runs with a later commit, or soon; what waited for its time is written before this returns.
        """

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        """Write how attempts ended. What waited behind a settled delivery becomes due."""

    @abstractmethod
    async def release(self, leases: Sequence[Lease], now: datetime) -> None:
        """Hand deliveries back that were interrupted: due at once, and no attempt more."""

    @abstractmethod
    async def next_due(self, handler: str) -> datetime | None:
        """Return when a handler's next delivery is due, which can be in the past; None where none is pending."""

    @abstractmethod
    def wakes(self, handler: str) -> asyncio.Event:
        """Return the event that is set whenever this process made a delivery of this handler due, or might have."""

    @abstractmethod
    async def lease_follow_ups(self, most: int, now: datetime, until: datetime) -> Sequence[FollowUpLease]:
        """Hand out up to `most` due follow-ups, of each session only the first that is open."""

    @abstractmethod
    async def record_follow_up(self, lease: FollowUpLease, progress: Progress, now: datetime) -> None:
        """Write how far a follow-up has come; on return that is on disk.

        One that has ended frees the next of its session; where it didn't succeed, the steps after it are withdrawn.
        """

    @abstractmethod
    async def release_follow_ups(self, leases: Sequence[FollowUpLease], now: datetime) -> None:
        """Hand follow-ups back that were interrupted: due at once."""

    @abstractmethod
    async def next_follow_up_due(self) -> datetime | None:
        """Return when the next follow-up is due, which can be in the past; None where none is."""

    @abstractmethod
    async def shown(self, agent: str, session: str, after: int) -> bool:
        """Say whether a notification after a place, an entry's number, showed the session, not only its messages."""

    @abstractmethod
    async def notifications(self, agent: str, session: str, after: int) -> Sequence[tuple[int, bytes]]:
        """Return a session's notifications after a place, an entry's number, with their places."""

    @abstractmethod
    def last_place(self) -> int:
        """Return the number of the last entry."""

    @abstractmethod
    @contextmanager
    def arrivals(self, agent: str, session: str) -> Generator[asyncio.Event, None, None]:
        """Hold the event that is set whenever an entry of this session is appended."""

    @abstractmethod
    async def prune(self, before: datetime, most_bytes: int | None) -> int:
        """Forget the oldest entries: those received before a point in time, and more while the journal is too large.

        Takes a bounded bite a call, so that it never holds up an append for long, and returns how many entries it
        forgot; 0 when there is nothing more to forget. An entry with a pending delivery stays, and so does all that
        follows it; what is known of a session that isn't finished stays too.
        """

    @abstractmethod
    async def take_retries(self) -> Sequence[Quarantined]:
        """Return the quarantined messages that a person asked to try again."""

    @abstractmethod
    async def release_quarantined(self, quarantined: Quarantined, drafts: Sequence[Draft], error: str | None) -> bool:
        """Write what trying a quarantined message again gave: entries, and it leaves; or an error, and it stays.

        False where a person dropped it meanwhile; then nothing is written.
        """

    @abstractmethod
    async def take_reveals(self) -> Sequence[Reveal]:
        """Return the reveals that the handlers weren't told yet, the oldest first."""

    @abstractmethod
    async def pass_on_reveal(self, reveal: Reveal) -> None:
        """Write that the handlers were told of a reveal."""

    @abstractmethod
    def time_with(self, timed: Timed) -> None:
        """Have commits and checkpoints timed from now on."""

    @abstractmethod
    def reader(self) -> "Reader":
        """Return a look at this journal from within this process; it ends with the journal."""

    @abstractmethod
    def close(self) -> None:
        """Close the journal. Nothing is lost without it, either."""


class Reader(ABC):
    """The journal as the reading verbs see it, while a daemon writes it too. The few changes here are a person's.

    What is yielded can be changed on the way: `act` in a loop over `dead()`, for example. What can't be read is
    a `JournalError`; `verify` yields that, too.
    """

    @abstractmethod
    def entries(self, *, session: str | None = None, agent: str | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """Yield entries in their order."""

    @abstractmethod
    def place(self, at: datetime) -> int:
        """Return the number of the last entry before the first one that was received then or later.

        One that was received long ago and written since, out of the quarantine, hides none. 0 where there is none.
        """

    @abstractmethod
    def version(self) -> int:
        """Return a number that differs whenever what is read may differ; within microseconds."""

    @abstractmethod
    def sessions(self, *, is_open: bool = False) -> Iterator[SessionRecord]:
        """Yield sessions as last known, the one with the latest entry first; or, in no order, the open ones."""

    @abstractmethod
    def deliveries(
        self, *, seq: int | None = None, session: str | None = None, agent: str | None = None
    ) -> Iterator[DeliveryRecord]:
        """Yield deliveries in the order of their entries: all, an entry's, or a session's, of one agent or of each."""

    @abstractmethod
    def settled(self, since: datetime) -> Iterator[DeliveryRecord]:
        """Yield deliveries that were settled then or later, in that order; those that nobody wanted are none."""

    @abstractmethod
    def dead(self, *, seq: int | None = None, handler: str | None = None) -> Iterator[DeliveryRecord]:
        """Yield dead letters in the order of their entries."""

    @abstractmethod
    def follow_ups(
        self, *, seq: int | None = None, session: str | None = None, agent: str | None = None
    ) -> Iterator[FollowUpRecord]:
        """Yield follow-ups in the order in which they were asked for: all, an entry's, or a session's.

        A session's are those that were asked for at its entries, and those that act on it; of one agent or of each.
        """

    @abstractmethod
    def changed_follow_ups(self, since: datetime) -> Iterator[FollowUpRecord]:
        """Yield follow-ups that were asked for or last changed then or later, in that order."""

    @abstractmethod
    def stuck_follow_ups(self, *, seq: int | None = None) -> Iterator[FollowUpRecord]:
        """Yield follow-ups that a person has to look at: parked and failed."""

    @abstractmethod
    def watched(self, *, agent: str | None = None, is_in_doubt: bool = False) -> Iterator[Watched]:
        """Yield what is known of the time in which it was listened for an agent, or for each, by name.

        Or only of those whose sessions may have changed unseen, as `Journal.is_in_doubt` says.
        """

    @abstractmethod
    def gaps(self, *, agent: str | None = None) -> Iterator[Gap]:
        """Yield gaps by agent, and in their order; one that has no end yet is `Watched.open_gap`."""

    @abstractmethod
    def quarantined(self, *, seq: int | None = None, after_seq: int = 0) -> Iterator[Quarantined]:
        """Yield what is in the quarantine, in order."""

    @abstractmethod
    def statistics(self) -> Statistics:
        """Count what there is."""

    @abstractmethod
    def backlog(self, handlers: Sequence[str], now: datetime) -> Backlog:
        """Return what is still to be done, by these handlers and on GWS: within milliseconds, however much waits."""

    @abstractmethod
    def verify(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Check everything that can be checked, and yield what is wrong; `progress` gets entries done, and all."""

    @abstractmethod
    def redaction_key(self) -> bytes:
        """Return the secret of the tokens that stand for customer data in what this journal shows."""

    @abstractmethod
    def act(self, on: GivenUp, kind: ActKind, *, by: str, at: datetime, because: str | None = None) -> bool:
        """Do what a person wants with something that was given up, and write down who did it, in one transaction.

        False where it isn't given up any more; then nothing is written. A delivery that is retried has all its attempts
        again, and goes before what waits in its session, and after what runs. A follow-up is intended anew, with the
        steps that were withdrawn with it. What is dropped is withdrawn for good, with the reason; a message is kept,
        but is in the quarantine no more.
        """

    @abstractmethod
    def acts(self, *, subject: str | None = None, since: datetime | None = None) -> Iterator[Act]:
        """Yield what persons did, by time: all, or what they did with one subject, or then or later.

        It is forgotten by age alone.
        """

    @abstractmethod
    def note_reveal(self, at: datetime, by: str, command: str) -> None:
        """Write down that customer data is about to be shown, when, to whom, and by which command.

        On return it is on disk. Raises `JournalError` where it isn't: then nothing may be shown.
        """

    @abstractmethod
    def reveals(self) -> Iterator[Reveal]:
        """Yield all reveals that there ever were, in their order."""

    @abstractmethod
    def close(self) -> None:
        """Close the reader."""

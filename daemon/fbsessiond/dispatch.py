"""From the journal to handlers, and back: run the handler for what is due, settle how it ended.

Intake and dispatch share the journal and nothing else. Each handler has a worker of its own, so that one that hangs
holds up neither intake nor another handler; within it, sessions run side by side up to the handler's concurrency, and
one session's deliveries one after the other (the journal hands out only the first).
"""

import asyncio
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars

from fbsessiond import limits
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.durations import in_words
from fbsessiond.errors import DiskError
from fbsessiond.events import AttemptBegan, AttemptEnded, AttemptOutcome, Observe, unobserved
from fbsessiond.follow_up import FollowUp
from fbsessiond.gap import read_gap
from fbsessiond.handler import Defer, Delivery, Done, Reject, misfit
from fbsessiond.journal.documents import document_of
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import DeliveryState, Entry, FollowUpLease, Lease, Settlement, Wait
from fbsessiond.lane import LONGEST_BACKOFF, Hold, Lane, Worker, backoff
from fbsessiond.message import Origin
from fbsessiond.route import Route
from fbsessiond.session import Session, session_from
from fbsessiond.transition import Transition, state_of

log = structlog.get_logger(__name__)

LEASE_SLACK = timedelta(seconds=30)
"""How much longer than its time-out a delivery is leased."""

DOUBT_PAUSE = timedelta(seconds=1)
"""How soon it is looked again whether a gap is closed."""

SHORTEST_DEFER = timedelta(milliseconds=100)
"""So that a handler that defers without a pause doesn't keep processor and disk busy."""

SESSIONS_KEPT = 1_024
"""Of how many entries the session is kept."""

LONGEST_DEFER = timedelta(days=10_000)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended, in the journal's words."""

    state: DeliveryState
    failed: bool = False
    because: str | None = None
    pause: timedelta | None = None
    follow_ups: Sequence[FollowUp] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How and when carrying a delivery out ended."""

    verdict: Verdict
    at: datetime
    seconds: float | None
    """How long the handler took; None: it wasn't asked."""


class Dispatch:
    """Runs the handlers of all routes until it is cancelled."""

    def __init__(
        self,
        journal: Journal,
        routes: Sequence[Route],
        clock: Clock,
        chance: Chance,
        follow_ups: Lane[FollowUpLease, None] | None = None,
        observe: Observe = unobserved,
    ) -> None:
        """Take the handlers, and what carries out follow-ups; without it they stay intended."""
        transitions = Transitions()
        self._workers: list[Worker[Any, Any]] = [
            Worker(HandlerLane(journal, route, clock, chance, transitions, observe), journal.wakes(route.name), clock)
            for route in routes
        ]
        if follow_ups is not None:
            self._workers.append(Worker(follow_ups, journal.wakes(follow_ups.name), clock))

    async def run(self) -> None:
        """Carry out deliveries until cancelled; then hand back what runs, which costs it no attempt.

        Raises `DiskError`, also when it was cancelled: what was to be settled may be carried out again.
        """
        try:
            async with asyncio.TaskGroup() as group:  # pragma: no branch  it ends by an error alone
                for worker in self._workers:
                    group.create_task(worker.run(), name=f"dispatch {worker.lane.name}")
                await asyncio.Event().wait()  # also where there are no handlers
        except (asyncio.CancelledError, ExceptionGroup) as reason:
            failed = reason.exceptions if isinstance(reason, ExceptionGroup) else ()
            stopping = asyncio.gather(*(worker.stop() for worker in self._workers))
            try:
                stopped = await asyncio.shield(stopping)
            except asyncio.CancelledError:  # once more, as Python 3.13 does where an error and a cancellation meet
                stopped = await stopping
            raise next(filter(None, (*failed, *stopped)), reason) from None

    @property
    def has_failed(self) -> bool:
        """Whether something failed for which the daemon has to end: a handler's disk, or the journal."""
        return any(worker.has_failed for worker in self._workers)

    async def drain(self) -> None:
        """Return when nothing is due any more and nothing runs."""
        for worker in self._workers:
            await worker.drain()


class Transitions:
    """Makes transitions of entries; the sessions of the last ones are kept, since each handler in turn wants them."""

    def __init__(self) -> None:
        self._sessions: dict[int, tuple[Entry, Session]] = {}

    def of(self, entry: Entry) -> Transition:
        """Return an entry's transition. Raises `LookupError` or `ValueError` where the entry is damaged."""
        transition = Transition(
            entry.seq,
            entry.received_at,
            entry.origin,
            entry.agent,
            self._session(entry),
            entry.before,
            entry.after or "",
            entry.notification,
        )
        if entry.origin is not Origin.SNAPSHOT:  # of our own entries alone that key is ours
            return transition
        return replace(transition, gap=read_gap(entry.agent, transition.notification["snapshot"]["gap"]))

    def _session(self, entry: Entry) -> Session:
        kept, session = self._sessions.get(entry.seq, (None, None))
        if session is None or kept is not entry:
            session = session_from(document_of(entry), entry.agent)
            self._sessions[entry.seq] = entry, session
            if len(self._sessions) > SESSIONS_KEPT:
                del self._sessions[next(iter(self._sessions))]
        return session


class HandlerLane:
    """One handler's deliveries."""

    def __init__(
        self,
        journal: Journal,
        route: Route,
        clock: Clock,
        chance: Chance,
        transitions: Transitions,
        observe: Observe = unobserved,
    ) -> None:
        self.route = route
        self._transitions = transitions
        self._observe = observe
        self.name = route.name
        self.concurrency = route.delivery.concurrency
        self.timeout = route.delivery.timeout
        self._journal = journal
        self._clock = clock
        self._chance = chance

    async def next_due(self) -> datetime | None:
        """Return when the handler's next delivery is due."""
        return await self._journal.next_due(self.name)

    async def lease(self, most: int, now: datetime) -> Sequence[Lease]:
        """Hand out what is due, for longer than the handler may take."""
        return await self._journal.lease(self.name, most, now, now + self.timeout + LEASE_SLACK)

    async def release(self, leases: Sequence[Lease], now: datetime) -> None:
        """Hand back what was interrupted, which costs it no attempt."""
        await self._journal.release(leases, now)

    async def carry_out(self, hold: Hold[Lease]) -> Ending:
        """Run the handler, unless something stands in its way. Raises `DiskError`."""
        lease, seconds = hold.lease, None
        if (verdict := await self._not_now(lease)) is None:
            began_at = self._clock.monotonic()
            self._observe(AttemptBegan(lease))
            verdict = await self._attempt(hold)
            seconds = self._clock.monotonic() - began_at
        return Ending(verdict, self._clock.now(), seconds)

    async def settle(self, ended: Sequence[tuple[Hold[Lease], Ending]]) -> None:
        """Write down how attempts ended, in one transaction."""
        settlements = [self._settlement(hold, ending) for hold, ending in ended]
        await self._journal.settle(settlements, self._clock.now())
        for (hold, ending), settlement in zip(ended, settlements, strict=True):
            outcome = _outcome(settlement, ending.verdict)
            hold.context.run(self._observe, AttemptEnded(settlement.lease, outcome, ending.at, ending.seconds))
            self._say(settlement, outcome)

    def _settlement(self, hold: Hold[Lease], ending: Ending) -> Settlement:
        """Judge an end by the attempts so far. What is tried again is due after a pause."""
        hold.settled_by = lease = hold.lease
        verdict, state, due_at = ending.verdict, ending.verdict.state, None
        attempts = lease.attempts + (verdict.failed or state in {DeliveryState.DELIVERED, DeliveryState.DEAD})
        if verdict.failed and attempts >= self.route.delivery.attempts:
            state = DeliveryState.DEAD
        elif state is DeliveryState.DUE:
            due_at = ending.at + (self._pause(attempts) if verdict.pause is None else verdict.pause)
        return Settlement(lease, state, attempts, verdict.because, due_at, verdict.follow_ups)

    async def _not_now(self, lease: Lease) -> Verdict | None:
        """Say why a delivery isn't attempted now, or not at all; None: nothing stands in its way."""
        if lease.wait is not None and lease.attempts == 0:
            return self._too_late(lease) or await self._in_doubt(lease)
        return await self._no_longer_true(lease)

    def _too_late(self, lease: Lease) -> Verdict | None:
        """Withdraw a clock that fires too late, where the handler wants none then."""
        late = self._clock.now() - lease.due_at
        settings = self.route.delivery
        if settings.late == "run" or late <= settings.max_late:
            return None
        because = f"late by {in_words(late)}, more than delivery.max_late, {in_words(settings.max_late)}"
        return Verdict(DeliveryState.WITHDRAWN, because=because)

    async def _in_doubt(self, lease: Lease) -> Verdict | None:
        """Hold a clock back while it isn't known whether its session stayed in the state: what a gap hid may end it."""
        if lease.wait is not Wait.FOR or not await self._journal.is_in_doubt(lease.entry.agent):
            return None
        because = "waits for the agent's sessions to be compared: there is a gap in which this one may have changed"
        return Verdict(DeliveryState.DUE, because=because, pause=DOUBT_PAUSE)

    async def _no_longer_true(self, lease: Lease) -> Verdict | None:
        """Withdraw what a snapshot found, where the handler wants it only while it is so, and it isn't any more."""
        entry = lease.entry
        if entry.origin is not Origin.SNAPSHOT or self.route.delivery.snapshot != "run-if-still-true":
            return None
        known = await self._journal.known(entry.agent, entry.session or "")
        state = None if known is None else state_of(known)
        if state == entry.after:
            return None
        because = f"found by a snapshot, and no longer true: the session is {state}, not {entry.after}"
        return Verdict(DeliveryState.WITHDRAWN, because=because)

    async def _attempt(self, hold: Hold[Lease]) -> Verdict:
        """Run the handler once. Whatever it does ends as a verdict, but for a `DiskError`.

        What is logged meanwhile says what it is about. Where the daemon stops, what the handler did to the end all the
        same counts, and nothing else does.
        """
        lease = hold.lease
        bind_contextvars(handler=self.route.name, delivery=hold.id, session=lease.entry.session)
        try:
            verdict = self._judge(await self.route.handler.handle(self._delivery(hold.id, lease)))
        except asyncio.CancelledError:
            if hold.is_interrupted:
                raise
            verdict = _failed("the handler cancelled itself")
        except BaseException as error:  # noqa: BLE001  sys.exit() too, which ends nothing here
            if disk_error := next((one for one in _leaves(error) if isinstance(one, DiskError)), None):
                raise disk_error from None
            verdict = _failed(_describe(error))
        if hold.is_expired:
            return _failed(f"took longer than delivery.timeout, {self.timeout.total_seconds():g} s")
        if hold.is_interrupted and verdict.failed:
            raise asyncio.CancelledError
        return verdict

    def _judge(self, returned: object) -> Verdict:
        """Judge what a handler returned: one without type checks returns anything."""
        match returned:
            case Done(follow_ups=follow_ups) if misfit(returned) is None:
                if follow_ups and self.route.handler.only_observes:
                    return _failed("asked for follow-ups, though its class says only_observes = True")
                return Verdict(DeliveryState.DELIVERED, follow_ups=follow_ups)
            case Defer(pause=timedelta() as pause):
                pause = min(max(pause, SHORTEST_DEFER), LONGEST_DEFER)
                return Verdict(DeliveryState.DUE, because="deferred by the handler", pause=pause)
            case Reject(reason=reason):
                because = f"rejected by the handler\n{reason}"[: limits.PROBLEM_CHARACTERS]
                return Verdict(DeliveryState.DEAD, because=because)
            case _:
                return _failed(str(misfit(returned)))

    def _delivery(self, name: str, lease: Lease) -> Delivery:
        late = max(timedelta(0), self._clock.now() - lease.due_at)
        key = f"{self._journal.identity}/{name}"
        transition = self._transitions.of(lease.entry)
        return Delivery(name, key, self.route.name, lease.attempts + 1, lease.due_at, late, transition)

    def _pause(self, failures: int) -> timedelta:
        return backoff(self.route.delivery.backoff, failures, LONGEST_BACKOFF, self._chance)

    def _say(self, settlement: Settlement, outcome: AttemptOutcome) -> None:
        if outcome is AttemptOutcome.DELIVERED or outcome is AttemptOutcome.DEFERRED:
            return
        lease, attempts = settlement.lease, settlement.attempts
        fields = {"handler": self.route.name, "delivery": lease.id, "session": lease.entry.session}
        because = (settlement.because or "").partition("\n")[0]
        if outcome is AttemptOutcome.DEAD:
            log.error("delivery.dead", **fields, attempts=attempts, because=because)
        elif outcome is AttemptOutcome.WITHDRAWN:
            log.info("delivery.withdrawn", **fields, because=because)
        else:
            again_at = str(settlement.due_at)
            log.warning("delivery.failed", **fields, attempts=attempts, because=because, again_at=again_at)


def _outcome(settlement: Settlement, verdict: Verdict) -> AttemptOutcome:
    """Say how an attempt ended, in the words of events."""
    if settlement.state is DeliveryState.DUE:
        return AttemptOutcome.FAILED if verdict.failed else AttemptOutcome.DEFERRED
    return AttemptOutcome(settlement.state)


def _failed(because: str) -> Verdict:
    return Verdict(DeliveryState.DUE, failed=True, because=because)


def _describe(error: BaseException) -> str:
    """Say which error and where on the first line, which may be logged, and its text, which may not, below."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    lines = [f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}"]
    if isinstance(error, BaseExceptionGroup):
        lines += (f"{type(leaf).__name__}: {_text(leaf)}" for leaf in _leaves(error))
    else:
        lines.append(_text(error))
    return "\n".join(lines)[: limits.PROBLEM_CHARACTERS]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of a group, such as a task group raises, or the one error."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001  an error's own code can fail like any other
        return f"(no text: {type(another).__name__})"

"""Follow-ups, from the journal to GWS and back: a lane of the dispatch, as each handler is one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

import structlog

from fbsessiond import limits
from fbsessiond.carrying import Carrying, Patience
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.errors import DiskError, RefusedError
from fbsessiond.events import FollowUpBegan, FollowUpPaused, Observe, unobserved
from fbsessiond.follow_up import FollowUpState, Progress, Webhook
from fbsessiond.gws.rest import Rest
from fbsessiond.handler import Defer, Done, Handler, Reject
from fbsessiond.journal.interface import FOLLOW_UPS, Journal
from fbsessiond.journal.records import FollowUpLease
from fbsessiond.journal_evidence import JournalEvidence
from fbsessiond.lane import LONGEST_BACKOFF, Hold, backoff
from fbsessiond.operations import Operation

log = structlog.get_logger(__name__)

LEASE_SLACK = timedelta(minutes=2)
"""How much longer than all waiting together a follow-up is leased: requests, and their time-outs."""


@dataclass(frozen=True, slots=True)
class FollowUpSettings:
    """How follow-ups are carried out."""

    patience: Patience = field(default_factory=Patience)
    backoff: timedelta = timedelta(seconds=1)
    concurrency: int = 64


POST_SECONDS = 60.0
"""How long posting a webhook may take, on top of what its own settings allow."""

POST_PAUSE = timedelta(milliseconds=100)
"""The shortest pause before a deferred one is posted again."""


REFUSED_PAUSE = timedelta(minutes=5)
"""How long one waits whose agent can't sign in."""


def _raised(_: str, error: RefusedError) -> None:
    raise error


class FollowUpLane:
    """Carries out what handlers asked for: side by side for different sessions, one after the other for each."""

    name = FOLLOW_UPS
    timeout: timedelta | None = None

    def __init__(
        self,
        journal: Journal,
        rests: Mapping[str, Rest | None],
        clock: Clock,
        chance: Chance,
        settings: FollowUpSettings = FollowUpSettings(),
        handlers: Mapping[str, Handler] = MappingProxyType({}),
        observe: Observe = unobserved,
        bear: Callable[[str, RefusedError], None] = _raised,
    ) -> None:
        """Take the REST client of each agent, and the handlers by name, for the webhooks among the follow-ups.

        An agent that can't sign in at the moment has None; `bear` takes it that GWS refuses one, or raises that.
        """
        self._bear = bear
        self._handlers = handlers
        self._observe = observe
        self.concurrency = settings.concurrency
        self._journal = journal
        self._rests = rests
        self._clock = clock
        self._chance = chance
        self._settings = settings

    async def next_due(self) -> datetime | None:
        """Return when the next follow-up is due."""
        return await self._journal.next_follow_up_due()

    async def lease(self, most: int, now: datetime) -> Sequence[FollowUpLease]:
        """Hand out what is due."""
        patience = self._settings.patience
        return await self._journal.lease_follow_ups(
            most, now, now + patience.confirmation + patience.settling + LEASE_SLACK
        )

    async def release(self, leases: Sequence[FollowUpLease], now: datetime) -> None:
        """Hand back what was interrupted; how far each has come is on disk."""
        await self._journal.release_follow_ups(leases, now)

    async def carry_out(self, hold: Hold[FollowUpLease]) -> None:
        """Go on with one follow-up, and write down how that ended. Raises `DiskError` and `RefusedError`."""
        lease = hold.lease
        self._observe(FollowUpBegan(lease))
        began_at = self._clock.monotonic()
        try:
            progress = await self._go_on(hold)
        except RefusedError as error:
            self._bear(lease.agent, error)
            progress = self._later(hold.lease.progress)
        await self._record(hold, progress)
        self._observe(FollowUpPaused(lease, progress, self._clock.monotonic() - began_at))
        self._say(lease, progress)

    async def settle(self, ended: Sequence[tuple[Hold[FollowUpLease], None]]) -> None:
        """Each is written down in the task that carries it out: the next thing of its session may go on then."""

    async def _go_on(self, hold: Hold[FollowUpLease]) -> Progress:
        lease = hold.lease
        try:
            lease.operation.check()
        except ValueError as error:
            return replace(lease.progress, state=FollowUpState.PARKED, because=f"not sent by this version: {error}")
        if isinstance(lease.operation, Webhook):
            return await self._post(lease.operation, lease)
        if lease.agent not in self._rests:
            because = f"the configuration has no agent {lease.agent!r} any more: without it nothing is sent"
            return Progress(FollowUpState.FAILED, lease.progress.attempts, because=because)
        if (rest := self._rests[lease.agent]) is None:
            return self._later(lease.progress)
        return await self._carrying(lease.operation, hold, rest).go_on(lease.progress)

    def _later(self, progress: Progress) -> Progress:
        """Leave one for a while, as it is: that its agent can't sign in isn't its own failure."""
        again_at = self._clock.now() + REFUSED_PAUSE
        return replace(progress, because="GWS refuses the agent's credentials, or they can't be had", again_at=again_at)

    async def _post(self, webhook: Webhook, lease: FollowUpLease) -> Progress:
        """Have a webhook posted; a receiver tells an attempt that comes twice by its key."""
        attempts = lease.progress.attempts + 1
        if (handler := self._handlers.get(webhook.to)) is None:
            because = f"the configuration has no handler {webhook.to!r}: without it nothing is posted"
            return Progress(FollowUpState.FAILED, attempts, because=because)
        try:
            async with asyncio.timeout(POST_SECONDS):
                outcome: object = await handler.post(webhook, f"{self._journal.identity}/{lease.id}", self._clock.now())
        except DiskError:
            raise
        except Exception as error:  # noqa: BLE001  a handler's own code, which can raise anything
            return self._again(attempts, type(error).__name__)
        match outcome:
            case Done():
                return Progress(FollowUpState.CONFIRMED, attempts)
            case Defer(pause=pause):
                again_at = self._clock.now() + max(pause, POST_PAUSE)
                return Progress(attempts=lease.progress.attempts, because="deferred by the handler", again_at=again_at)
            case Reject(reason=reason):
                because = f"rejected by the handler\n{reason}"[: limits.PROBLEM_CHARACTERS]
                return Progress(FollowUpState.FAILED, attempts, because=because)
            case _:  # a handler without type checks returns anything
                return self._again(attempts, f"post() returned {type(outcome).__name__}")

    def _again(self, attempts: int, because: str) -> Progress:
        if attempts >= self._settings.patience.attempts:
            return Progress(FollowUpState.FAILED, attempts, because=because)
        return Progress(attempts=attempts, because=because, again_at=self._clock.now() + self._pause(attempts))

    def _pause(self, failures: int) -> timedelta:
        return backoff(self._settings.backoff, failures, LONGEST_BACKOFF, self._chance)

    def _carrying(self, operation: Operation, hold: Hold[FollowUpLease], rest: Rest) -> Carrying:
        return Carrying(
            operation,
            rest,
            JournalEvidence(self._journal, hold.lease.agent, operation.session, self._clock),
            clock=self._clock,
            patience=self._settings.patience,
            record=lambda progress: self._record(hold, progress),
            pause=self._pause,
        )

    async def _record(self, hold: Hold[FollowUpLease], progress: Progress) -> None:
        hold.settled_by = lease = hold.lease
        await self._journal.record_follow_up(lease, progress, self._clock.now())

    def _say(self, lease: FollowUpLease, progress: Progress) -> None:
        stuck = progress.state in {FollowUpState.PARKED, FollowUpState.FAILED}
        say = log.error if stuck else log.warning if progress.state.is_open else log.info
        say(
            f"follow_up.{progress.state if not progress.state.is_open else 'again'}",
            follow_up=lease.id,
            operation=lease.operation.name,
            session=lease.operation.session,
            attempts=progress.attempts,
            because=None if progress.because is None else progress.because.partition("\n")[0],
        )


class CapturingLane(FollowUpLane):
    """Writes down what handlers ask for in a replay, and sends nothing."""

    def __init__(self, journal: Journal, clock: Clock, chance: Chance) -> None:
        super().__init__(journal, {}, clock, chance)

    async def carry_out(self, hold: Hold[FollowUpLease]) -> None:
        """Mark a follow-up as captured: no daemon that opens this journal later sends it, either."""
        await self._record(hold, Progress(FollowUpState.CAPTURED))

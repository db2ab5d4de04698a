"""Follow-ups, from the journal to GWS and back: a lane of the dispatch, as each handler is one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from fbsessiond.carrying import Carrying, Patience
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.gws.rest import Rest
from fbsessiond.journal.interface import FOLLOW_UPS, Journal
from fbsessiond.journal.records import FollowUpLease
from fbsessiond.journal_evidence import JournalEvidence
from fbsessiond.lane import LONGEST_BACKOFF, backoff

log = structlog.get_logger(__name__)

LEASE_SLACK = timedelta(minutes=2)
"""How much longer than all waiting together a follow-up is leased: requests, and their time-outs."""


@dataclass(frozen=True, slots=True)
class FollowUpSettings:
    """How follow-ups are carried out."""

    patience: Patience = field(default_factory=Patience)
    backoff: timedelta = timedelta(seconds=1)
    concurrency: int = 64


class FollowUpLane:
    """Carries out what handlers asked for: side by side for different sessions, one after the other for each."""

    name = FOLLOW_UPS

    def __init__(
        self,
        journal: Journal,
        rests: Mapping[str, Rest],
        clock: Clock,
        chance: Chance,
        settings: FollowUpSettings = FollowUpSettings(),
    ) -> None:
        """Take the REST client of each agent."""
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

    async def carry_out(self, lease: FollowUpLease, current: Callable[[], FollowUpLease]) -> None:
        """Go on with one follow-up, and write down how that ended. Raises `DiskError` and `RefusedError`."""
        progress = await self._go_on(lease, current)
        await self._record(current(), progress)
        self._say(lease, progress)

    async def _go_on(self, lease: FollowUpLease, current: Callable[[], FollowUpLease]) -> Progress:
        try:
            lease.operation.check()
        except ValueError as error:
            return replace(lease.progress, state=FollowUpState.PARKED, because=f"not sent by this version: {error}")
        rest = self._rests.get(lease.agent)
        if rest is None:
            because = f"the configuration has no agent {lease.agent!r} any more"
            return Progress(FollowUpState.FAILED, lease.progress.attempts, because=because)
        return await self._carrying(lease, rest, current).go_on(lease.progress)

    def _carrying(self, lease: FollowUpLease, rest: Rest, current: Callable[[], FollowUpLease]) -> Carrying:
        return Carrying(
            lease.operation,
            rest,
            JournalEvidence(self._journal, lease.agent, lease.operation.session, self._clock),
            clock=self._clock,
            patience=self._settings.patience,
            record=lambda progress: self._record(current(), progress),
            pause=lambda failures: backoff(self._settings.backoff, failures, LONGEST_BACKOFF, self._chance),
        )

    async def _record(self, lease: FollowUpLease, progress: Progress) -> None:
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
            because=progress.because,
        )


class CapturingLane(FollowUpLane):
    """Writes down what handlers ask for in a replay, and sends nothing."""

    def __init__(self, journal: Journal, clock: Clock, chance: Chance) -> None:
        super().__init__(journal, {}, clock, chance)

    async def carry_out(
        self,
        lease: FollowUpLease,  # noqa: ARG002  the lane's interface
        current: Callable[[], FollowUpLease],
    ) -> None:
        """Mark a follow-up as captured: no daemon that opens this journal later sends it, either."""
        await self._record(current(), Progress(FollowUpState.CAPTURED))

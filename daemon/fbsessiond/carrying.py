"""Carrying out an operation on GWS so that it takes effect once.

    intended ──► sent ──► accepted ──► confirmed     a notification shows it
       ▲          │          │    ├──► observed      the session, read back, shows it
       │          │          │    └──► unconfirmed   GWS took it, and nothing can show what became of it
       ├──────────┴──────────┘         failed        GWS refuses it, or never does it
       │ the session shows that        parked        sent, perhaps; nothing can tell: a person decides
       │ it didn't happen

Each step is on disk before the next is taken. GWS knows no idempotency key, and answers "passed on" before anything
happened, so that a repeat may act twice: whatever is in doubt, after a cut connection, a time-out or a crash, is read
back before anything is sent again, and not before notifications had time to arrive.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from fbsessiond.clock import Clock
from fbsessiond.errors import RefusedError, UnavailableError
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.gws.answers import InDoubt, NotPerformed
from fbsessiond.gws.rest import Rest
from fbsessiond.notification import AnyNotification, Document, SessionNotification
from fbsessiond.operations import Operation


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to try."""

    confirmation: timedelta = timedelta(seconds=30)
    """How long after "passed on" a notification may take to show the effect."""
    settling: timedelta = timedelta(seconds=5)
    """How long after a request in doubt its effect may take to show; only then is a session's silence believed."""
    attempts: int = 10


class Evidence(Protocol):
    """The session's notifications."""

    def place(self) -> int:
        """Return the place of the last notification so far."""
        ...

    async def first(
        self, decides: Callable[[AnyNotification], bool], after: int, until: datetime
    ) -> AnyNotification | None:
        """Return the first notification after a place that decides, waiting until a point in time; None: none came."""
        ...

    async def known(self) -> Document | None:
        """Return the session as it is known from notifications."""
        ...


class Carrying:
    """One operation, on its way."""

    def __init__(
        self,
        operation: Operation,
        rest: Rest,
        evidence: Evidence,
        *,
        clock: Clock,
        patience: Patience,
        record: Callable[[Progress], Awaitable[None]],
        pause: Callable[[int], timedelta],
    ) -> None:
        """Take an operation, and `record`, which returns when progress is on disk; `pause` is the back-off."""
        self._operation = operation
        self._rest = rest
        self._evidence = evidence
        self._clock = clock
        self._patience = patience
        self._record = record
        self._pause = pause

    async def go_on(self, progress: Progress) -> Progress:
        """Go on from where it is, until it has ended or has to wait; return where it is then, not yet on disk.

        Raises `RefusedError` where GWS refuses the credentials.
        """
        match progress.state:
            case FollowUpState.INTENDED:
                return await self._send(progress)
            case FollowUpState.SENT:
                return await self._clear_doubt(progress)
            case FollowUpState.ACCEPTED:
                return await self._await_effect(progress)
            case _:
                return progress

    async def _send(self, progress: Progress) -> Progress:
        known = await self._evidence.known()
        if known is not None:
            if self._operation.kind.shows_in(self._operation.parameters, known):
                return _ended(progress, FollowUpState.OBSERVED, "the session shows it already")
            capabilities = known.get("capabilities")  # None: no notification has said yet; GWS knows
            if capabilities is not None and not self._operation.kind.is_allowed(frozenset(capabilities)):
                allowed_by = " or ".join(self._operation.kind.capabilities)
                state = known.get("state")
                return _ended(
                    progress, FollowUpState.FAILED, f"not sent: in {state} the session doesn't allow {allowed_by}"
                )
        progress = Progress(FollowUpState.SENT, progress.attempts + 1, self._clock.now(), self._evidence.place())
        await self._record(progress)
        try:
            answer = await self._rest.operate(self._operation)
        except NotPerformed as error:
            return await self._refused(progress, error)
        except InDoubt as error:
            return await self._clear_doubt(replace(progress, because=str(error)))
        except RefusedError as error:  # it changed nothing: there is no doubt once the credentials are corrected
            await self._record(Progress(FollowUpState.INTENDED, progress.attempts, because=str(error)))
            raise
        accepted_at = self._clock.now()
        progress = replace(
            progress, state=FollowUpState.ACCEPTED, sent_at=accepted_at, reference_id=answer.reference_id
        )
        await self._record(progress)
        return await self._await_effect(progress)

    async def _refused(self, progress: Progress, error: NotPerformed) -> Progress:
        """React to a request that changed nothing: later again, or see whether there was nothing left to do."""
        if error.again:
            return self._again(progress, str(error))
        if error.code is not None and await self._shows():
            return _ended(progress, FollowUpState.OBSERVED, f"{error}, and the session shows it already")
        return _ended(progress, FollowUpState.FAILED, str(error))

    async def _clear_doubt(self, progress: Progress) -> Progress:
        """Find out whether a request that may have been sent took effect."""
        doubted_at = self._clock.now()  # not when it was sent: a slow answer may have broken off just now
        if (ended := await self._decided(progress, doubted_at + self._patience.settling)) is not None:
            return ended
        doubt = progress.because or "interrupted before the answer"
        try:
            shows = await self._read_back()
        except UnavailableError as error:
            return self._wait(progress, f"in doubt, and can't be read back: {error}")
        if shows is None:
            return _ended(progress, FollowUpState.PARKED, f"{doubt}; nothing tells whether it was done")
        if shows:
            return _ended(progress, FollowUpState.OBSERVED, "in doubt, and the session shows it")
        return self._again(progress, "in doubt, and the session shows that it didn't happen")

    async def _await_effect(self, progress: Progress) -> Progress:
        """Wait for the notification that shows the effect of a request that GWS took."""
        if not self._operation.kind.is_confirmed:
            return _ended(progress, FollowUpState.CONFIRMED, "GWS took it; nothing more shows of it")
        sent_at = progress.sent_at or self._clock.now()
        if (ended := await self._decided(progress, sent_at + self._patience.confirmation)) is not None:
            return ended
        try:
            shows = await self._read_back()
        except UnavailableError as error:
            return self._wait(progress, f"not confirmed, and can't be read back: {error}")
        if shows is None:
            return _ended(progress, FollowUpState.UNCONFIRMED, "GWS took it, and nothing tells what became of it")
        if shows:
            return _ended(progress, FollowUpState.OBSERVED, "no notification, but the session shows it")
        return self._again(progress, "GWS took it, and the session shows that it didn't happen")

    async def _decided(self, progress: Progress, until: datetime) -> Progress | None:
        """Wait for a notification that decides; None: there was none in time."""
        notification = await self._evidence.first(lambda one: self._decides(progress, one), progress.after, until)
        if notification is None:
            return None
        if isinstance(notification, SessionNotification) and notification.is_error:
            return _ended(progress, FollowUpState.FAILED, "GWS notified an error for it")
        return _ended(progress, FollowUpState.CONFIRMED, None)

    def _decides(self, progress: Progress, notification: AnyNotification) -> bool:
        """Whether a notification is this operation's: by the change that was to be expected, or by its reference.

        The reference alone isn't enough where the change can be seen: references count from one for each client.
        """
        kind = self._operation.kind
        has_reference = progress.reference_id is not None and notification.reference_id == progress.reference_id
        is_error = isinstance(notification, SessionNotification) and notification.is_error
        if has_reference and (is_error or not kind.can_be_read_back):
            return True
        return kind.is_confirmed_by(self._operation.parameters, notification)

    async def _shows(self) -> bool:
        try:
            return bool(await self._read_back())
        except UnavailableError:
            return False

    async def _read_back(self) -> bool | None:
        session = await self._rest.session(self._operation.session)
        return self._operation.kind.shows_in(self._operation.parameters, session)

    def _again(self, progress: Progress, because: str) -> Progress:
        """Send it again after a pause; it is known that it didn't happen. Or give up."""
        if progress.attempts >= self._patience.attempts:
            return _ended(progress, FollowUpState.FAILED, because)
        again_at = self._clock.now() + self._pause(progress.attempts)
        return Progress(FollowUpState.INTENDED, progress.attempts, because=because, again_at=again_at)

    def _wait(self, progress: Progress, because: str) -> Progress:
        """Look again later; until then it stays in doubt."""
        again_at = self._clock.now() + self._pause(progress.attempts)
        return replace(progress, because=because, again_at=again_at)


def _ended(progress: Progress, state: FollowUpState, because: str | None) -> Progress:
    return replace(progress, state=state, because=because, again_at=None)

"""One operation by hand: with a connection of its own, so that it works beside a running daemon and without one."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime

from fbsessiond.agent import access_of, source_settings
from fbsessiond.carrying import Carrying, Patience
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.cometd.events import ConnectionEvent, Lost
from fbsessiond.cometd.source import CometdSource
from fbsessiond.errors import UnavailableError
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.gws.access import Access
from fbsessiond.gws.rest import Rest
from fbsessiond.notification import AnyNotification, Document, InvalidNotification, read
from fbsessiond.operations import Operation
from fbsessiond.settings import GwsSettings

READY_SECONDS = 10.0
"""How long the notification connection may take to be there; nothing is sent before."""


async def operate_once(
    operation: Operation,
    gws: GwsSettings,
    patience: Patience,
    *,
    wait: bool,
    clock: Clock,
    chance: Chance,
) -> Progress:
    """Do one operation as an agent, and wait until it shows that it took effect, if that is wanted.

    Raises `ConfigurationError`, `UnavailableError` where GWS can't be reached, `RefusedError`.
    """
    async with access_of(gws) as access:
        rest = Rest(str(gws.url), access)
        if not wait:
            return await _carry(operation, rest, _Live(operation.session, rest, clock), patience, clock, wait=False)
        return await _with_notifications(operation, gws, access, rest, patience, clock, chance)


async def _with_notifications(
    operation: Operation,
    gws: GwsSettings,
    access: Access,
    rest: Rest,
    patience: Patience,
    clock: Clock,
    chance: Chance,
) -> Progress:
    """Listen first, then send: the notification may come before the answer."""
    evidence = _Live(operation.session, rest, clock)
    settings = source_settings(gws)
    source = CometdSource(
        settings,
        access,
        clock=clock,
        chance=chance,
        observe=lambda event: evidence.observe(event, is_healthy=source.status.healthy),
    )
    listening = asyncio.create_task(evidence.listen(source))
    try:
        ready = asyncio.create_task(evidence.ready.wait())
        await asyncio.wait({listening, ready}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if listening.done():
            listening.result()
        if not evidence.ready.is_set():
            raise UnavailableError(f"{settings.url}: {evidence.trouble}; nothing was sent")
        return await _carry(operation, rest, evidence, patience, clock, wait=True)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({listening})


async def _carry(
    operation: Operation, rest: Rest, evidence: "_Live", patience: Patience, clock: Clock, *, wait: bool
) -> Progress:
    accepted: Progress | None = None

    async def record(progress: Progress) -> None:
        nonlocal accepted
        if progress.state is FollowUpState.ACCEPTED and not wait:
            accepted = progress
            raise _EnoughError

    if await evidence.known() is None:
        return Progress(FollowUpState.FAILED, because="not sent: the agent has no such session")
    carrying = Carrying(
        operation, rest, evidence, clock=clock, patience=patience, record=record, pause=lambda _: patience.settling
    )
    try:
        progress = await carrying.go_on(Progress())
    except _EnoughError:
        assert accepted is not None, "it is raised with it"  # noqa: S101
        return accepted
    if progress.state.is_open:  # by hand, the person decides whether to try again
        return replace(progress, state=FollowUpState.PARKED if progress.sent_at else FollowUpState.FAILED)
    return progress


class _EnoughError(Exception):
    """GWS took the operation, and nobody wants to wait for more."""


class _Live:
    """A session's notifications as they arrive, and the session as GWS shows it."""

    def __init__(self, session: str, rest: Rest, clock: Clock) -> None:
        self.ready = asyncio.Event()
        self.trouble = "no answer"
        self._session = session
        self._rest = rest
        self._clock = clock
        self._seen: list[AnyNotification] = []
        self._arrived = asyncio.Event()

    def observe(self, event: ConnectionEvent, *, is_healthy: bool) -> None:
        """Note when the connection is there, and what goes wrong with it."""
        if is_healthy:
            self.ready.set()
        if isinstance(event, Lost):
            self.trouble = f"{event.cause}: {event.words}"

    async def listen(self, source: CometdSource) -> None:
        """Take notifications until cancelled. Raises `RefusedError`."""
        async with aclosing(aiter(source)) as batches:
            async for batch in batches:
                for message in batch.messages:
                    with suppress(InvalidNotification):
                        self._seen += (one for one in read(message) if one.session_id == self._session)
                self._arrived.set()

    async def known(self) -> Document | None:
        """Read the session: by hand, nothing else is known of it."""
        return await self._rest.session(self._session)

    def place(self) -> int:
        """Return how many notifications there were."""
        return len(self._seen)

    async def first(
        self, decides: Callable[[AnyNotification], bool], after: int, until: datetime
    ) -> AnyNotification | None:
        """Look at each notification after a place, until a point in time."""
        while True:
            self._arrived.clear()
            for notification in self._seen[after:]:
                if decides(notification):
                    return notification
            after = len(self._seen)
            left = (until - self._clock.now()).total_seconds()
            if left <= 0:
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrived.wait()

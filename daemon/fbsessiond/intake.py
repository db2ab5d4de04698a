"""From batches to the journal: understand each message, derive what it changes, write all of it in one commit."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import structlog

from fbsessiond import limits
from fbsessiond.clock import Clock
from fbsessiond.envelope import open_envelope
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import Draft, Misfit, Quarantined, Wanted
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.notification import AnyNotification, Document, InvalidNotification, SessionNotification, read
from fbsessiond.reserve import Reserve
from fbsessiond.route import Route
from fbsessiond.transition import Change, Kind, derive

log = structlog.get_logger(__name__)

SessionKey: TypeAlias = tuple[str, str]
"""Agent and session."""


class Intake:
    """Takes batches, one at a time for each agent.

    What a notification changes depends on what is known of its session: so from reading that to having written the
    change, nothing else of the same agent comes between. Different agents' batches share the journal's commits.
    """

    def __init__(self, journal: Journal, routes: Sequence[Route], clock: Clock, reserve: Reserve | None = None) -> None:
        """Take what it writes to; without a reserve, the disk may become full."""
        self._reserve = reserve
        self._journal = journal
        self._clock = clock
        self._routes = routes
        self._known: OrderedDict[SessionKey, Document] = OrderedDict()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def wait_for_room(self) -> None:
        """Return when there is room on disk: nothing more is asked of a server before that."""
        if self._reserve is not None:
            await self._reserve.kept()

    async def take(self, batch: Batch, place: int | None = None) -> Sequence[Change]:
        """Journal a batch: on return it is on disk, with the deliveries that it causes. Return what it changes.

        A snapshot has a `place`, the number of the last entry before it was read. What it shows is so, but for the
        sessions of which anything arrived after that, which are left out: notifications win. Raises `JournalError`
        where the batch isn't on disk; then nothing of it may be acknowledged.
        """
        misfits: list[Misfit] = []
        async with self._turns[batch.agent]:
            drafts: list[Draft] = []
            learned: dict[SessionKey, Document] = {}
            for message in batch.messages:
                try:
                    drafts += await self._understand(message, batch, learned, place)
                except InvalidNotification as error:
                    misfits.append(Misfit(message, str(error)))
            await self._journal.append(batch, drafts, misfits)
            self._remember(learned)
        for misfit in misfits:
            log.warning("message.quarantined", agent=batch.agent, channel=misfit.message.channel, error=misfit.error)
        return [draft.change for draft in drafts]

    async def retry_quarantined(self) -> None:
        """Read the messages again that a person asked for: entries if they validate now, else they stay."""
        for quarantined in await self._journal.take_retries():
            async with self._turns[quarantined.agent]:
                await self._retry(quarantined)

    async def _retry(self, quarantined: Quarantined) -> None:
        message = open_envelope(quarantined.raw)
        batch = Batch(quarantined.agent, quarantined.origin, quarantined.received_at, (message,))
        learned: dict[SessionKey, Document] = {}
        try:
            drafts = await self._understand(message, batch, learned)
        except InvalidNotification as error:
            await self._journal.release_quarantined(quarantined, (), str(error))
        else:
            await self._journal.release_quarantined(quarantined, drafts, None)
            self._remember(learned)

    async def _understand(
        self, message: Message, batch: Batch, learned: dict[SessionKey, Document], place: int | None = None
    ) -> list[Draft]:
        """Make an entry, or several, of a message. What is learned here counts for the rest of the batch."""
        drafts: list[Draft] = []
        notifications = read(message)
        is_snapshot, is_current = batch.origin is Origin.SNAPSHOT, place is not None  # one that is tried again is late
        for notification in notifications:
            known: Document | None = None
            if isinstance(notification, SessionNotification) and notification.session_id is not None:
                key = (batch.agent, notification.session_id)
                known = learned.get(key) or await self._known_document(key)
                if place is not None and await self._journal.shown(*key, place):
                    continue
            change = derive(known, notification, is_current=is_current)
            if is_snapshot and change.kind is Kind.REPEAT:
                continue
            if change.session is not None and change.document is not None:
                learned[batch.agent, change.session] = change.document
            wanted = self._wanted(change, batch.origin)
            is_alone = len(notifications) == 1
            drafts.append(Draft(message, change, _kept_document(change, notification, is_alone=is_alone), wanted))
        return drafts

    async def _known_document(self, key: SessionKey) -> Document | None:
        document = self._known.get(key)
        return document if document is not None else await self._journal.known(*key)

    def _remember(self, learned: dict[SessionKey, Document]) -> None:
        """Keep what was learned in memory, once it is on disk; what was longest unused goes."""
        for key, document in learned.items():
            self._known[key] = document
            self._known.move_to_end(key)
        while len(self._known) > limits.KNOWN_SESSIONS:
            self._known.popitem(last=False)

    def _wanted(self, change: Change, origin: Origin) -> list[Wanted]:
        if change.kind is not Kind.TRANSITION or change.after is None:
            return []
        now = self._clock.now()
        return [Wanted(route.name, now) for route in self._routes if route.wants(change.before, change.after, origin)]


def _kept_document(change: Change, notification: AnyNotification, *, is_alone: bool) -> bytes | None:
    """Return the merged document, where the message doesn't say all of it, or says more than one thing."""
    document = change.document
    own = notification.document if isinstance(notification, SessionNotification) else None
    return None if document is None or (is_alone and document is own) else msgspec.json.encode(document)

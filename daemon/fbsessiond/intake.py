"""From batches to the journal: understand each message, derive what it changes, write all of it in one commit."""

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import structlog

from fbsessiond import limits
from fbsessiond.clock import Clock
from fbsessiond.conditions import UNDECIDED, Candidate
from fbsessiond.envelope import open_envelope
from fbsessiond.events import BatchTaken, Observe, unobserved
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import Draft, Misfit, NotWanted, Quarantined, Wanted
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.notification import AnyNotification, Document, InvalidNotification, SessionNotification, read
from fbsessiond.reserve import Reserve
from fbsessiond.route import Route
from fbsessiond.transition import Change, Kind, derive
from fbsessiond.wanting import ask

log = structlog.get_logger(__name__)

SessionKey: TypeAlias = tuple[str, str]
"""Agent and session."""


class Intake:
    """Takes batches, one at a time for each agent.

    What a notification changes depends on what is known of its session: so from reading that to having written the
    change, nothing else of the same agent comes between. Different agents' batches share the journal's commits.
    """

    def __init__(
        self,
        journal: Journal,
        routes: Sequence[Route],
        clock: Clock,
        reserve: Reserve | None = None,
        observe: Observe = unobserved,
    ) -> None:
        """Take what it writes to; without a reserve, the disk may become full."""
        self._reserve = reserve
        self._observe = observe
        self._journal = journal
        self._clock = clock
        self._routes = routes
        self._known: OrderedDict[SessionKey, Document] = OrderedDict()
        self.undecided: Counter[str] = Counter()
        """How often a handler's condition couldn't be evaluated, by its name."""
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
            began_at = self._clock.monotonic()
            first_seq = await self._journal.append(batch, drafts, misfits)
            self._observe(BatchTaken(batch, self._clock.monotonic() - began_at, first_seq, drafts, len(misfits)))
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
            if await self._journal.release_quarantined(quarantined, drafts, None):
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
            wanted, not_wanted = self._wanted(change, batch)
            kept = _kept_document(change, notification, is_alone=len(notifications) == 1)
            drafts.append(Draft(message, change, kept, wanted, not_wanted))
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

    def _wanted(self, change: Change, batch: Batch) -> tuple[Sequence[Wanted], Sequence[NotWanted]]:
        """Ask each handler whether it wants a change. A clock runs from the notification's arrival."""
        if change.kind is not Kind.TRANSITION or change.after is None or change.session is None:
            return (), ()
        document = change.document or {}
        candidate = Candidate(batch.agent, change.session, change.before, change.after, batch.origin, lambda: document)
        wanted, not_wanted = ask(self._routes, candidate, batch.received_at, self._clock.now())
        for one in not_wanted:
            self._note_undecided(one)
        return wanted, not_wanted

    def _note_undecided(self, refusal: NotWanted) -> None:
        """Say that a condition couldn't be evaluated, at the 1st, 2nd, 4th … time; why is in the journal alone."""
        if UNDECIDED not in refusal.because:
            return
        handler = refusal.handler
        self.undecided[handler] += 1
        times = self.undecided[handler]
        if times & (times - 1) == 0:
            log.warning("condition.undecided", handler=handler, times=times, hint="fbsessiond why SESSION says why")


def _kept_document(change: Change, notification: AnyNotification, *, is_alone: bool) -> bytes | None:
    """Return the merged document, where the message doesn't say all of it, or says more than one thing."""
    document = change.document
    own = notification.document if isinstance(notification, SessionNotification) else None
    return None if document is None or (is_alone and document is own) else msgspec.json.encode(document)

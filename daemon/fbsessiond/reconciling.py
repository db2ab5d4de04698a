"""What is known of an agent's sessions, compared with the list of them that GWS gives: after a gap, and now and then.

A changed state counts when two looks at the list in a row, some time apart, show the same one, and no notification of
that session arrived after the second was asked for: notifications win. After a gap differences become entries of
origin `snapshot`. Where there was no gap, a change wasn't notified though all looked well: that is a gap as well, back
to the last comparison, and the CometD session is begun anew.
"""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
import structlog

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.dates import iso
from fbsessiond.errors import UnavailableError
from fbsessiond.events import GapFound, Observe, SilenceFound, SnapshotCompared, SnapshotOutcome, unobserved
from fbsessiond.gap import Gap, Watched, span
from fbsessiond.gws.rest import Rest
from fbsessiond.intake import Intake
from fbsessiond.journal.interface import Journal, gaps_of
from fbsessiond.lane import backoff
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.notification import AnyNotification, Document, InvalidNotification, SessionNotification, read
from fbsessiond.session import TERMINAL_STATES, VANISHED
from fbsessiond.transition import Change, Kind, derive, state_of

log = structlog.get_logger(__name__)

REMARK = "found by reading the session after a gap: when it changed, and the states in between, aren't known"

JITTER = 0.25
"""How far the time between two comparisons strays from the setting: agents that started together drift apart."""

FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=1)

KEPT_SESSION = timedelta(minutes=1)
"""A break that lasts longer is a gap for sure: no server keeps a session for so long, and what waits in it."""

MOST_LOOKS = 10
"""How often in a row the list may change before this is left for later."""


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """How often the list is read, and how long a difference has to last."""

    every: timedelta = timedelta(minutes=5)
    settling: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Difference:
    """A session that isn't as it is known."""

    state: str | None
    kind: Kind
    document: Document
    """As listed; of one that vanished, its id and that state."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one reading of the list shows."""

    at: datetime
    """When it was asked for."""
    place: int
    """The number of the journal's last entry then."""
    differences: Mapping[str, Difference]
    unreadable: Sequence[Document]
    """Sessions that don't validate."""

    @property
    def changes(self) -> dict[str, str | None]:
        """The sessions whose state differs, with the state that the list shows."""
        return {session: one.state for session, one in self.differences.items() if one.kind is Kind.TRANSITION}

    def only(self, sessions: Container[str]) -> "Look":
        """Return what this look shows of some sessions."""
        return replace(self, differences={each: one for each, one in self.differences.items() if each in sessions})


class Reconciler:
    """Keeps what is known of one agent's sessions true."""

    def __init__(
        self,
        agent: str,
        journal: Journal,
        intake: Intake,
        rest: Rest,
        *,
        clock: Clock,
        chance: Chance,
        renew: Callable[[], None],
        settings: SnapshotSettings = SnapshotSettings(),
        observe: Observe = unobserved,
    ) -> None:
        """Take an agent's parts; `renew` begins its CometD session anew."""
        self._agent = agent
        self._journal = journal
        self._intake = intake
        self._rest = rest
        self._clock = clock
        self._chance = chance
        self._renew = renew
        self._settings = settings
        self._observe = observe
        self._found: set[datetime] = set()

    async def run(self) -> None:
        """Repair each gap when it has ended, and compare now and then, until cancelled.

        Raises `RefusedError` where GWS refuses the credentials, or `JournalError`.
        """
        wake = self._journal.wakes(gaps_of(self._agent))
        failures = 0
        pause = self._settings.settling  # a session that was taken up is compared soon
        while True:
            is_due = not await _woken(wake, pause)
            await self._intake.wait_for_room()
            try:
                await self._look_after(await self._journal.watched(self._agent), is_due=is_due)
                failures = 0
                pause = self._settings.every * self._chance.between(1 - JITTER, 1 + JITTER)
            except UnavailableError as error:
                failures += 1
                pause = backoff(FIRST_BACKOFF, failures, LONGEST_BACKOFF, self._chance)
                self._observe(SnapshotCompared(SnapshotOutcome.UNAVAILABLE))
                log.warning(
                    "snapshot.unavailable",
                    agent=self._agent,
                    because=str(error),
                    again_in=f"{pause.total_seconds():.1f} s",
                )

    async def _look_after(self, watched: Watched, *, is_due: bool) -> None:
        """Do what there is to do; in a gap that goes on, read the list all the same, if it can be had."""
        self._notice(watched)
        gaps = _gaps(watched)
        is_long = self._clock.now() - watched.proven_until > KEPT_SESSION
        if watched.gaps or (gaps and is_due and is_long):
            await self._repair()
        elif is_due and not gaps:
            await self._compare()

    def _notice(self, watched: Watched) -> None:
        """Tell of each gap once, when it has ended."""
        for gap in watched.gaps:
            if gap.begin not in self._found:
                self._observe(GapFound(gap))
                log.warning("gap.found", agent=self._agent, **gap.written())
        self._found = {gap.begin for gap in watched.gaps}

    async def _repair(self) -> None:
        """Write down what differs after gaps, and close those that have ended."""
        look = await self._settled_look()
        watched = await self._journal.watched(self._agent)  # one may have ended meanwhile, or have been none
        self._notice(watched)
        gaps = [one for one in _gaps(watched) if one.begin <= look.at]
        if not gaps:
            return  # it was none: the session goes on, and brings what it kept
        gap = span(gaps)
        messages = [_message(one.document, look.at, gap) for one in look.differences.values()]
        messages += [_message(document, look.at, gap) for document in look.unreadable]
        changes: Sequence[Change] = ()
        if messages:
            batch = Batch(self._agent, Origin.SNAPSHOT, self._clock.now(), tuple(messages))
            changes = await self._intake.take(batch, look.place)
        await self._journal.agree(self._agent, look.at)
        outcome = SnapshotOutcome.DIFFERED if changes else SnapshotOutcome.AGREED
        self._observe(SnapshotCompared(outcome, [change.kind for change in changes]))
        log.info("gap.repaired", agent=self._agent, **gap.written(), changes=len(changes))

    async def _compare(self) -> None:
        """See whether the sessions are as they are known, as they have to be where there was no gap."""
        look = await self._settled_look()
        watched = await self._journal.watched(self._agent)
        if watched.gaps or watched.broken is not None:
            return  # a gap that came meanwhile explains it, and is repaired next
        if not look.changes:
            await self._journal.agree(self._agent, look.at)
            self._observe(SnapshotCompared(SnapshotOutcome.AGREED))
            return
        if not await self._is_still_so(look):
            return  # it was on its way, or the chain broke: the next comparison tells
        log.error("gap.silent", agent=self._agent, sessions=len(look.changes), since=iso(watched.compared_at))
        self._observe(SnapshotCompared(SnapshotOutcome.DIFFERED))  # what differs is told where it is written down
        self._observe(SilenceFound())
        await self._journal.doubt(self._agent)
        self._renew()

    async def _is_still_so(self, seen: Look) -> bool:
        """Say whether a change is still unknown once a connect succeeded that would have brought its notification."""
        now = self._clock.now()
        while (watched := await self._journal.watched(self._agent)).proven_until <= now:
            if watched.broken is not None:
                return False
            await asyncio.sleep(self._settings.settling.total_seconds())
        look = (await self._look()).only(seen.changes)
        return bool(look.changes.items() & seen.changes.items())

    async def _settled_look(self) -> Look:
        """Look until each session whose state differed at first differs twice in the same way, or no more.

        What else comes up meanwhile isn't counted: it is of a later time than the first look, up to which this tells
        the truth. Raises `UnavailableError`.
        """
        first = look = await self._look()
        for _ in range(MOST_LOOKS):
            if not first.changes:
                return first
            await asyncio.sleep(self._settings.settling.total_seconds())
            before, look = look, (await self._look()).only(first.differences)
            if look.changes.items() <= before.changes.items():
                return replace(look, at=first.at)
        raise UnavailableError("the list of sessions doesn't settle")

    async def _look(self) -> Look:
        """Read the list once, and compare. Raises `UnavailableError` where it can't be had, or has no list."""
        at, place = self._clock.now(), self._journal.last_place()
        listed = await self._rest.sessions()
        if listed is None:
            raise UnavailableError("GWS answers without a list of sessions, which isn't the same as an empty one")
        differences: dict[str, Difference] = {}
        unreadable: list[Document] = []
        seen: set[str] = set()
        for document in listed:
            if (notification := _read(document)) is None or notification.session_id is None:
                unreadable.append(document)
                continue
            seen.add(notification.session_id)
            known = await self._journal.known(self._agent, notification.session_id)
            change = derive(known, notification, is_current=True)
            is_news = known is not None or state_of(document) not in TERMINAL_STATES  # what ended unseen is past
            if is_news and change.kind is not Kind.REPEAT:
                differences[notification.session_id] = Difference(state_of(document), change.kind, document)
        if not unreadable:  # one of them could be any session that seems to be gone
            for session in sorted((await self._journal.open_sessions(self._agent)).keys() - seen):
                gone: Document = {"id": session, "state": VANISHED}
                differences[session] = Difference(VANISHED, Kind.TRANSITION, gone)
        notified = [one for one in differences if await self._journal.shown(self._agent, one, place)]
        for session in notified:
            del differences[session]
        return Look(at, place, differences, unreadable)


def _gaps(watched: Watched) -> Sequence[Gap]:
    """Return the gaps that aren't closed, the one that goes on last."""
    return [*watched.gaps, *([] if watched.open_gap is None else [watched.open_gap])]


async def _woken(wake: asyncio.Event, pause: timedelta) -> bool:
    """Wait for an event, but no longer than a pause; say whether it was the event."""
    with suppress(TimeoutError):
        async with asyncio.timeout(pause.total_seconds()):
            await wake.wait()
    is_woken = wake.is_set()
    wake.clear()
    return is_woken


def _read(document: Document) -> SessionNotification | None:
    """Understand a session of the list as if a notification had brought it; None where it doesn't validate."""
    try:
        found: Sequence[AnyNotification] = read(Message(b"", None, msgspec.json.encode({"facebooksession": document})))
    except InvalidNotification:
        return None
    first = found[0]
    return first if isinstance(first, SessionNotification) else None


def _message(document: Document, read_at: datetime, gap: Gap) -> Message:
    """Make a message of what the list shows: it says where it comes from, and what isn't known."""
    snapshot = {"read_at": iso(read_at), "gap": gap.written(), "remark": REMARK}
    data = msgspec.json.encode({"facebooksession": document, "snapshot": snapshot})
    return Message(data, None, data)

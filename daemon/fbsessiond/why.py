"""Why something was done about a session, or wasn't: its timeline, with what became of each transition.

For `fbsessiond why` and the operator page alike. What is told as a sentence holds nothing of a customer's; reasons may,
until `without_customer_data` has gone over them.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import msgspec

from fbsessiond.dates import iso
from fbsessiond.durations import in_words
from fbsessiond.follow_up import FollowUpState
from fbsessiond.gap import Gap, read_gap
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Entry, FollowUpRecord, Wait
from fbsessiond.message import Origin
from fbsessiond.privacy import redact, scrub
from fbsessiond.transition import Kind


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a transition for one handler."""

    delivery: DeliveryRecord
    follow_ups: tuple[FollowUpRecord, ...] = ()
    """What the handler asked for, in its order."""
    behind: str | None = None
    """The delivery that has to be settled before this one."""
    is_configured: bool | None = None
    """Whether the configuration has the handler; None: it isn't known."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An entry of a session, and what it caused."""

    entry: Entry
    gaps: tuple[Gap, ...] = ()
    """Those in the span since the entry before: something may have been missed there."""
    fates: tuple[Fate, ...] = ()
    """Of a transition: one for each handler that was there when it was received, by name."""
    not_asked: tuple[str, ...] = ()
    """Of a transition: handlers of the configuration that weren't there then."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A session of one agent, as far back as the journal has it."""

    agent: str
    session: str
    moments: tuple[Moment, ...]
    gaps: tuple[Gap, ...] = ()
    """Those since the last entry."""
    others: tuple[FollowUpRecord, ...] = ()
    """What was asked for on this session when another one changed."""

    @property
    def state(self) -> str | None:
        """The state in which the session is, as far as is known."""
        return next((one.entry.after for one in reversed(self.moments) if one.entry.after is not None), None)

    @property
    def is_whole(self) -> bool:
        """Whether its first entry is here: retention forgets old ones."""
        first = self.moments[0].entry
        return first.before is None and first.kind is Kind.TRANSITION


def timelines(
    reader: Reader, session: str, now: datetime, *, agent: str | None = None, handlers: Collection[str] | None = None
) -> list[Timeline]:
    """Return a session's timeline for each agent that had it, or for one; none where the journal doesn't know it.

    With the names of the configuration's handlers, it is known too which are new since, and which are gone.
    """
    entries = sorted(reader.entries(session=session, agent=agent), key=lambda entry: (entry.agent, entry.seq))
    found: list[Timeline] = []
    for each, group in groupby(entries, key=lambda entry: entry.agent):
        found.append(_timeline(reader, list(group), session, each, now, handlers))
    return found


def delivery_told(fate: Fate, now: datetime) -> str:
    """Return what became of a delivery as a sentence; why stands in its `because`."""
    gone = " (the configuration has no such handler any more)" if fate.is_configured is False else ""
    return f"{_delivery_told(fate, now)}{gone}"


def follow_up_told(follow_up: FollowUpRecord) -> str:
    """Return how far a follow-up has come as a sentence, and what a person has to do; why stands in its `because`."""
    progress = follow_up.progress
    state = f"{follow_up.operation.name} {_SAID[progress.state]}, {iso(follow_up.at)}"
    times = f", {_times(progress.attempts)}" if progress.attempts > 1 else ""
    running = "; at work on it now" if follow_up.is_running else ""
    to_do = _TO_DO.get(progress.state, "").format(follow_up.id)
    return f"{state}{times}{running}{to_do}"


_SAID = {
    FollowUpState.INTENDED: "intended: not sent yet",
    FollowUpState.SENT: "sent: no answer yet",
    FollowUpState.ACCEPTED: "accepted: GWS took it, and nothing shows the effect yet",
    FollowUpState.CONFIRMED: "confirmed",
    FollowUpState.OBSERVED: "observed: the session, read back, shows it",
    FollowUpState.UNCONFIRMED: "unconfirmed: GWS took it, and nothing can show what became of it",
    FollowUpState.PARKED: "parked: sent, perhaps, and nothing tells whether it was done",
    FollowUpState.FAILED: "failed",
    FollowUpState.CAPTURED: "captured: in a replay nothing is sent",
    FollowUpState.WITHDRAWN: "withdrawn",
}
_TO_DO = {
    FollowUpState.PARKED: "; look at the session, then `fbsessiond dead retry {0}` or `fbsessiond dead drop {0}`",
    FollowUpState.FAILED: "; when the cause is gone, `fbsessiond dead retry {0}`",
}
assert _SAID.keys() == set(FollowUpState), "each state of a follow-up has its words"  # noqa: S101  checked at import


def entry_of(reader: Reader, seq: int) -> Entry | None:
    """Return an entry; None where it is forgotten."""
    following = next(reader.entries(after_seq=seq - 1), None)
    return following if following is not None and following.seq == seq else None


def without_customer_data(reason: str, entry: Entry | None, key: bytes) -> str:
    """Return a reason with tokens for the values of an entry's customer; only its first line, if they can't be known.

    The first line of a handler's error is written so that it holds none.
    """
    first_line = reason.partition("\n")[0]
    if entry is None:  # forgotten meanwhile
        return first_line
    try:
        documents = [msgspec.json.decode(text) for text in (entry.notification, entry.document) if text is not None]
    except (ValueError, RecursionError):  # damaged
        return first_line
    reason = _VALUE_TOLD.sub(lambda found: _without_value(found, key), reason)
    for document in documents:
        reason = scrub(reason, document, key)
    return reason


_VALUE_TOLD = re.compile(
    r"""\b((?:session|user_data|participants)(?:\.\w+|\["[^"]*"\]|\['[^']*'\]|\[\d+\])*) is """
    r"""("(?:\\.|[^"\\])*"|-?\d[\d.eE+-]*|[\[{].*?[\]}](?=, \w|\n|$))"""
)
"""Where a condition tells a value: `user_data["AGE"] is "42"`. It may be too short to be found by itself."""

_NAMES_SHOWN = re.compile(r"session\.(?:id|agent|state|type|received_date|capabilities)\b")


def _without_value(found: re.Match[str], key: bytes) -> str:
    name, written = found.groups()
    if _NAMES_SHOWN.match(name):
        return found[0]
    try:
        field = re.findall(r"\w+", name)[-1]
        shown = redact({"userData": {field: msgspec.json.decode(written)}}, key)["userData"][field]
    except ValueError:  # cut off: what is left of it is scrubbed
        return found[0]
    return f"{name} is {msgspec.json.encode(shown).decode()}"


def _delivery_told(fate: Fate, now: datetime) -> str:
    delivery = fate.delivery
    at, attempts = iso(delivery.at), delivery.attempts
    match delivery.state:
        case DeliveryState.WAITING:
            behind = f"behind {fate.behind}" if fate.behind is not None else ""
            until = _until(delivery, delivery.wait, now) if delivery.wait is not None else ""
            told = f"waits: {', '.join(filter(None, (behind, until)))}"
        case DeliveryState.DUE:
            told = f"due {_when(delivery.at, now)}{f', after {_times(attempts)}' if attempts else ''}"
        case DeliveryState.RUNNING:
            told = f"running: attempt {attempts + 1}, handed out until {at}"
        case DeliveryState.DELIVERED:
            told = f"delivered at {at}{f', at attempt {attempts}' if attempts > 1 else ''}"
        case DeliveryState.DEAD:
            again = f"when the cause is gone, `fbsessiond dead retry {delivery.id}`"
            told = f"dead since {at}, after {_times(attempts)}; {again}"
        case DeliveryState.WITHDRAWN:
            told = f"withdrawn at {at}"
        case _:  # not wanted
            told = "not wanted"
    return told


def _timeline(
    reader: Reader, entries: Sequence[Entry], session: str, agent: str, now: datetime, handlers: Collection[str] | None
) -> Timeline:
    gaps = [*reader.gaps(agent=agent), *(one.open_gap for one in reader.watched(agent=agent) if one.open_gap)]
    follow_ups = list(reader.follow_ups(session=session, agent=agent))
    fates = _fates(reader.deliveries(session=session, agent=agent), follow_ups, handlers)
    numbers = {entry.seq for entry in entries}
    moments: list[Moment] = []
    since = _since(entries[0])
    for entry in entries:
        of_entry = fates.get(entry.seq, ())
        there = {fate.delivery.handler for fate in of_entry}
        new = sorted(set(handlers or ()) - there) if entry.kind is Kind.TRANSITION else ()
        moments.append(Moment(entry, _between(gaps, since, entry.received_at), of_entry, tuple(new)))
        since = entry.received_at
    others = (one for one in follow_ups if one.seq not in numbers)
    return Timeline(agent, session, tuple(moments), _between(gaps, since, now), tuple(others))


def _fates(
    deliveries: Iterable[DeliveryRecord], follow_ups: Iterable[FollowUpRecord], handlers: Collection[str] | None
) -> dict[int, tuple[Fate, ...]]:
    """Return deliveries with what they asked for, by the numbers of their entries."""
    asked: dict[tuple[int, str], list[FollowUpRecord]] = {}
    for follow_up in follow_ups:
        asked.setdefault((follow_up.seq, follow_up.handler), []).append(follow_up)
    first_pending: dict[str, DeliveryRecord] = {}
    found: dict[int, list[Fate]] = {}
    for delivery in deliveries:
        name = delivery.handler
        first = first_pending.setdefault(name, delivery) if delivery.state in _PENDING else delivery
        fate = Fate(
            delivery,
            tuple(asked.get((delivery.seq, name), ())),
            behind=None if first is delivery else first.id,
            is_configured=None if handlers is None else name in handlers,
        )
        found.setdefault(delivery.seq, []).append(fate)
    return {seq: tuple(fates) for seq, fates in found.items()}


_PENDING = frozenset({DeliveryState.WAITING, DeliveryState.DUE, DeliveryState.RUNNING})


def _since(first: Entry) -> datetime:
    """Return when that could have begun which a session's first entry tells: where a snapshot saw it, in its gap."""
    if first.origin is Origin.SNAPSHOT:
        try:
            return read_gap(first.agent, msgspec.json.decode(first.notification)["snapshot"]["gap"]).begin
        except (ValueError, LookupError, TypeError):  # damaged
            return first.received_at
    return first.received_at


def _between(gaps: Sequence[Gap], since: datetime, until: datetime) -> tuple[Gap, ...]:
    return tuple(gap for gap in gaps if gap.begin < until and (gap.end is None or gap.end > since))


_WAITED = {
    Wait.FOR: ("its clock runs until", "its clock ended at"),
    Wait.ONCE_AFTER: ("once_after holds it until", "once_after held it until"),
}


def _until(delivery: DeliveryRecord, wait: Wait, now: datetime) -> str:
    runs, ended = _WAITED[wait]
    at = iso(delivery.at)
    if delivery.at > now:
        return f"{runs} {at}, {in_words(delivery.at - now)} more"
    return f"{ended} {at}, {in_words(now - delivery.at)} ago"


def _when(at: datetime, now: datetime) -> str:
    return f"at {iso(at)}, in {in_words(at - now)}" if at > now else f"since {iso(at)}, {in_words(now - at)} ago"


def _times(attempts: int) -> str:
    return f"{attempts} attempt{'' if attempts == 1 else 's'}"

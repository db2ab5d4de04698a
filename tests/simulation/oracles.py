"""What must hold at the end of a simulation, whatever happened in it. An oracle yields what doesn't.

To add one: write a function from a `World` to texts, and put it into `ORACLES`; and break the daemon in `broken` in a
way that this one notices, so that it is known to bite.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeAlias

import msgspec

from fbsessiond.gap import GapCause
from fbsessiond.journal.documents import candidate_of
from fbsessiond.journal.records import Entry
from fbsessiond.message import Origin
from fbsessiond.route import Wish
from fbsessiond.transition import Kind
from simulation.world import AFTER as LATER
from simulation.world import HOLD, LASTS, SECOND, SNAPSHOTS, WITHIN, World

BOUND = timedelta(seconds=1)
"""How far a gap's bounds may be from what the server knows."""

BEFORE = HOLD * 2
"""A gap may begin so long before anything was wrong: with the last connect that was answered."""

AFTER = timedelta(seconds=30)
"""A gap may last so much longer than what was wrong."""

SILENCE = SNAPSHOTS.every * 2
"""So long a silence may last until a comparison shows it; the gap goes back to the comparison before."""

ASKED = HOLD * 2
"""How long it may take until what was asked for arrives."""

ZERO = timedelta()

FOREVER = datetime.max.replace(tzinfo=UTC)

FRESH_SECONDS = 30.0
"""How long after the last fault a notification may take to be handled."""


def conservation(world: World) -> Iterator[str]:
    """Each notification is in the journal once, word for word and in order, or was sent in a gap.

    Or in a silence: what left no difference in the list of sessions by the next comparison nobody can know of.
    """
    reader = world.reader()
    received = [entry.notification for entry in reader.entries() if entry.origin is Origin.LIVE]
    gaps = list(reader.gaps())
    silences = [span for span in world.spans if span.name == "silence"]
    places = {0}  # how many of them may have been received so far: one sent in a gap may have arrived, or not
    for at, data in world.sent:
        before, places = places, {place + 1 for place in places if received[place : place + 1] == [data]}
        if any(gap.begin - BOUND <= at <= (gap.end or at) + BOUND for gap in gaps) or any(
            span.begin <= at <= span.end + BOUND for span in silences
        ):
            places |= before
        if not places:
            yield f"sent at {at}, in no gap, and not received: {data[:200]!r}"
            return
    if len(received) not in places:
        yield f"{len(received) - max(places)} entries were never sent, or came twice"


def acknowledged(world: World) -> Iterator[str]:
    """Everything that the server counts as acknowledged is in the journal."""
    there = Counter(entry.notification for entry in world.reader().entries())
    for sent in world.simulator.bayeux.acknowledged:
        if not there[msgspec.json.encode(sent.message["data"])]:
            yield f"acknowledged, and not there: {sent.number}"


def wholeness(world: World) -> Iterator[str]:
    """The journal verifies: sequence, checksums, predecessors, deliveries, gaps."""
    yield from (f"{finding.where}: {finding.what}" for finding in world.reader().verify(_quietly))


def deliveries(world: World) -> Iterator[str]:
    """Each transition reached each handler, at least once and in order for each session; nothing is left to do."""
    reader = world.reader()
    transitions = [entry for entry in reader.entries() if entry.kind is Kind.TRANSITION]
    settled = Counter((one.seq, one.handler, one.state.value) for one in reader.deliveries())
    for route in world.routes():
        for entry in transitions:
            wish = route.wish(candidate_of(entry))
            is_wanted = isinstance(wish, Wish) and wish.lasts is None and wish.throttle is None
            if is_wanted and route.name != SECOND and settled[entry.seq, route.name, "delivered"] != 1:
                yield f"{entry.seq}/{route.name} isn't delivered"
    there = {(entry.session, entry.seq) for entry in transitions}
    for name, seqs in world.handled.items():
        if any(later < earlier for earlier, later in pairwise(seqs)):
            yield f"{name} was handled out of order: {seqs}"
        if foreign := [seq for seq in seqs if (name, seq) not in there]:
            yield f"{name} was handled, and is not there: {foreign}"


def clocks(world: World) -> Iterator[str]:
    """Each clock fired once, or its session left the state before its time; it fired for nothing that is excluded."""
    entries = [entry for entry in world.reader().entries() if entry.kind is Kind.TRANSITION and world.has_handlers]
    following = dict(_successors(entries))
    for entry in entries:
        outcomes = [one.state.value for one in world.reader().deliveries(seq=entry.seq) if one.handler == "patient"]
        if entry.after != "Chatting" or entry.before == "Completed":
            if outcomes != ["not_wanted"]:
                yield f"{entry.seq}/patient is {outcomes}, and its condition excludes it"
            continue
        left = following.get(entry.seq)
        if left is None or (left.origin is not Origin.SNAPSHOT and left.received_at >= entry.received_at + LASTS):
            expected = {"delivered"}
        else:  # a snapshot doesn't tell when it left
            expected = {"withdrawn"} if left.origin is not Origin.SNAPSHOT else {"withdrawn", "delivered"}
        if len(outcomes) != 1 or outcomes[0] not in expected:
            yield f"{entry.seq}/patient of {entry.received_at} is {outcomes}; then came {left and left.received_at}"


def throttles(world: World) -> Iterator[str]:
    """Of transitions that count together one counts: the first in its pause, or the last."""
    entries = {entry.seq: entry for entry in world.reader().entries() if entry.kind is Kind.TRANSITION}
    chats = [entry for entry in entries.values() if entry.after == "Chatting" and world.has_handlers]
    states = {(one.handler, one.seq): one.state.value for one in world.reader().deliveries()}
    counted: datetime | None = None
    for chat in chats:
        is_held = counted is not None and chat.received_at < counted + WITHIN
        counted = counted if is_held else chat.received_at
        if states.get(("seldom", chat.seq)) != ("not_wanted" if is_held else "delivered"):
            yield f"{chat.seq}/seldom of {chat.received_at} is {states.get(('seldom', chat.seq))}: {counted} counted"
    begun: datetime | None = None
    for chat, after in zip(chats, [*chats[1:], None], strict=False):  # the last one has none after it
        if begun is None or chat.received_at >= begun + LATER:
            begun = chat.received_at
        is_last = after is None or after.received_at >= begun + LATER
        if states.get(("last", chat.seq)) != ("delivered" if is_last else "withdrawn"):
            yield f"{chat.seq}/last of {chat.received_at} is {states.get(('last', chat.seq))}: it began at {begun}"


def _successors(entries: Sequence[Entry]) -> Iterator[tuple[int, Entry]]:
    """Yield for each transition the session's next one."""
    latest: dict[str | None, Entry] = {}
    for entry in entries:
        if (before := latest.get(entry.session)) is not None:
            yield before.seq, entry
        latest[entry.session] = entry


def effects(world: World) -> Iterator[str]:
    """No follow-up took effect twice; each has ended."""
    for applied, times in world.simulator.platform.effects.items():
        if applied.by == "http" and applied.operation in {"Complete", "SetDisposition"} and times > 1:
            yield f"{applied.operation} took effect {times} times on {applied.session}"
    for record in world.reader().follow_ups():
        if record.progress.state.is_open:
            yield f"{record.id} is still {record.progress.state}"


def gaps(world: World) -> Iterator[str]:
    """A gap is where something was wrong, and each is repaired."""
    for gap in world.reader().gaps():
        if gap.closed_by is None:
            yield f"not repaired: {gap}"
        if gap.cause is GapCause.START or gap.end is None:
            continue
        slack = SILENCE if gap.cause is GapCause.SILENT else BEFORE
        spans = [span for span in world.spans if span.begin <= gap.end and gap.begin <= span.end + AFTER]
        if not spans or gap.begin < min(span.begin for span in spans) - slack:
            yield f"nothing was wrong then: {gap}"
        elif gap.end > max(span.end for span in spans) + AFTER + (slack if gap.cause is GapCause.SILENT else ZERO):
            yield f"all was well again long before: {gap}"


def truth(world: World) -> Iterator[str]:
    """Every session is known in the state that the server has it in, and none besides."""
    there = world.open_sessions()
    for session in sorted(there.keys() | world.known.keys()):
        if there.get(session) != world.known.get(session):
            yield f"{session} is {there.get(session)}, and known as {world.known.get(session)}"


def freshness(world: World) -> Iterator[str]:
    """After everything is well again, what is new passes soon."""
    if world.fresh_seconds > FRESH_SECONDS:
        yield f"a fresh notification took {world.fresh_seconds} s"


def honesty(world: World) -> Iterator[str]:
    """When a write fails the daemon ends."""
    if world.pretences:
        yield f"it went on {world.pretences} times though its disk had failed"


def attempts(world: World) -> Iterator[str]:
    """What was interrupted cost no attempt: only failures do, and the one that succeeded."""
    for one in world.reader().deliveries():
        most = world.failures[f"{one.seq}/{one.handler}"] + 1
        if one.handler != "wrap-up" and one.attempts > most:
            yield f"{one.seq}/{one.handler} took {one.attempts} attempts, and {most} were made"


def once(world: World) -> Iterator[str]:
    """What a handler brought to its end isn't handed out again, unless the process couldn't end in order."""
    for delivery, processes in world.done.items():
        for one, following in pairwise(processes):
            if one is following or one not in world.broken_off:
                yield f"{delivery} was handled by {one.name}, and again by {following.name}"


def stopping(world: World) -> Iterator[str]:
    """Whatever it is doing, the daemon stops within the time that it gets, with status 0."""
    yield from world.complaints["stopping"]


def reloading(world: World) -> Iterator[str]:
    """The daemon goes on with a configuration that is right, and stays with the one that it has if it is wrong."""
    yield from world.complaints["reloading"]


def configured(world: World) -> Iterator[str]:
    """A handler gets what came while it was configured, and nothing else."""
    reader = world.reader()
    states = {one.seq: one.state.value for one in reader.deliveries() if one.handler == SECOND}
    spans = [(span[0], span[1] if len(span) > 1 else FOREVER) for span in world.present[SECOND]]
    for entry in reader.entries():
        at, state = entry.received_at, states.get(entry.seq)
        if entry.kind is not Kind.TRANSITION or any(at in span for span in spans):
            continue  # both configurations were there at that moment
        if any(begin < at < end for begin, end in spans) != (state is not None):
            yield f"{entry.seq}/{SECOND} of {at} is {state}; it was there: {spans}"
        elif state not in {None, "delivered"}:
            yield f"{entry.seq}/{SECOND} is {state}"


def reserve(world: World) -> Iterator[str]:
    """While the disk is nearly full only that is taken in which had been asked for before."""
    entries = [entry for entry in world.reader().entries() if entry.origin is Origin.LIVE]
    for span in world.spans:
        if span.name == "disk full":
            late = [entry.seq for entry in entries if span.begin + ASKED < entry.received_at < span.end]
            if late:
                yield f"taken in though the disk was full: {late}"


def _quietly(_done: int, _all: int) -> None:
    """Show no progress."""


Oracle: TypeAlias = Callable[[World], Iterator[str]]

ORACLES: Sequence[Oracle] = (
    conservation,
    acknowledged,
    wholeness,
    deliveries,
    clocks,
    throttles,
    effects,
    gaps,
    truth,
    freshness,
    honesty,
    reserve,
    attempts,
    once,
    stopping,
    reloading,
    configured,
)


def problems(world: World) -> list[str]:
    """Ask all oracles."""
    return [f"{oracle.__name__}: {problem}" for oracle in ORACLES for problem in oracle(world)]

"""What must hold at the end of a simulation, whatever happened in it. An oracle yields what doesn't.

To add one: write a function from a `World` to texts, and put it into `ORACLES`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import TypeAlias

import msgspec

from fbsessiond.message import Origin
from fbsessiond.transition import Kind
from simulation.world import World

BOUND = timedelta(seconds=1)
"""How far a gap's bounds may be from what the server knows."""


def conservation(world: World) -> Iterator[str]:
    """Each notification is in the journal once, word for word and in order, or was sent in a gap."""
    reader = world.reader()
    received = [entry.notification for entry in reader.entries() if entry.origin is Origin.LIVE]
    gaps = list(reader.gaps())
    places = {0}  # how many of them may have been received so far: one sent in a gap may have arrived, or not
    for at, data in world.sent:
        before, places = places, {place + 1 for place in places if received[place : place + 1] == [data]}
        if any(gap.begin - BOUND <= at <= (gap.end or at) + BOUND for gap in gaps):
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
    for route in world.routes:
        for entry in transitions:
            is_wanted = route.wants(entry.before, entry.after or "", entry.origin)
            if is_wanted and settled[entry.seq, route.name, "delivered"] != 1:
                yield f"{entry.seq}/{route.name} isn't delivered"
    for name, seqs in world.handled.items():
        if any(later < earlier for earlier, later in pairwise(seqs)):
            yield f"{name} was handled out of order: {seqs}"


def effects(world: World) -> Iterator[str]:
    """No follow-up took effect twice; each has ended."""
    for applied, times in world.simulator.platform.effects.items():
        if applied.by == "http" and applied.operation in {"Complete", "SetDisposition"} and times > 1:
            yield f"{applied.operation} took effect {times} times on {applied.session}"
    for record in world.reader().follow_ups():
        if record.progress.state.is_open:
            yield f"{record.id} is still {record.progress.state}"


def _quietly(_done: int, _all: int) -> None:
    """Show no progress."""


Oracle: TypeAlias = Callable[[World], Iterator[str]]

ORACLES: Sequence[Oracle] = (conservation, acknowledged, wholeness, deliveries, effects)


def problems(world: World) -> list[str]:
    """Ask all oracles."""
    return [f"{oracle.__name__}: {problem}" for oracle in ORACLES for problem in oracle(world)]

"""What has to be in a workload's journal, whatever happened to its process, its disk or its power."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from crashes.workload import (
    AGENT,
    CLOSING,
    LEFT,
    NOTING,
    RETAINED_BATCHES,
    STEPS,
    gap_bounds,
    last_number,
    misfits,
    notified,
    time_of,
)
from fbsessiond.errors import JournalError
from fbsessiond.follow_up import FollowUpState
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryState
from fbsessiond.journal.sqlite.reader import SqliteReader

_PROGRESS = (FollowUpState.INTENDED, FollowUpState.SENT, FollowUpState.ACCEPTED, FollowUpState.CONFIRMED)


@dataclass
class Reported:
    """What workloads said of one journal: of this everything has to be there."""

    batch: int = 0
    settled: set[str] = field(default_factory=set[str])
    follow_ups: dict[str, FollowUpState] = field(default_factory=dict[str, FollowUpState])
    is_done: bool = False
    failed: str | None = None
    is_refused: bool = False
    after_failure: list[str] = field(default_factory=list[str])
    """What was reported after the journal had failed."""

    @classmethod
    def of(cls, output: bytes) -> Self:
        """Read what one workload said."""
        reported = cls()
        reported.hear(output)
        return reported

    def hear(self, output: bytes) -> None:
        """Add what another one said: whole lines of its output."""
        self.is_done, self.failed = False, None
        for line in output.decode().splitlines():
            if self.failed is not None and line != "refused":
                self.after_failure.append(line)
            match line.split(" ", 1):
                case ["batch", number]:
                    self.batch = int(number)
                case ["settled", name]:
                    self.settled.add(name)
                case ["follow-up", rest]:
                    name, state = rest.split()
                    self.follow_ups[name] = FollowUpState(state)
                case ["failed", because]:
                    self.failed = because
                case _:
                    self.is_done |= line == "done"
                    self.is_refused |= line == "refused"

    def forget(self, before: int) -> None:
        """Drop what is about entries before one: retention took them."""
        self.settled = {name for name in self.settled if _seq(name) >= before}
        self.follow_ups = {name: state for name, state in self.follow_ups.items() if _seq(name) >= before}


def check(journal: Path, seed: int, reported: Reported) -> Iterator[str]:
    """Yield what isn't as it has to be: lost, doubled or altered."""
    if not journal.exists():
        if reported.batch:
            yield f"the journal is gone, with {reported.batch} batches"
        return
    try:
        with closing(SqliteReader(journal)) as reader:
            yield from (f"verify: {finding}" for finding in reader.verify(unheard))
            yield from _check(reader, seed, reported)
    except JournalError as error:
        if reported.batch:
            yield str(error)


def unheard(*_: int) -> None:
    """Take a report of progress that nobody reads."""


def _check(reader: Reader, seed: int, reported: Reported) -> Iterator[str]:
    batches = max((int(watched.position or b"0") for watched in reader.watched(agent=AGENT)), default=0)
    if batches < reported.batch:
        yield f"batch {reported.batch} was reported, the last one here is {batches}"
    retained = max(0, batches - RETAINED_BATCHES)
    entries = list(reader.entries())
    there = [(entry.seq, entry.session, entry.before, entry.after, entry.notification) for entry in entries]
    first = min(there[0][0] if there else 1, last_number(max(retained - 1, 0)) + 1)
    expected = [(number, notified(seed, number)) for number in range(first, last_number(batches) + 1)]
    wanted = [(seq, each.session, each.before, each.after, each.text) for seq, each in expected]
    if there != wanted:
        yield f"the entries are {_numbers(there)}, altered or not those of {_numbers(wanted)}"
    yield from _check_quarantine(reader, seed, batches, retained)
    yield from _check_deliveries(reader, list(_deliveries(there)), reported, first)
    yield from _check_follow_ups(reader, reported, first)
    bounds = [(gap.begin, gap.end) for gap in reader.gaps() if gap.end is not None]
    all_gaps = list(gap_bounds(batches))
    if Counter(bounds) - Counter(all_gaps) or any(gap not in bounds for gap in all_gaps if gap[1] >= time_of(retained)):
        yield f"the gaps are {bounds}, not {all_gaps}"


def _check_quarantine(reader: Reader, seed: int, batches: int, retained: int) -> Iterator[str]:
    there = [one.raw for one in reader.quarantined()]
    everything = [(batch, raw) for batch in range(1, batches + 1) for raw in misfits(seed, batch)]
    texts = [raw for _, raw in everything]
    if there != texts[len(texts) - len(there) :] or any(raw not in there for at, raw in everything if at >= retained):
        yield f"the quarantine has {there}, not {texts}"


def _check_deliveries(
    reader: Reader, expected: Sequence[tuple[str, bool]], reported: Reported, first: int
) -> Iterator[str]:
    deliveries = list(reader.deliveries())
    if Counter(one.id for one in deliveries) != Counter(name for name, _ in expected):
        yield "deliveries are missing, or there twice"
    wanted = {name for name, is_wanted in expected if is_wanted}
    if wrong := {one.id for one in deliveries if (one.state != DeliveryState.NOT_WANTED) != (one.id in wanted)}:
        yield f"wanted and said not to be, or the other way round: {sorted(wrong)}"
    delivered = {one.id for one in deliveries if one.state is DeliveryState.DELIVERED}
    if lost := {name for name in reported.settled if _seq(name) >= first} - delivered:
        yield f"reported as settled, and not delivered here: {sorted(lost)}"
    asked = Counter(record.id.rpartition("/")[0] for record in reader.follow_ups())
    if asked != Counter({name: len(STEPS) for name in delivered if name.endswith(CLOSING)}):
        yield "follow-ups are missing, or nobody asked for them"
    if reported.is_done and wanted != delivered:
        yield f"not delivered at the end: {sorted(wanted - delivered)}"


def _check_follow_ups(reader: Reader, reported: Reported, first: int) -> Iterator[str]:
    states = {record.id: record.progress.state for record in reader.follow_ups()}
    for name, state in reported.follow_ups.items():
        if _seq(name) >= first and (name not in states or _PROGRESS.index(states[name]) < _PROGRESS.index(state)):
            yield f"follow-up {name} was reported as {state}, and is {states.get(name)}"
    if reported.is_done and (open_ones := [name for name, state in states.items() if state.is_open]):
        yield f"still open at the end: {open_ones}"


def _deliveries(entries: Iterable[tuple[int, str | None, str | None, str | None, bytes]]) -> Iterator[tuple[str, bool]]:
    """Yield each delivery that has to be there, and whether its handler wants it."""
    for seq, _, _, after, _ in entries:
        yield f"{seq}/{NOTING}", True
        yield f"{seq}/{CLOSING}", after == LEFT


def _numbers(rows: Sequence[tuple[int, str | None, str | None, str | None, bytes]]) -> str:
    return f"{len(rows)} from {rows[0][0]} to {rows[-1][0]}" if rows else "none"


def _seq(name: str) -> int:
    return int(name.partition("/")[0])

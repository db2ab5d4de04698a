"""What happens, as the journal has it: entries, deliveries, follow-ups, gaps, the quarantine, and what persons do.

Each look finds what is new since the last one. What has a number is read from the last number on. What has only a time
is read again from a little before the last one, since commits may differ from the order of their times, and is told
once; where the machine's time was set back, what was told before that isn't told again.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Final, Generic, TypeAlias, TypeVar

from fbsessiond.clock import Clock
from fbsessiond.gap import Gap
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, DeliveryRecord, Entry, FollowUpRecord, Quarantined

Happening: TypeAlias = Entry | DeliveryRecord | FollowUpRecord | Gap | Quarantined | Act
"""A delivery that is settled; a follow-up that was asked for or came further; a gap that began, ended or was closed."""

OVERLAP: Final = timedelta(seconds=2)
"""How much earlier than the last one something can be, and yet be written later."""

CHUNK: Final = 500
"""So many are read at once."""

Timed = TypeVar("Timed", bound=DeliveryRecord | FollowUpRecord | Act)


class Tap:
    """Finds what is new in a journal."""

    def __init__(self, reader: Reader, since: datetime, clock: Clock) -> None:
        """Begin with what happened since then."""
        self._reader = reader
        self._clock = clock
        self._place = reader.place(since)
        self._quarantined = max((one.seq for one in reader.quarantined() if one.received_at < since), default=0)
        self._gaps = {gap for gap in self._all_gaps() if happened_at(gap) < since}
        self.deliveries = _Recent(reader.settled, since)
        self._follow_ups = _Recent(reader.changed_follow_ups, since)
        self._acts = _Recent(lambda since: reader.acts(since=since), since)

    def look(self) -> Iterator[Happening]:
        """Yield what is new, by time. What isn't taken is lost."""
        stepped = self._clock.stepped()
        sources: tuple[Iterator[Happening], ...] = (
            self._acts.new(),
            self._follow_ups.new(),
            self.deliveries.new(),
            self._new_gaps(),
            self._new_quarantined(),
            self._new_entries(),  # last, so that none is missed whose delivery is shown
        )
        yield from merge(*sources, key=_order)
        if stepped < timedelta():
            for recent in (self.deliveries, self._follow_ups, self._acts):
                recent.go_on(self._clock.now())

    def _new_entries(self) -> Iterator[Entry]:
        for entry in _in_chunks(lambda: self._reader.entries(after_seq=self._place)):
            self._place = entry.seq
            yield entry

    def _new_quarantined(self) -> Iterator[Quarantined]:
        for one in _in_chunks(lambda: self._reader.quarantined(after_seq=self._quarantined)):
            self._quarantined = one.seq
            yield one

    def _new_gaps(self) -> Iterator[Gap]:
        """Yield gaps that began, ended or were closed, as they are now."""
        before, self._gaps = self._gaps, self._all_gaps()
        yield from sorted(self._gaps - before, key=happened_at)

    def _all_gaps(self) -> set[Gap]:
        open_gaps = (watched.open_gap for watched in self._reader.watched())
        return {*self._reader.gaps(), *filter(None, open_gaps)}


_Key: TypeAlias = tuple[str, datetime, str]


class _Recent(Generic[Timed]):
    """What has only a time."""

    def __init__(self, read: Callable[[datetime], Iterator[Timed]], since: datetime) -> None:
        self._read = read
        self._last = since
        self.told = OrderedDict[_Key, datetime]((_key(one), one.at) for one in read(since - OVERLAP) if one.at < since)
        """What was told and would be read again."""

    def new(self) -> Iterator[Timed]:
        """Yield what wasn't told yet."""
        for one in _in_chunks(self._untold):
            self.told[_key(one)] = one.at
            self._last = max(self._last, one.at)
            while next(iter(self.told.values())) < self._last - OVERLAP:
                self.told.popitem(last=False)
            yield one

    def _untold(self) -> Iterator[Timed]:
        return (one for one in self._read(self._last - OVERLAP) if _key(one) not in self.told)

    def go_on(self, now: datetime) -> None:
        """Go on from an earlier time than the last one: what has a later time was told."""
        self._last = now
        self.told = OrderedDict((_key(one), one.at) for one in self._read(now - OVERLAP))


T = TypeVar("T")


def _in_chunks(read: Callable[[], Iterator[T]]) -> Iterator[T]:
    """Yield what is read, `CHUNK` at a time, and then what is read after that.

    No read lasts as long as whoever takes it: while one does, the journal's log can only grow.
    """
    while chunk := list(islice(read(), CHUNK)):
        yield from chunk


def happened_at(happening: Happening) -> datetime:
    """Return when it happened, as far as that is written down; a gap that goes on, when it began."""
    match happening:
        case Entry() | Quarantined():
            return happening.received_at
        case Gap():
            return happening.end or happening.begin
        case _:
            return happening.at


def _order(one: Happening) -> tuple[datetime, bool]:
    """Of what happened at one time an entry comes before what it caused."""
    return happened_at(one), not isinstance(one, Entry)


def _key(one: DeliveryRecord | FollowUpRecord | Act) -> _Key:
    match one:
        case DeliveryRecord():
            return one.id, one.at, one.state
        case FollowUpRecord():
            return one.id, one.at, one.progress.state
        case _:
            return one.subject, one.at, one.kind

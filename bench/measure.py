"""What a case is, and how it is measured.

A `Comparison` does the same work in several ways: ours beside its limit and its peers, by turns, after a warm-up. A
`Table` is figures, each beside its target. Either way a `Result` holds each round as it was measured: medians are taken
when it is shown.
"""

import statistics
import tempfile
import time  # noqa: TID251  what a benchmark is about
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

Tick: TypeAlias = Callable[[int, int], None]
"""Is told how many rounds are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured, with everything that it needs there."""

    do: Callable[[], object]
    count: int
    """How many notifications it handles."""
    processes: Sequence[int] = ()
    """Other processes that take part: their processor time counts as well."""


SetUp: TypeAlias = Callable[[Path], AbstractContextManager[Work]]
"""Prepares work in an empty folder; none of this is measured."""


def can_always() -> str | None:
    """Say that nothing is missing."""
    return None


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do the work."""

    name: str
    set_up: SetUp
    about: str
    """What it does, and what it doesn't."""
    at_least: float | None = None
    """Ours is to be so many times as fast as this one."""
    missing: Callable[[], str | None] = can_always
    """Says why it can't be measured here; None: it can."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one round, or of all, beside its target, if it has one."""

    name: str
    values: Sequence[float]
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        """The figure that counts."""
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None: there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one side."""

    seconds: float
    cpu_seconds: float
    count: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of a side."""

    name: str
    about: str
    rounds: Sequence[Round]
    missing: str | None = None

    @property
    def per_second(self) -> float:
        """How many notifications a second."""
        return statistics.median(each.count / each.seconds for each in self.rounds)

    def ratios(self, other: "Measured") -> list[float]:
        """Return how many times as fast as another side this one was, round by round: both had the same machine."""
        rates = ([each.count / each.seconds for each in side.rounds] for side in (self, other))
        return [ours / theirs for ours, theirs in zip(*rates, strict=True)]

    @property
    def cpu_microseconds(self) -> float:
        """The processor's time for one notification."""
        return statistics.median(each.cpu_seconds / each.count * 1e6 for each in self.rounds)


@dataclass(frozen=True, slots=True)
class Result:
    """What a case gave."""

    figures: Sequence[Figure]
    sides: Sequence[Measured] = ()
    """Ours first; none: the case is a table."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same work in several ways."""

    name: str
    about: str
    ours: Side
    others: Sequence[Side]
    cpu_at_most: float | None = None
    """So many microseconds of the processor's time a notification is ours to take at most."""
    under: Sequence[str] = ()
    """A command under which all sides run."""
    missing: Callable[[], str | None] = can_always

    def measure(self, rounds: int, tick: Tick) -> Result:
        """Measure all sides by turns; the first round warms up."""
        sides = (self.ours, *self.others)
        why_not = {side.name: side.missing() for side in sides}
        measured: dict[str, list[Round]] = {side.name: [] for side in sides}
        for number in range(rounds + 1):
            for side in sides:
                if why_not[side.name] is None:
                    measured[side.name].append(_timed(side.set_up))
            tick(number + 1, rounds + 1)
        ours, *others = (Measured(side.name, side.about, measured[side.name][1:], why_not[side.name]) for side in sides)
        return Result([*self._judge(ours, others)], [ours, *others])

    def _judge(self, ours: Measured, others: Sequence[Measured]) -> Iterator[Figure]:
        for side, other in zip(self.others, others, strict=True):
            if other.rounds:
                yield Figure(f"beside {side.name}", ours.ratios(other), "×", at_least=side.at_least)
        yield Figure("processor time", [ours.cpu_microseconds], "µs", at_most=self.cpu_at_most)


@dataclass(frozen=True, slots=True)
class Table:
    """Figures, each beside its target."""

    name: str
    about: str
    look: Callable[[Path], Iterable[Figure]]
    """Measures in an empty folder."""
    most_rounds: int = 5
    under: Sequence[str] = ()
    missing: Callable[[], str | None] = can_always

    def measure(self, rounds: int, tick: Tick) -> Result:
        """Measure some rounds, without a warm-up: a figure's values are those of all rounds."""
        rounds = min(rounds, self.most_rounds)
        found: dict[str, list[Figure]] = {}
        for number in range(rounds):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                for figure in self.look(Path(folder)):
                    found.setdefault(figure.name, []).append(figure)
            tick(number + 1, rounds)
        return Result([_merged(figures) for figures in found.values()])


Case: TypeAlias = Comparison | Table


@dataclass(slots=True)
class Stopwatch:
    """Wall-clock and processor time, of this process and of others."""

    processes: Sequence[int] = ()
    seconds: float = field(default=0.0, init=False)
    cpu_seconds: float = field(default=0.0, init=False)

    def __enter__(self) -> Self:
        self.cpu_seconds = -self._cpu()
        self.seconds = -time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()
        self.cpu_seconds += self._cpu()

    def _cpu(self) -> float:
        return time.process_time() + sum(map(cpu_seconds_of, self.processes))


def cpu_seconds_of(process: int) -> float:
    """Return the processor time of another process, all its threads included, by the kernel's own clock of it."""
    return time.clock_gettime((~process << 3) | 2)  # as clock_getcpuclockid(3) makes its number


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that so many percent of all don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _timed(set_up: SetUp) -> Round:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, set_up(Path(folder)) as work:
        with Stopwatch(work.processes) as watch:
            work.do()
        return Round(watch.seconds, watch.cpu_seconds, work.count)


def _merged(figures: Sequence[Figure]) -> Figure:
    first = figures[0]
    values = [value for figure in figures for value in figure.values]
    return Figure(first.name, values, first.unit, first.at_most, first.at_least)

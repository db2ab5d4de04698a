"""A part of the proof: something that is done many times, and what is found in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Figure: TypeAlias = int | float | str

Tick: TypeAlias = Callable[[int], None]
"""To be called with how many are done so far; it moves a progress bar."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    counts: Mapping[str, Figure]
    """What was done and seen, in words and figures, for the report: `{"kills": 1000, "notifications": 41233}`."""
    problems: Sequence[str] = ()
    """What didn't hold, each with what it takes to see it again; none is what should be."""
    notes: Sequence[str] = field(default=())
    """What else the reader of the report should know, e.g. what survived and why: Markdown, a line each."""
    amount: int | None = None
    """How many there were, where that can be fewer than were asked for."""


@dataclass(frozen=True, slots=True)
class Part:
    """What `make proof` runs; its outcome becomes a section of docs/proof.md."""

    name: str
    """In the report, and on the command line: `power-cuts`."""
    about: str
    """What it does and what has to hold: a sentence or two, in the present tense."""
    unit: str
    """What is counted, in the plural: `power cuts`."""
    amount: int
    """How many a whole proof takes."""
    run: Callable[[int, int, Tick], Result]
    """Takes the amount and a seed; the same two do the same, as far as other processes allow."""

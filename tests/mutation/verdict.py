"""What became of a mutant."""

from dataclasses import dataclass
from enum import StrEnum

from mutation.mutant import Key


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A mutant, and what became of it."""

    key: Key
    fate: Fate

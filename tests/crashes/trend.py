"""What a long run's figures do over time: grow, or stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median

HOUR_SECONDS = 3600.0
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds at a point in time."""

    at_seconds: float
    resident_bytes: int
    descriptors: int


def sample(pid: int, at_seconds: float) -> Sample:
    """Look at a process that runs: its resident memory, and its open file descriptors."""
    process = Path(f"/proc/{pid}")
    lines = (process / "status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return Sample(at_seconds, resident * _KIB, len(list((process / "fd").iterdir())))


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Return how much a figure grows within an hour: the median of all slopes, which no outlier moves (Theil-Sen).

    Points are seconds and values; of fewer than two nothing can be said: 0.
    """
    slopes = [(later - earlier) / (end - begin) for (begin, earlier), (end, later) in combinations(points, 2)]
    return median(slopes) * HOUR_SECONDS if slopes else 0.0

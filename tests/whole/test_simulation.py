"""The whole daemon in a simulated world, from seeds: `python -m tests.simulation` runs as many as you like."""

from pathlib import Path

import pytest

from fbsessiond.environment import variables
from simulation.running import simulate

SEEDS = int(variables.get("SEEDS", "3"))
HOURS = 0.25


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_seeds(tmp_path: Path, seed: int) -> None:
    """Whatever goes wrong, no oracle complains in the end."""
    report = simulate(tmp_path, seed, HOURS)
    assert report.problems == []
    assert report.entries > 0


def test_the_same_seed_gives_the_same_journal(tmp_path: Path) -> None:
    """A run that fails can be repeated, and stopped before a step."""
    folders = [tmp_path / name for name in ("one", "another", "shorter")]
    for folder in folders:
        folder.mkdir()
    one, another, shorter = (
        simulate(folder, 7, HOURS, until) for folder, until in zip(folders, (5, 5, 2), strict=True)
    )
    assert (one.hash, one.steps) == (another.hash, another.steps)
    assert one.steps[:2] == shorter.steps
    assert one.hash != shorter.hash

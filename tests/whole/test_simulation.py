"""The whole daemon in a simulated world, from seeds: `python -m tests.simulation` runs as many as you like."""

import subprocess
import sys
from pathlib import Path

import pytest

from fbsessiond.environment import variables
from simulation.broken import BROKEN
from simulation.running import Plan, Report, simulate

ROOT = Path(__file__).parents[2]

SEEDS = int(variables.get("SEEDS", "25"))

DOUBLED = "a connect that succeeded and advised to begin anew moved no position: after a crash its batch came again"
PATIENT = "a process that resumed a session didn't know the server's hold, and noticed a swallowed request too late"
ADDED = frozenset({"disk full", "log not moved", "reloaded", "drained"})
"""What went wrong with none of them yet."""

FOUND: dict[int, str] = {20153: DOUBLED, 20288: DOUBLED, 20470: DOUBLED, 5784: PATIENT}
"""Seeds that once showed a bug, and which."""


SINCE: dict[int, str] = dict.fromkeys(
    (579, 881, 1810, 1828, 2199, 4078, 4929, 5112, 7256, 9177, 11264, 12140, 12384, 15082, 15329, 15418, 16209, 17157),
    "a clock whose time had come before its session was seen to leave was ended by what a snapshot found later",
)
"""The same, of the world as it is since clocks are in it."""


def run(folder: Path, plan: Plan) -> Report:
    """Run a plan in a folder of its own."""
    folder.mkdir()
    return simulate(folder, plan)


@pytest.mark.parametrize("seed", FOUND)
def test_found(tmp_path: Path, seed: int) -> None:
    """What once was a bug is none any more."""
    assert run(tmp_path / "journal", Plan(seed, without=ADDED)).problems == []


@pytest.mark.parametrize("seed", SINCE)
def test_found_since(tmp_path: Path, seed: int) -> None:
    """Nor is this."""
    assert run(tmp_path / "journal", Plan(seed)).problems == []


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_seeds(tmp_path: Path, seed: int) -> None:
    """Whatever goes wrong, no oracle complains in the end."""
    report = run(tmp_path / "journal", Plan(seed))
    assert report.problems == []
    assert report.entries > 0


def test_the_same_seed_gives_the_same_journal(tmp_path: Path) -> None:
    """A run that fails can be repeated, and stopped before a step."""
    one = run(tmp_path / "one", Plan(7, until=5))
    another = run(tmp_path / "another", Plan(7, until=5))
    shorter = run(tmp_path / "shorter", Plan(7, until=2))
    assert (one.hash, one.steps) == (another.hash, another.steps)
    assert one.steps[:2] == shorter.steps
    assert one.hash != shorter.hash


def test_in_another_process() -> None:
    """The journal is the same in a process whose sets have another order."""
    command = [sys.executable, "-m", "tests.simulation", "--seed=40", "--seeds=3", "--hours=0.02", "--per-minute=6"]
    ended = [
        subprocess.run(
            command, cwd=ROOT, env={**variables, "PYTHONHASHSEED": order}, capture_output=True, text=True, check=True
        )
        for order in ("1", "2")
    ]
    one, another = ([line.partition(": all holds")[0] for line in done.stdout.splitlines()] for done in ended)
    assert len(one) == 3
    assert one == another


@pytest.mark.parametrize("name", BROKEN)
def test_an_oracle_bites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A daemon that is broken in some way is found out, by the oracle that is there for it, within a few seeds."""
    broken = BROKEN[name]
    broken.apply(monkeypatch)
    complaints = (
        problem
        for seed in range(1, 16)
        for problem in run(
            tmp_path / str(seed), Plan(seed, 0.05, per_minute=6.0, calm=90.0, without=broken.without)
        ).problems
    )
    assert any(problem.startswith(f"{broken.oracle}: ") for problem in complaints)

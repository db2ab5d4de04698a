"""The report of the proof, as `make proof` writes it; the parts themselves have tests of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proof import report
from proof.part import Part, Result
from proof.parts import PARTS
from proof.report import Run, keep, kept, page, run_of

ROOT = Path(__file__).parents[2]
PART = Part("coins", "Coins are thrown.", "coins", 3, lambda _, __, ___: Result({}))


def ran(part: Part, *problems: str, seconds: float = 61.4) -> Run:
    """Return a run of a part."""
    result = Result({"heads": 1200, "edge": "never"}, problems, ["The floor is hard."])
    return run_of(part, result, amount=3, seed=7, date="2026-01-01", seconds=seconds, commit="abc")


def test_fewer() -> None:
    """Where there were fewer than were asked for, the report says how many."""
    run = run_of(PART, Result({}, amount=2), amount=3, seed=7, date="2026-01-01", seconds=1.0, commit="abc")
    assert "2 coins, seed 7" in page([PART], [run])


def test_names() -> None:
    """Each part has a name of its own, for the command line, and a positive amount."""
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names)
    assert all(" " not in name for name in names)
    assert all(part.amount > 0 for part in PARTS)


def test_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each part the last run is there, and nothing is where none was."""
    monkeypatch.setattr(report, "RUNS", tmp_path / "runs.json")
    assert kept() == []
    keep(ran(PART))
    keep(ran(PARTS[0]))
    again = ran(PART, "the coin is lost")
    keep(again)
    assert {run.name: run.problems for run in kept()} == {"coins": ["the coin is lost"], PARTS[0].name: []}
    assert json.loads((tmp_path / "runs.json").read_text())[0]["counts"] == dict(again.counts)


def test_page() -> None:
    """A section tells what was run, when, where and from which seed, its figures, and what broke; or that none was."""
    text = page([PART, PARTS[0]], [ran(PART, "the coin is lost")])
    assert "3 coins, seed 7, in 1 min 1 s on 2026-01-01, commit `abc`" in text
    assert "| heads | 1,200 |" in text
    assert "| **broken** | **1** |\n\n- the coin is lost\n- The floor is hard." in text
    assert text.rstrip().endswith("Not run yet.")


def test_notes() -> None:
    """A note that is an item already, a table's row, or an empty line, stays as it is."""
    notes = ["| file | score |", "|---|---|", "", "- one", "two"]
    run = run_of(PART, Result({}, (), notes), amount=3, seed=7, date="2026-01-01", seconds=1.0, commit="abc")
    assert page([PART], [run]).endswith("\n\n| file | score |\n|---|---|\n\n- one\n- two\n")


def test_the_page_is_up_to_date() -> None:
    """The page in the documentation is what the kept runs say."""
    assert report.PAGE.read_text() == page(PARTS, kept())


def test_command() -> None:
    """A part that there isn't is named, with those that there are."""
    command = [sys.executable, "-m", "tests.proof", "luck"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "there is no part luck; there are simulation, " in ended.stderr

"""docs/proof.md: what was run, when, on what, and what was found. The page is made of each part's last whole run."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from proof.part import Figure, Part, Result

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"
RUNS = Path(__file__).with_name("runs.json")
"""The last run of each part."""

HEAD = """# Proof

What was run to prove the [promises](../README.md), and what it found: of each part the last run. `make proof` runs
all of it, `make proof PARTS="kills power-cuts"` some, and `python -m tests.proof kills --amount 10 --seed 7` tries a
little of one without keeping it. [testing.md](testing.md) tells how it works. This page is made from
`tests/proof/runs.json`.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a part, and what came of it."""

    name: str
    amount: int
    seed: int
    date: str
    seconds: float
    machine: str
    commit: str
    counts: Mapping[str, Figure]
    problems: Sequence[str]
    notes: Sequence[str]


def run_of(part: Part, result: Result, *, amount: int, seed: int, date: str, seconds: float, commit: str) -> Run:
    """Return what is to be kept of a run."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux, Python {platform.python_version()}"
    done = amount if result.amount is None else result.amount
    return Run(
        part.name, done, seed, date, round(seconds), machine, commit, result.counts, result.problems, result.notes
    )


def keep(run: Run) -> None:
    """Replace the part's last run by this one."""
    runs = {each.name: each for each in kept()} | {run.name: run}
    RUNS.write_text(json.dumps([asdict(each) for _, each in sorted(runs.items())], indent=1, ensure_ascii=False) + "\n")


def kept() -> list[Run]:
    """Return the last run of each part."""
    return [Run(**each) for each in json.loads(RUNS.read_text())] if RUNS.exists() else []


def page(parts: Sequence[Part], runs: Sequence[Run]) -> str:
    """Return the page: a section for each part, in the parts' order."""
    ran = {run.name: run for run in runs}
    return "\n".join([HEAD, *(_section(part, ran.get(part.name)) for part in parts)])


def _section(part: Part, run: Run | None) -> str:
    lines = [f"## {part.name}", "", part.about, ""]
    if run is None:
        return "\n".join([*lines, "Not run yet.", ""])
    what = f"{run.amount:,} {part.unit}, seed {run.seed}, in {_lasted(run.seconds)} on {run.date}"
    lines += [
        f"{what}, commit `{run.commit}`; {run.machine}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_written(figure)} |" for name, figure in run.counts.items()),
        f"| **broken** | **{len(run.problems)}** |",
        "",
        *map(_note, (*run.problems, *run.notes)),
    ]
    return "\n".join([*lines, ""] if run.problems or run.notes else lines)


def _note(text: str) -> str:
    """Return a note as an item of a list; what is an item already, or a table's row, stays as it is."""
    return text if text.startswith(("- ", "|")) or not text else f"- {text}"


def _written(figure: Figure) -> str:
    return figure if isinstance(figure, str) else f"{figure:,}"


def _lasted(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

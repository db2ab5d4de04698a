"""docs/performance.md and its plot, made from bench/results.json: of each case the last whole run."""

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table as Shown

from measure import Case, Comparison, Figure, Measured, Result
from plot import plot

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs/performance.md"
PLOT = ROOT / "docs/performance.svg"

HEAD = """# Performance

How fast it is, beside the limit of the machine and beside other projects on the same work. `make bench` measures this
and writes this page; `make bench-peers` installs the peers before that. All sides of a case run by turns, in rounds,
after a warm-up, and the figures are medians: read the ratios, ours to theirs, since absolute figures are the machine's.
Every round as it was measured is in `bench/results.json`. No test asserts any of it; where a target is missed, this
page says so.

The work, where nothing else is said: the notification that the platform's documentation prints (3.6 KB of JSON), in
bursts of 100, over 10,000 sessions, to three handlers that only count.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a case, and what it gave."""

    name: str
    date: str
    machine: str
    commit: str
    result: Result


def run_of(case: Case, result: Result, repository: Path) -> Run:
    """Return what is to be kept of a run."""
    date = datetime.now(UTC).date().isoformat()  # noqa: TID251  when it was run
    machine = f"{os.cpu_count()} cores, {_processor()}, {platform.system()}, Python {platform.python_version()}"
    command = ("git", "-C", str(repository), "rev-parse", "--short=9", "HEAD")
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return Run(case.name, date, machine, commit or "unknown", result)


def keep(run: Run) -> None:
    """Replace the case's last run by this one."""
    runs = {each.name: each for each in kept()} | {run.name: run}
    ordered = [runs[name] for name in sorted(runs)]
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")


def kept() -> list[Run]:
    """Return the last run of each case."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=list[Run]) if RESULTS.exists() else []


def to_json(result: Result) -> str:
    """Write what a case gave, for another process."""
    return msgspec.json.encode(result).decode()


def from_json(text: str) -> Result:
    """Read what a case gave."""
    return msgspec.json.decode(text, type=Result)


def write_page(cases: Sequence[Case]) -> None:
    """Write the page and its plot from what was kept."""
    PAGE.write_text(page(cases, kept()))
    PLOT.write_text(plot(plotted(cases, kept())))


def plotted(cases: Sequence[Case], runs: Iterable[Run]) -> list[tuple[str, Sequence[Measured]]]:
    """Return what the plot shows: each case's sides."""
    ran = {run.name: run for run in runs}
    return [(case.name, ran[case.name].result.sides) for case in cases if case.name in ran]


def page(cases: Sequence[Case], runs: Iterable[Run]) -> str:
    """Return the page: the targets, then a section for each case."""
    ran = {run.name: run for run in runs}
    sections = [_section(case, ran.get(case.name)) for case in cases]
    return "\n".join([HEAD, *_targets(cases, ran), "![The same work, side by side](performance.svg)", "", *sections])


def print_result(case: Case, result: Result, console: Console) -> None:
    """Show on a terminal what a case gave."""
    shown = Shown(title=case.name, title_justify="left")
    if isinstance(case, Comparison):
        header, rows = SIDES, [_side_row(result.sides[0], side) for side in result.sides]
    else:
        header, rows = FIGURES, [_figure_row(figure) for figure in result.figures]
    for column in header:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    for figure in result.figures if isinstance(case, Comparison) else ():
        if figure.is_met is not None:
            console.print(f"  {figure.name}: {' | '.join(_figure_row(figure)[1:])}")


SIDES: Sequence[str] = ("", "notifications/s", "CPU µs each", "ours is", "what it does")
FIGURES: Sequence[str] = ("", "measured", "target", "")


def _targets(cases: Sequence[Case], ran: Mapping[str, Run]) -> Iterator[str]:
    yield "## Targets\n"
    yield from _table_head(("case", "", "measured", "target", ""))
    for case in cases:
        for figure in ran[case.name].result.figures if case.name in ran else ():
            if figure.is_met is not None:
                yield _line((f"[{case.name}](#{case.name})", *_figure_row(figure)))
    yield ""


def _section(case: Case, run: Run | None) -> str:
    lines = [f"## {case.name}", "", case.about, ""]
    if run is None:
        return "\n".join([*lines, "Not measured yet.", ""])
    sides, figures = run.result.sides, run.result.figures
    if sides:
        lines += [*_table_head(SIDES), *(_line(_side_row(sides[0], side)) for side in sides), ""]
    else:
        lines += [*_table_head(FIGURES), *(_line(_figure_row(figure)) for figure in figures), ""]
    return "\n".join([*lines, f"{run.date}, commit `{run.commit}`, {run.machine}.", ""])


def _side_row(ours: Measured, side: Measured) -> tuple[str, ...]:
    if side.missing is not None:
        return side.name, "–", "–", "–", f"not measured: {side.missing}"
    ratio = "" if side is ours else f"{_written(median(ours.ratios(side)))} ×"
    return side.name, _written(side.per_second), _written(side.cpu_microseconds), ratio, side.about


def _figure_row(figure: Figure) -> tuple[str, ...]:
    measured = f"{_written(figure.median)} {figure.unit}".strip()
    if figure.at_most is not None:
        target = f"≤ {figure.at_most:,g} {figure.unit}".strip()
    else:
        target = "" if figure.at_least is None else f"≥ {figure.at_least:,g} {figure.unit}".strip()
    return figure.name, measured, target, {None: "", True: "reached", False: "**missed**"}[figure.is_met]


def _table_head(columns: Sequence[str]) -> tuple[str, str]:
    return _line(columns), "|" + "---|" * len(columns)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _written(number: float) -> str:
    """Write a number with three digits that say something."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _processor() -> str:
    """Return the processor's name, as the kernel gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

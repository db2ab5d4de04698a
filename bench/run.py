"""Measure each step of the way beside its own limit: the same bytes through plain orjson and `fdatasync`.

    python bench/run.py [--rounds 5] [--case NAME]

Rounds alternate between ours and the limit, after a warm-up; the figures are medians. Absolute figures are this
machine's; the ratio is what to read. Only the loopback interface and a temporary folder are used.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time  # noqa: TID251  what a benchmark is about
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cases import CASES, Case


def main() -> None:
    """Run the cases and print a table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how many times each side is measured")
    parser.add_argument("--case", choices=[case.name for case in CASES], help="only this one")
    arguments = parser.parse_args()
    table = Table(title=f"{os.cpu_count()} cores, Python {platform.python_version()}, medians of {arguments.rounds}")
    for column in ("case", "ours/s", "CPU µs", "limit/s", "ratio", "the limit is"):
        table.add_column(column, justify="left" if column in {"case", "the limit is"} else "right")
    for case in CASES:
        if arguments.case in {None, case.name}:
            table.add_row(*measure(case, arguments.rounds))
    Console(width=140 if not sys.stdout.isatty() else None).print(table)


def measure(case: Case, rounds: int) -> tuple[str, ...]:
    """Measure one case: both sides by turns, each round in a folder of its own."""
    ours: list[float] = []
    cpu: list[float] = []
    limit: list[float] = []
    steps = range(-1, rounds)
    for number in track(steps, description=case.name, console=Console(stderr=True), disable=not sys.stderr.isatty()):
        with tempfile.TemporaryDirectory() as folder:
            seconds, cpu_seconds, count = timed(lambda at=Path(folder): case.ours(at))
        with tempfile.TemporaryDirectory() as folder:
            limit_seconds, _, limit_count = timed(lambda at=Path(folder): case.limit(at))
        if number >= 0:  # the first round warms up
            ours.append(count / seconds)
            cpu.append(cpu_seconds / count * 1e6)
            limit.append(limit_count / limit_seconds)
    rate, limit_rate = statistics.median(ours), statistics.median(limit)
    figures = (f"{rate:,.0f}", f"{statistics.median(cpu):.1f}", f"{limit_rate:,.0f}", f"{rate / limit_rate:.2f}")
    return (case.name, *figures, case.limit_is)


def timed(run: object) -> tuple[float, float, int]:
    """Return wall-clock seconds, CPU seconds of this process, and the count that a run says it handled.

    A run that sets something up first yields once where the clock is to start.
    """
    steps = run()  # type: ignore[operator]
    next(steps)
    started, cpu_started = time.perf_counter(), time.process_time()
    count = next(steps)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    steps.close()
    return seconds, cpu_seconds, count


if __name__ == "__main__":
    main()

"""Measure how fast it is, each case beside its limit and its peers, and write docs/performance.md.

    python bench/run.py                       # all of it
    python bench/run.py sockets latency       # some cases; of the others the page keeps the last run
    python bench/run.py path --rounds 1       # a look: nothing is kept
    python bench/run.py --page                # the page again, from bench/results.json

Rounds alternate between the sides, after a warm-up; the figures are medians. Absolute figures are this machine's; the
ratios are what to read. Only the loopback interface and temporary folders are used. Each case runs in a process of its
own.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import Progress

from cases import CASES
from measure import Case, Result
from report import from_json, keep, print_result, run_of, to_json, write_page

ROUNDS = 5
ROOT = Path(__file__).parent.parent


def main() -> int:
    """Run the cases that are asked for; return 1 where one can't be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of {', '.join(case.name for case in CASES)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measure so many of each side, and keep nothing")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    cases = [case for case in CASES if not asked.cases or case.name in asked.cases]
    if unknown := set(asked.cases) - {case.name for case in CASES}:
        parser.error(f"there is no case {', '.join(sorted(unknown))}; see --help")
    if asked.here:
        _measure_here(cases[0], asked.rounds)
        return 0
    failed = 0 if asked.page else sum(not _run(case, asked.rounds) for case in cases)
    if asked.page or asked.rounds == ROUNDS:
        write_page(CASES)
    return min(failed, 1)


def _run(case: Case, rounds: int) -> bool:
    """Run a case, show what it gave, and keep it where it was run whole; False: it can't be run."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    if (why_not := case.missing()) is not None:
        console.print(f"{case.name}: {why_not}")
        return False
    if (result := _measure_apart(case, rounds)) is None:
        console.print(f"{case.name}: failed")
        return False
    print_result(case, result, console)
    if rounds == ROUNDS:
        keep(run_of(case, result, ROOT))
    return True


def _measure_apart(case: Case, rounds: int) -> Result | None:
    """Measure a case in a process of its own: none leaves memory, threads or a larger heap to the next."""
    command = (*case.under, sys.executable, __file__, "--here", "--rounds", str(rounds), case.name)
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return None if ran.returncode else from_json(ran.stdout)


def _measure_here(case: Case, rounds: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(case.name)
        result = case.measure(rounds, lambda done, of: progress.update(task, completed=done, total=of))
    sys.stdout.write(to_json(result))


if __name__ == "__main__":
    sys.exit(main())

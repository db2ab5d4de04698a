"""`make proof`, or `python -m tests.proof [PART…]`: run the long proofs with a progress bar, and write docs/proof.md.

A part that is run whole takes its place in the report; `--amount` tries less or more of it, and nothing is kept.
"""

import argparse
import subprocess
import sys
import time  # noqa: TID251  how long a run takes
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).parents[1]))

from proof.part import Part, Result
from proof.parts import PARTS
from proof.report import PAGE, RUNS, keep, kept, page, run_of

ROOT = Path(__file__).parents[2]

LINES = 40
"""How often it is said how far a part has come where that is no terminal's bar."""


def main() -> int:
    """Run the parts that are asked for; return 1 where something didn't hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(part.name for part in PARTS)}")
    parser.add_argument("--amount", type=int, default=None, help="how much of each, instead of a whole proof")
    parser.add_argument("--seed", type=int, default=1, help="what the runs are drawn from")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    asked = parser.parse_args()
    unknown = set(asked.parts) - {part.name for part in PARTS}
    if unknown:
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in PARTS)}"
        )
    chosen = [] if asked.page else [part for part in PARTS if not asked.parts or part.name in asked.parts]
    console = Console(stderr=True)
    broken = 0
    for part in chosen:
        result = prove(
            part, asked.amount or part.amount, asked.seed, console, is_whole=asked.amount in {None, part.amount}
        )
        broken += len(result.problems)
        console.print(f"{part.name}: {'all holds' if not result.problems else 'BROKEN'}", dict(result.counts))
        for problem in result.problems:
            console.print(f"  {problem}", markup=False, soft_wrap=True)
    PAGE.write_text(page(PARTS, kept()))
    return 1 if broken else 0


def prove(part: Part, amount: int, seed: int, console: Console, *, is_whole: bool) -> Result:
    """Run a part, and keep what came of it where it was run whole."""
    columns = TextColumn(part.name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    date, begun = datetime.now(UTC).date().isoformat(), time.monotonic()  # noqa: TID251  when it was run
    commit = _commit()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(part.name, total=amount)

        def tick(done: int) -> None:
            progress.update(task, completed=done)
            if not console.is_terminal and done * LINES // amount > (done - 1) * LINES // amount:
                console.print(f"{part.name}: {done:,} of {amount:,}")

        result = part.run(amount, seed, tick)
    if is_whole:
        seconds = time.monotonic() - begun
        keep(run_of(part, result, amount=amount, seed=seed, date=date, seconds=seconds, commit=commit))
    return result


def _commit() -> str:
    """Return the commit that is run, with a mark where files have been changed, other than by the parts before."""
    commit = _git("rev-parse", "--short=9", "HEAD")
    changed = _git(
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ".",
        *(f":!{made.relative_to(ROOT)}" for made in (RUNS, PAGE)),
    )
    return f"{commit or 'unknown'}{'+' if changed else ''}"


def _git(*arguments: str) -> str:
    told = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return told.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())

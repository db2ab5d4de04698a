"""`python -m tests.mutation transition.py journal/sql/gaps.sql`: judge the mutants of some files, or of all."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mutation.judging import judge
from mutation.targets import NEIGHBOURS, all_mutants
from mutation.verdict import Fate


def main() -> None:
    """Print what survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", default=tuple(NEIGHBOURS))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--word", default="", help="only mutants whose name has this in it")
    parser.add_argument("--all", action="store_true", help="print what was killed, too")
    asked = parser.parse_args()
    mutants = [each for each in all_mutants(files=asked.files) if asked.word in str(each.key)]
    killed = 0
    for verdict in judge(mutants, asked.processes):
        killed += verdict.fate is not Fate.SURVIVED
        if asked.all or verdict.fate is not Fate.KILLED:
            print(f"{verdict.fate}: {verdict.key}", flush=True)  # noqa: T201  what it is for
    print(f"{killed} of {len(mutants)}: {killed / max(1, len(mutants)):.1%}")  # noqa: T201


if __name__ == "__main__":
    main()

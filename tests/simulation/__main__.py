"""`python -m tests.simulation --seed 42 --hours 8`: run a seed, or many, and say what the oracles say.

The same seed gives the same journal: a run that fails is repeated by its seed; `--until STEP` stops before the rest.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parent.parent))

from simulation.running import simulate


def main() -> int:
    """Run the seeds that are asked for; return 1 where an oracle complains."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--hours", type=float, default=1.0, help="how long each lasts, in virtual hours")
    parser.add_argument("--until", type=int, default=None, help="stop after so many outages")
    parser.add_argument("--log", action="store_true", help="show what the daemon logs")
    asked = parser.parse_args()
    if not asked.log:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    failed = 0
    for seed in range(asked.seed, asked.seed + asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            report = simulate(Path(folder), seed, asked.hours, asked.until)
        failed += bool(report.problems)
        print(report.verdict, flush=True)  # noqa: T201  what it is for
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

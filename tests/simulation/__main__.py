"""`python -m tests.simulation --seed 42 --hours 8`: run a seed, or many, and say what the oracles say.

The same seed gives the same journal: a run that fails is repeated by its seed; `--until STEP` stops before the rest.
"""

import argparse
import logging
import sys
import time  # noqa: TID251  how much faster than real time it is
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parent.parent))

from simulation.running import Plan, simulate
from simulation.seeds import scratch


def main() -> int:
    """Run the seeds that are asked for; return 1 where an oracle complains."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--hours", type=float, default=1.0, help="for how many virtual hours things go wrong")
    parser.add_argument("--until", type=int, default=None, help="stop after so many steps")
    parser.add_argument("--per-minute", type=float, default=0.5, help="how many customers come")
    parser.add_argument("--calm", type=float, default=1200, help="at most so many seconds from one trouble to the next")
    parser.add_argument("--log", action="store_true", help="show what the daemon logs, and what goes wrong")
    asked = parser.parse_args()
    if not asked.log:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    failed = 0
    for seed in range(asked.seed, asked.seed + asked.seeds):
        begun = time.perf_counter()
        with scratch() as folder:
            report = simulate(folder, Plan(seed, asked.hours, asked.until, asked.per_minute, asked.calm))
        speed = report.seconds / (time.perf_counter() - begun)
        if asked.log:
            print("\n".join(report.steps))  # noqa: T201  what it is for
        print(f"{report.verdict} ({speed:,.0f} x real time)", flush=True)  # noqa: T201  what it is for
        failed += bool(report.problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Many seeds, side by side: the simulation as a part of the proof."""

import gc
import logging
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import Pool
from pathlib import Path

import structlog

from proof.part import Part, Result, Tick
from simulation.running import Plan, Report, simulate

MEMORY = Path("/dev/shm")  # noqa: S108  a journal in main memory: what a real disk does is another part's matter


SEEDS_A_CHUNK = 4
CHUNKS_A_PROCESS = 125


@contextmanager
def scratch() -> Generator[Path, None, None]:
    """Make a folder for a journal, in main memory where there is such a place."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def run_seeds(amount: int, seed: int, tick: Tick) -> Result:
    """Run so many seeds from one on."""
    reports: list[Report] = []
    with Pool(initializer=_quiet, maxtasksperchild=CHUNKS_A_PROCESS) as pool:  # an executor hangs when it replaces one
        for report in pool.imap(run_one, range(seed, seed + amount), chunksize=SEEDS_A_CHUNK):
            reports.append(report)
            tick(len(reports))
    return Result(
        {
            "seeds": f"{seed:,} to {seed + amount - 1:,}",
            "steps": sum(len(report.steps) for report in reports),
            "entries": sum(report.entries for report in reports),
            "virtual hours": round(sum(report.seconds for report in reports) / 3600),
        },
        [report.verdict for report in reports if report.problems],
    )


def run_one(seed: int) -> Report:
    """Run one seed."""
    with scratch() as folder:
        report = simulate(folder, Plan(seed))
    gc.collect()
    return report


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.freeze()


SEEDS = Part(
    "simulation",
    "The whole daemon on virtual time, on a network and a platform where everything goes wrong, and a disk that fails; "
    "killed between any two of its awaits. In the end all oracles agree.",
    "seeds",
    20_000,
    run_seeds,
)

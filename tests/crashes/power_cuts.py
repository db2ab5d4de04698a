"""A workload whose power is cut at any moment: what it reported as committed is on the disk.

One journal goes through many cuts, so that they hit checkpoints, retention and each other's recovery; after a while a
new disk begins with a new journal, so that they hit its making, too.
"""

import os
import random  # noqa: TID251  moments that can be repeated, as far as processes allow
import select
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crashes.disk import Disk, disk
from crashes.faults import NAME
from crashes.oracle import Reported, check
from crashes.serving import python_path
from crashes.workload import RETAINED_BATCHES, Task, last_number
from fbsessiond.environment import variables
from proof.part import Part, Result, Tick

CUTS_A_DISK = 25
MOST_SECONDS = 0.8
"""A workload lives at most so long after its first word."""

AT_START = 0.15
"""So many are cut before that, while the journal is opened or made."""

START_SECONDS = 0.8
"""In about so long a workload opens its journal."""

ENDLESS = 10**9


@dataclass
class Cuts:
    """Power cuts on one disk after the other."""

    disk: Disk
    seed: int
    synchronous: str
    pages: Sequence[int]
    """Of these a workload takes its `checkpoint_pages`."""
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])
    _reported: Reported = field(default_factory=Reported)

    def cut(self, number: int) -> None:
        """Cut the power once, and check what is there afterwards."""
        if number % CUTS_A_DISK == 0:
            self.disk.format()
            self._reported = Reported()
            self.counts["disks"] += 1
        task = Task(str(self._journal), ENDLESS, self.seed, self.chance.choice(self.pages), self.synchronous)
        before = self._reported.batch
        said = self._run(task, is_at_start=self.chance.random() < AT_START)
        self._reported.hear(said[: said.rfind(b"\n") + 1])
        self.disk.unmount()
        self.disk.mount()
        problems = [f"seed {self.seed}, cut {number}: {problem}" for problem in self._check()]
        self.counts["batches"] += self._reported.batch - before
        self.counts["notifications"] += last_number(self._reported.batch) - last_number(before)
        self._reported.forget(last_number(max(self._reported.batch - RETAINED_BATCHES - 1, 0)))
        if problems:
            self.problems += problems
            self.disk.format()
            self._reported = Reported()

    @property
    def _journal(self) -> Path:
        return self.disk.root / NAME

    def _run(self, task: Task, *, is_at_start: bool) -> bytes:
        """Run a workload until the power is cut; return what it said before that.

        What it says later counts for nothing: a sync that is under way at the cut may return as if it had succeeded.
        """
        environment = {**variables, "PYTHONPATH": python_path()}
        process = subprocess.Popen(
            task.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0
        )
        assert process.stdout is not None
        said = b""
        try:
            if is_at_start:
                select.select([], [], [], self.chance.uniform(0, START_SECONDS))
                self.counts["cut at the start"] += 1
            else:
                said = process.stdout.readline()
                if not said.startswith(b"open"):
                    self.problems.append(f"seed {self.seed}: the journal doesn't open: {said!r}")
                select.select([], [], [], self.chance.uniform(0, MOST_SECONDS))
            os.set_blocking(process.stdout.fileno(), False)
            said += process.stdout.read() or b""
            self.disk.cut()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        return said

    def _check(self) -> Iterator[str]:
        yield from check(self._journal, self.seed, self._reported)


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Cut the power so many times."""
    return cut_power(amount, seed, tick, "FULL")


def cut_power(
    amount: int, seed: int, tick: Tick, synchronous: str, checkpoint_pages: Sequence[int] = (16, 1000)
) -> Result:
    """Cut the power under a journal with SQLite's setting `synchronous`."""
    with disk() as lent:
        cuts = Cuts(lent, seed, synchronous, checkpoint_pages, random.Random(seed))  # noqa: S311  to be repeated
        for number in range(amount):
            cuts.cut(number)
            tick(number + 1)
        return Result({"power cuts": amount, **cuts.counts}, cuts.problems)


POWER_CUTS = Part(
    "power-cuts",
    "The power of a real file system (ext4 on a loop device) is cut at random moments while a process fills a journal"
    " on it. After the next mount the journal opens at once, all that was reported as committed is there byte for byte,"
    " nothing is doubled, and `verify` finds nothing.",
    "power cuts",
    500,
    run,
)

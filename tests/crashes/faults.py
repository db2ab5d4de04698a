"""A workload whose system calls on the journal's files are counted, and struck one after the other (strace)."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from crashes.oracle import Reported, check
from crashes.serving import Server
from crashes.workload import Task

T = TypeVar("T")

WRITES: Final = ("write", "pwrite64", "writev", "pwritev")
SYNCS: Final = ("fsync", "fdatasync")
OTHERS: Final = ("ftruncate", "unlink", "rename")
CALLS: Final = WRITES + SYNCS + OTHERS

NAME: Final = "journal.db"
FILES: Final = (NAME, f"{NAME}-wal", f"{NAME}-shm")
SIDE_BY_SIDE: Final = 2

_CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call of a workload on one of the journal's files: the nth of its name, from 1."""

    name: str
    number: int
    file: str
    stage: int

    def __str__(self) -> str:
        return f"stage {self.stage}, {self.name} {self.number} ({self.file})"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the workload: from a journal of so many batches on, to so many."""

    begin: int
    end: int


STAGES: Final = (Stage(0, 3), Stage(37, 41))
"""A new file with its schema; and one that goes through checkpoints, a gap and retention."""

CHECKPOINT_PAGES: Final = 24
"""So few that each stage has checkpoints."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a workload that was struck."""

    status: int
    output: bytes
    calls: Sequence[tuple[str, str]]
    """Name and the rest of each call on the journal's files."""

    @property
    def after_strike(self) -> Sequence[tuple[str, str]]:
        """Return what was called after the injected fault."""
        places = [place for place, (_, rest) in enumerate(self.calls) if rest.endswith("(INJECTED)")]
        return self.calls[places[0] + 1 :] if places else ()


class Bench:
    """Where workloads are struck: a folder with the journal that each stage begins with."""

    def __init__(self, folder: Path, seed: int, servers: Sequence[Server]) -> None:
        self._folder = folder
        self.seed = seed
        self._servers: SimpleQueue[Server] = SimpleQueue()
        for server in servers:
            self._servers.put(server)
        for number, stage in enumerate(STAGES):
            base = self._base(number)
            base.mkdir()
            if stage.begin:
                self._finish(self._task(base, stage.begin))

    def calls(self) -> list[Call]:
        """Return all calls of all stages."""
        found: list[Call] = []
        for number, stage in enumerate(STAGES):
            counts: Counter[str] = Counter()
            with self.stage(number) as folder:
                for name, rest in self._traced(self._task(folder, stage.end), ()).calls:
                    counts[name] += 1
                    found.append(Call(name, counts[name], _file(rest), number))
        return found

    @contextmanager
    def stage(self, number: int) -> Generator[Path]:
        """Lend a copy of the journal with which a stage begins."""
        with TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name)
            shutil.copytree(self._base(number), folder, dirs_exist_ok=True)
            yield folder

    def strike(self, call: Call, what: str, judge: Callable[[Run, Path, Reported], Iterator[str]]) -> list[str]:
        """Strike one call, check what is left, and let the workload go on to its end; return what didn't hold.

        What is injected is in strace's words: `signal=KILL`, `error=EIO`.
        """
        with self.stage(call.stage) as folder:
            injection = f"{call.name}:{what}:when={call.number}"
            struck = self._traced(self._task(folder, STAGES[call.stage].end), (injection,))
            return [
                f"seed {self.seed}, {what} at {call}: {problem}"
                for problem in self._judged(struck, folder, call.stage, judge)
            ]

    def limit(self, stage: int, most_bytes: int, judge: Callable[[Run, Path, Reported], Iterator[str]]) -> list[str]:
        """Let no file become longer, so that a write comes out short; otherwise as `strike`."""
        with self.stage(stage) as folder:
            with self._server() as server:
                ended = server.run(self._task(folder, STAGES[stage].end), most_bytes=most_bytes)
            problems = self._judged(Run(*ended, ()), folder, stage, judge)
            return [f"seed {self.seed}, stage {stage}, files up to {most_bytes} bytes: {each}" for each in problems]

    def _judged(
        self, run: Run, folder: Path, stage: int, judge: Callable[[Run, Path, Reported], Iterator[str]]
    ) -> Iterator[str]:
        journal = folder / NAME
        reported = Reported.of(run.output)
        yield from judge(run, journal, reported)
        yield from check(journal, self.seed, replace(reported, is_done=False))
        reported.hear(self._finish(self._task(folder, STAGES[stage].end + 4)))
        yield from check(journal, self.seed, reported)

    def _base(self, stage: int) -> Path:
        return self._folder / f"stage-{stage}"

    def _task(self, folder: Path, batches: int) -> Task:
        return Task(str(folder / NAME), batches, self.seed, CHECKPOINT_PAGES)

    @contextmanager
    def _server(self) -> Generator[Server]:
        """Lend a server that nobody else uses."""
        server = self._servers.get()
        yield server
        self._servers.put(server)

    def _finish(self, task: Task) -> bytes:
        with self._server() as server:
            return server.finish(task)

    def _traced(self, task: Task, injections: Sequence[str]) -> Run:
        """Run a workload under strace."""
        log = Path(task.journal).with_name("strace.log")
        paths = [part for name in FILES for part in ("-P", str(log.with_name(name)))]
        injected = [part for each in injections for part in ("-e", f"inject={each}")]
        options = ["-f", "-y", "-s0", "-o", str(log), "-e", f"trace={','.join(CALLS)}", *paths, *injected]
        tracers: list[subprocess.Popen[bytes]] = []

        def attach(process: int) -> None:
            tracer = subprocess.Popen(["strace", *options, "-p", str(process)], stderr=subprocess.PIPE)
            tracers.append(tracer)
            assert tracer.stderr is not None
            assert tracer.stderr.readline().endswith(b"attached\n")

        with self._server() as server:
            status, said = server.run(task, before=attach)
        for tracer in tracers:
            tracer.communicate()
        calls = [
            (found["name"], found["rest"]) for line in log.read_text().splitlines() if (found := _CALL.match(line))
        ]
        log.unlink()
        return Run(status, said, calls)


@contextmanager
def bench(seed: int) -> Generator[Bench]:
    """Lend a bench for a while."""
    with TemporaryDirectory(prefix="crashes-") as folder, ExitStack() as servers:
        yield Bench(Path(folder), seed, [servers.enter_context(closing(Server())) for _ in range(SIDE_BY_SIDE)])


def spread(items: Sequence[T], amount: int) -> list[T]:
    """Return so many of some items, from the first to the last, or all where there are fewer."""
    if amount >= len(items):
        return list(items)
    return [items[place * (len(items) - 1) // max(amount - 1, 1)] for place in range(amount)]


def side_by_side(work: Callable[[T], list[str]], items: Sequence[T], tick: Callable[[int], None]) -> list[str]:
    """Do a thing for each item, a few at a time; return all problems."""
    problems: list[str] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for done, found in enumerate(pool.map(work, items), 1):
            problems += found
            tick(done)
    return problems


def _file(rest: str) -> str:
    return next((name for name in reversed(FILES) if name in rest), "?")

"""Judging mutants: does any test notice?

Each of several processes has a copy of the sources, where it writes one mutant after the other. It has imported what
the tests need of other people's, and forks for each run of tests, which imports all that is ours anew.
"""

import gc
import multiprocessing
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time  # noqa: TID251  a mutant that hangs does it in real time
from collections.abc import Iterator, Sequence
from compileall import compile_dir
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

import pytest
from hypothesis import Phase, settings

from mutation.mutant import Key, Mutant
from mutation.targets import ROOT, Tests, tests_of

NOT_COPIED = shutil.ignore_patterns("node_modules", "__pycache__", ".*")

PATIENCE: Final = 3.0
"""How much longer than without a mutant tests may take,"""
SLACK_SECONDS: Final = 5.0
"""and what they get on top of that."""
LONGEST_SECONDS: Final = 600.0
CHUNK: Final = 16
"""How many neighbours one process judges: each learns for itself how long a file's tests take."""
MOST_BYTES: Final = 4 << 30
"""How much memory a mutant may take."""


OPTIONS: Final = (
    *("-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"),
    *("-W", "ignore:Module already imported so cannot be rewritten"),  # on purpose, once for all runs
)


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A mutant, and what became of it."""

    key: Key
    fate: Fate


def judge(mutants: Sequence[Mutant], processes: int, root: Path = ROOT) -> Iterator[Verdict]:
    """Yield a verdict on each mutant, in their order. Raises `RuntimeError` where tests fail without any mutant."""
    files = sorted({each.key.file for each in mutants})
    tests = tuple(test for file in files for test in tests_of(root, file)[0])
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(root, Path(folder), tests))
        try:
            yield from pool.map(_judged, mutants, chunksize=max(1, min(CHUNK, len(mutants) // processes // 4)))
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(root: Path, folder: Path, tests: Tests) -> None:
    """Make this process's own copy, and import what the tests need of other people's."""
    copy = folder / str(os.getpid())
    shutil.copytree(root, copy, ignore=NOT_COPIED)
    os.chdir(copy)
    sources = [str(copy / each) for each in ("daemon", "handlers", "tests")]
    sys.path[:0] = sources
    os.environ["PYTHONPATH"] = os.pathsep.join(sources)  # noqa: TID251  for the programs that tests start
    sys.dont_write_bytecode = False  # what pytest makes of a test file is kept for the next run
    for each in sources:  # by content: a mutant can be as large as what it replaces, and as old
        compile_dir(each, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    # Shrinking is for people.
    settings.register_profile("mutation", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
    _run(["--collect-only", *tests])
    ours = {name for name, module in sys.modules.items() if _is_in(module, str(copy))}
    for name in ours:
        del sys.modules[name]
    gc.freeze()  # what is here by now need not be looked through again and again


def _is_in(module: object, folder: str) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(str(place).startswith(folder) for place in places)


def _judged(mutant: Mutant) -> Verdict:
    file = Path(mutant.key.file)
    before = file.read_bytes()
    for tests in filter(None, tests_of(Path(), mutant.key.file)):
        limit_seconds = _limit_seconds(tests)
        file.write_bytes(mutant.text)
        try:
            fate = _fate(tests, limit_seconds)
        finally:
            file.write_bytes(before)
        if fate is not Fate.SURVIVED:
            return Verdict(mutant.key, fate)
    return Verdict(mutant.key, Fate.SURVIVED)


@cache
def _limit_seconds(tests: Tests) -> float:
    """Return how long tests may take with a mutant. Raises `RuntimeError` where they fail without one."""
    began = time.monotonic()
    if (fate := _fate(tests, LONGEST_SECONDS)) is not Fate.SURVIVED:
        raise RuntimeError(f"without any mutant: {' '.join(tests)} {fate}")
    return SLACK_SECONDS + PATIENCE * (time.monotonic() - began)


def _fate(tests: Tests, limit_seconds: float) -> Fate:
    """Run tests in a process of their own, up to the first that fails."""
    process = os.fork()
    if not process:
        status = int(pytest.ExitCode.INTERNAL_ERROR)
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            status = _run(["--exitfirst", *tests])
        finally:  # whatever comes: there must not be two of this process
            os._exit(status)
    handle = os.pidfd_open(process)
    ended, _, _ = select.select([handle], [], [], limit_seconds)
    with suppress(ProcessLookupError):  # what it started may go on
        os.killpg(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    os.close(handle)
    shutil.rmtree(_place(process), ignore_errors=True)
    if not ended:
        return Fate.TIMED_OUT
    is_content = os.waitstatus_to_exitcode(status) in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    return Fate.SURVIVED if is_content else Fate.KILLED


def _run(arguments: Sequence[str]) -> int:
    """Run pytest without a word; return its exit status."""
    words = os.open(os.devnull, os.O_WRONLY)
    spoken = [os.dup(1), os.dup(2)]
    for each in (1, 2):
        os.dup2(words, each)
    try:
        return int(pytest.main([*OPTIONS, f"--basetemp={_place(os.getpid())}", *arguments]))
    finally:
        for each, before in zip((1, 2), spoken, strict=True):
            os.dup2(before, each)


def _place(process: int) -> Path:
    """Return where a run of tests has its temporary files."""
    return Path.cwd().parent / f"temporary-{process}"

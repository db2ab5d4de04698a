"""Judging mutants: does any test notice?

Each of several processes has a copy of the sources, where it writes one mutant after the other. It has imported what
the tests need of other people's, and forks for each file: there all that is ours is imported, and it forks again for
each mutant (`bench`). A mutant of what is done once, at an import, has its own fork and its own import.
"""

import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from compileall import compile_dir
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing.connection import Connection
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

import pytest
from hypothesis import Phase, settings

from mutation.bench import LONGEST_SECONDS, Bench, Shortened, fate_of
from mutation.forks import noted, temporary
from mutation.mutant import Mutant
from mutation.targets import ROOT, Tests, tests_of
from mutation.verdict import Fate, Verdict

NOT_COPIED = shutil.ignore_patterns("node_modules", "__pycache__", ".*")

IMPORT_SECONDS: Final = 300.0
"""How long the tests of a mutant with its own import may take."""

LOOK_SECONDS: Final = 0.5

OPTIONS: Final = (
    *("-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"),
    *("-W", "ignore:Module already imported so cannot be rewritten"),  # on purpose, once for all runs
)


_telling: Connection
"""Where this process's verdicts go; each is shorter than what a pipe takes at once."""


def judge(mutants: Sequence[Mutant], processes: int, root: Path = ROOT) -> Iterator[Verdict]:
    """Yield a verdict on each mutant, as they come. Raises `RuntimeError` where tests fail without any mutant."""
    files = [list(some) for _, some in groupby(mutants, lambda mutant: mutant.key.file)]
    tests = tuple(test for some in files for test in tests_of(root, some[0].key.file)[0])
    context = multiprocessing.get_context("spawn")
    hearing, telling = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        pool = ProcessPoolExecutor(
            processes, context, initializer=_begin, initargs=(root, Path(folder), tests, telling)
        )
        try:
            runs = [pool.submit(_judge_file, some) for some in files]
            while runs or hearing.poll():
                if hearing.poll(LOOK_SECONDS):
                    yield hearing.recv()
                for run in (ended := [run for run in runs if run.done()]):
                    run.result()
                runs = [run for run in runs if run not in ended]
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(root: Path, folder: Path, tests: Tests, telling: Connection) -> None:
    """Make this process's own copy, and import what the tests need of other people's."""
    global _telling  # noqa: PLW0603  a process of a pool has no other place
    _telling = telling
    copy = folder / str(os.getpid()) / "copy"
    shutil.copytree(root, copy, ignore=NOT_COPIED)
    os.chdir(copy)
    sources = [str(copy / each) for each in ("daemon", "handlers", "tests")]
    sys.path[:0] = sources
    os.environ["PYTHONPATH"] = os.pathsep.join(sources)  # noqa: TID251  for the programs that tests start
    sys.dont_write_bytecode = False  # what pytest makes of a test file is kept for the next run
    for each in sources:  # by content: a mutant can be as large as what it replaces, and as old
        compile_dir(each, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    # Shrinking is for people.
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("mutation", deadline=None, derandomize=True, max_examples=25, phases=phases)
    _run(["--collect-only", *tests])
    ours = {name for name, module in sys.modules.items() if _is_in(module, str(copy))}
    for name in ours:
        del sys.modules[name]
    gc.freeze()


def _is_in(module: object, folder: str) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(str(place).startswith(folder) for place in places)


def _judge_file(mutants: Sequence[Mutant]) -> None:
    """Judge the mutants of one file."""
    file = mutants[0].key.file
    tests = [each for some in tests_of(Path(), file) for each in some]

    def in_place() -> tuple[str | None, list[Mutant]]:
        bench = Bench(Path(file), mutants, _telling.send)
        _run(tests, bench)
        return bench.failing, bench.left

    failing, left = noted(in_place, LONGEST_SECONDS)
    if failing is not None:
        raise RuntimeError(f"without any mutant: {failing} {Fate.KILLED}")
    for mutant in left:
        _telling.send(Verdict(mutant.key, _imported(mutant, tests)))


def _imported(mutant: Mutant, tests: Sequence[str]) -> Fate:
    """Judge a mutant by tests that import it."""
    with mutant.on_disk():
        return fate_of(lambda: _run(["--exitfirst", *tests], Shortened()) in CONTENT, IMPORT_SECONDS)


CONTENT: Final = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}


def _run(arguments: Sequence[str], *plugins: object) -> int:
    """Run pytest without a word; return its exit status."""
    words = os.open(os.devnull, os.O_WRONLY)
    spoken = [os.dup(1), os.dup(2)]
    for each in (1, 2):
        os.dup2(words, each)
    try:
        return int(pytest.main([*OPTIONS, f"--basetemp={temporary(os.getpid())}", *arguments], plugins=plugins))
    finally:
        for each, before in zip((1, 2), spoken, strict=True):
            os.dup2(before, each)

"""A peer's own process: it says on a line when it is ready, and on another when it has handled everything."""

import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class Worker:
    """The process."""

    pid: int
    said: IO[str]

    def until(self, word: str) -> str:
        """Wait until it says a line with this word, and return the line."""
        for line in self.said:
            if word in line:
                return line
        raise RuntimeError(f"a peer ended before it said {word!r}")


@contextmanager
def working(*command: str) -> Generator[Worker]:
    """Run a command, whose standard output and error are what it says, until it isn't needed any more."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        yield Worker(process.pid, process.stdout)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def missing(modules: Sequence[str], files: Sequence[Path] = ()) -> str | None:
    """Say that one of these modules or files isn't installed, if so."""
    absent = [name for name in modules if find_spec(name) is None] + [file.name for file in files if not file.exists()]
    return f"{', '.join(absent)} not installed: `make bench-peers`" if absent else None

"""Doing something in a process of its own, so that nothing stays of it here."""

import os
import pickle
import resource
import select
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

MOST_BYTES: Final = 4 << 30
"""How much memory it may take."""
BROKEN: Final = 70


def forked(work: Callable[[], int], limit_seconds: float) -> int | None:
    """Do it; return the status that it ends with, or `None` where it took too long. What it started ends with it."""
    process = os.fork()
    if not process:
        status = BROKEN
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            status = work()
        finally:  # whatever comes: there must not be two of this process
            os._exit(status)
    handle = os.pidfd_open(process)
    ended, _, _ = select.select([handle], [], [], limit_seconds)
    with suppress(ProcessLookupError):  # what it started may go on
        os.killpg(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    os.close(handle)
    shutil.rmtree(temporary(process), ignore_errors=True)
    return os.waitstatus_to_exitcode(status) if ended else None


def noted(work: Callable[[], T], limit_seconds: float) -> T:
    """Do it; return what it returned. Raises `RuntimeError` where it didn't come to its end."""
    file = Path.cwd().parent / f"noted-{os.getpid()}"

    def note() -> int:
        file.write_bytes(pickle.dumps(work()))
        return 0

    if status := forked(note, limit_seconds):
        raise RuntimeError(f"it ended with {status}")
    found: T = pickle.loads(file.read_bytes())  # noqa: S301  what was written just now
    file.unlink()
    return found


def temporary(process: int) -> Path:
    """Return where a process has its temporary files."""
    return Path.cwd().parent / f"temporary-{process}"

"""Running a program to its end: its output bounded, and nothing of it left behind.

Its input is a file in memory, and only standard error is a pipe, which nobody waits on: a program that doesn't read,
reads only half, writes without end, or leaves a child with its pipes open can't hold up anything.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

KEPT_BYTES = 64 * 1024
"""How much of a program's standard error is kept: its end."""

KILL_SECONDS = 2.0
"""How long a program that was cancelled may go on after SIGTERM."""

REAP_SECONDS = 1.0
"""How long a killed program may take to be gone: longer only where the kernel can't let go of it."""

_PIPE_BYTES = 1024 * 1024
"""The most that a pipe holds, unless root made it larger. [pipe(7)]"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    status: int
    """Its exit status, or the negative number of the signal that ended it."""
    error: bytes
    """The last of what it wrote to standard error, at most `KEPT_BYTES`."""


async def run(argv: Sequence[str], given: bytes, environment: Mapping[str, str], folder: Path | None) -> Ended:
    """Run a program, and return how it ended. Raises `OSError` where it can't be started.

    It gets `given` on standard input, and a session and process group of its own. What it writes to standard output is
    dropped. When this is cancelled, the whole group gets SIGTERM, and SIGKILL after `KILL_SECONDS`; whatever of the
    group is left when the program ends is killed.
    """
    with _file_of(given) as its_input, _pipe() as (readable, writable):
        process = subprocess.Popen(  # noqa: ASYNC220, S603  starts as fast as asyncio's own do; what is in the configuration
            argv,
            stdin=its_input,
            stdout=subprocess.DEVNULL,
            stderr=writable,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        writable.close()
        with _tail_of(readable) as error, _watched(process) as exited:
            try:
                await asyncio.wait({exited})
            except asyncio.CancelledError:
                for number, seconds in ((signal.SIGTERM, KILL_SECONDS), (signal.SIGKILL, REAP_SECONDS)):
                    _signal(process, number)
                    await asyncio.wait({exited}, timeout=seconds)
                raise
    return Ended(process.returncode, bytes(error))


@contextmanager
def _file_of(given: bytes) -> Generator[BinaryIO, None, None]:
    """Lend a file in memory, to be read from its beginning; never on disk, since it may hold customer data."""
    with os.fdopen(os.memfd_create("delivery"), "w+b") as file:
        file.write(given)
        file.seek(0)
        yield file


@contextmanager
def _pipe() -> Generator[tuple[FileIO, FileIO], None, None]:
    """Lend the two ends of a pipe; reading doesn't wait."""
    reading, writing = os.pipe()
    with FileIO(reading, "rb") as readable, FileIO(writing, "wb") as writable:
        os.set_blocking(reading, False)
        yield readable, writable


@contextmanager
def _tail_of(readable: FileIO) -> Generator[bytearray, None, None]:
    """Lend what was last written to a pipe. All is drained; at the end, what is there is taken, and no more awaited."""
    loop = asyncio.get_running_loop()
    kept = bytearray()

    def read(limit: int = KEPT_BYTES) -> None:
        chunk = readable.read(limit)  # None: nothing now; empty: nothing ever again
        if chunk:
            kept.extend(chunk)
            del kept[:-KEPT_BYTES]
        elif chunk is not None:
            loop.remove_reader(readable)

    loop.add_reader(readable, read)
    try:
        yield kept
    finally:
        read(_PIPE_BYTES)
        loop.remove_reader(readable)


@contextmanager
def _watched(process: "subprocess.Popen[bytes]") -> Generator["asyncio.Future[None]", None, None]:
    """Lend the future of a program's end; then kill what is left of its group, and reap it.

    Until it is reaped, its number stands for nobody else: no stranger can be hit.
    """
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[None] = loop.create_future()
    try:
        with FileIO(os.pidfd_open(process.pid)) as watch:  # can be read when it has ended [pidfd_open(2)]

            def end() -> None:
                loop.remove_reader(watch)
                exited.set_result(None)

            loop.add_reader(watch, end)
            try:
                yield exited
            finally:
                loop.remove_reader(watch)
    finally:
        _signal(process, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(REAP_SECONDS)


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(PermissionError):  # it has taken on another user's rights, and isn't ours to end any more
        os.killpg(process.pid, number)

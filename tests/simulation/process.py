"""The daemon of a simulated world: the real one, from its configuration's file to its exit status."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.configuration import load
from fbsessiond.errors import FbsessiondError, JournalError
from fbsessiond.journal.engines import Opening, claimed
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import Log
from fbsessiond.service import run_daemon
from simulation.disk import Disk
from virtual_network import PROCESS, NetworkedLoop


class Process:
    """A daemon that runs; what stands in for its operating system is virtual: time, network, signals, the disk."""

    journal: SqliteJournal
    """The journal as it was opened last."""

    def __init__(self, loop: NetworkedLoop, disk: Disk, name: str) -> None:
        self.name = name
        self.has_crashed = False
        self.opened = 0
        """How often it opened its journal: once at its start, and once for each configuration that it went on with."""
        self._loop = loop
        self._disk = disk
        self._has_opened = asyncio.Event()

    @classmethod
    async def start(
        cls, loop: NetworkedLoop, disk: Disk, name: str, config: Path, clock: Clock, chance: Chance
    ) -> Self:
        """Start it; return when its journal is open. Raises what it ended of before that."""
        process = cls(loop, disk, name)
        token = PROCESS.set(name)
        read = partial(load, config)
        running = run_daemon(read(), clock, chance, reload=read, claim=process._claimed)
        process.task = asyncio.create_task(running, name=name)
        PROCESS.reset(token)
        opened = asyncio.create_task(process._has_opened.wait())
        await asyncio.wait({process.task, opened}, return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        if not process.opened:
            process.task.result()
        return process

    task: asyncio.Task[None]

    @property
    def failure(self) -> BaseException | None:
        """What it ended of, if it has."""
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    @property
    def status(self) -> int | str:
        """Its exit status, once it has ended; or the bug that it ended of."""
        failure = self.failure
        if failure is None:
            return 0
        return failure.exit_status if isinstance(failure, FbsessiondError) else repr(failure)

    async def stop(self) -> float:
        """Send it SIGTERM; return how many seconds it took to end, without those in which the disk held it up."""
        begun = self._loop.time() - self._disk.waited_seconds
        self._loop.raise_signal(signal.SIGTERM)
        await asyncio.wait({self.task})
        return self._loop.time() - self._disk.waited_seconds - begun

    def crash(self) -> None:
        """End at once: nothing more of it reaches the disk, or anybody else."""
        self.has_crashed = True
        self._loop.sever(self.name)
        self.journal.close()

    async def bury(self) -> None:
        """Let what is left of it after its end fall apart."""
        self.task.cancel()
        await asyncio.wait({self.task})
        _ = self.failure  # looked at, so that asyncio doesn't tell it: who is dead says nothing

    @contextmanager
    def _claimed(self, url: str, state_directory: Path) -> Generator[Opening, None, None]:
        with claimed(url, state_directory) as opening:
            yield partial(self._open, opening)

    def _open(self, opening: Callable[[datetime], object], now: datetime) -> SqliteJournal:
        """Open the journal on the virtual disk."""
        if self.has_crashed:
            raise JournalError("who crashed opens nothing")
        journal = opening(now)
        assert isinstance(journal, SqliteJournal)
        journal.connection = self._disk.under(journal.connection)
        journal.log = Log(journal.connection)
        journal.space = self._disk.space  # type: ignore[method-assign]
        self.journal = journal
        self.opened += 1
        self._has_opened.set()
        return journal

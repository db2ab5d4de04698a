"""The handler `audit`: an append-only record that can be checked for changes.

It has every transition, and every time that somebody had customer data shown.

It holds the notifications as they came, customer data included: its files are for the eyes of few (mode 0600).
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import ClassVar, NoReturn

import structlog
from pydantic import ByteSize, Field, PrivateAttr

from fbsessiond import Delivery, DiskError, Done, Finding, Handler, Outcome, Reveal, StatePath
from fbsessiond_handlers.audit_chain import FIRST, Link, files_of, forge, number_of, walk

_log = structlog.get_logger(__name__)

KNOWN_KEYS = 10_000
"""How many of the newest lines are remembered, so that no delivery comes twice: more than can run at a time."""


class Audit(Handler):
    """Append each transition to a file, synced to disk, each line chained to the one before it by its hash."""

    only_observes: ClassVar[bool] = True

    path: StatePath = Field(default=Path("audit.jsonl"), validate_default=True)
    """The file; a relative path counts from the state directory."""
    rotate_bytes: ByteSize = Field(default=ByteSize(64 * 1024 * 1024), ge=4096)
    """A file of this size is put aside as `….000001`, `….000002` and so on; the chain goes on in the new one."""

    _trail: "Trail | None" = PrivateAttr(default=None)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Open the file; the chain goes on where it ended, after a crash too."""
        self._trail = Trail(self.path, self.rotate_bytes)
        try:
            yield
        finally:
            self._trail.close()
            self._trail = None

    async def handle(self, delivery: Delivery) -> Outcome:
        """Append one line. A delivery that is already in the file, after a crash before its settlement, isn't twice."""
        transition = delivery.transition
        record = {
            "seq": transition.seq,
            "at": _iso(transition.at),
            "session": transition.session.id,
            "before": transition.before,
            "after": transition.after,
            "origin": transition.origin.value,
            "agent": transition.agent,
            "notification": transition.notification,
            "key": delivery.key,
        }
        await self._append(delivery.key, record)
        return Done()

    async def revealed(self, reveal: Reveal) -> None:
        """Append one line about a person who had customer data shown; what a transition's line has is null in it."""
        record = {
            **dict.fromkeys(("seq", "at", "session", "before", "after", "origin", "agent", "notification")),
            "at": _iso(reveal.at),
            "key": reveal.key,
            "revealed": {"by": reveal.by, "command": reveal.command},
        }
        await self._append(reveal.key, record)

    async def _append(self, key: str, record: Mapping[str, object]) -> None:
        assert self._trail is not None, "running() is entered before anything is to be appended"  # noqa: S101
        await self._trail.append(key, record)

    def verify(self) -> Iterator[Finding]:
        """Check the whole chain, over all files. A whole file that is missing at the start was archived: no finding."""
        previous: str | None = None
        for path in files_of(self.path):
            if path != self.path and not path.stat().st_size:
                yield Finding(str(path), "is empty: its lines were removed")
            for found in walk(path, previous):
                if isinstance(found, Link):
                    previous = found.hash
                else:
                    yield Finding(f"{found.path}: line {found.line}", found.what)
                    previous = None


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Trail:
    """An open audit trail."""

    def __init__(self, path: Path, rotate_bytes: int) -> None:
        """Open the newest file, made if need be. Raises `OSError`, also where another process has it open."""
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keys: dict[str, None] = {}
        self._syncing: asyncio.Future[None] | None = None
        self._failure: DiskError | None = None
        self._hash = FIRST
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = _open(path)
        try:
            self._size = self._cut_torn_line()
            self._line = 0
            self._read_back()
        except BaseException:
            os.close(self._file)
            raise

    async def append(self, key: str, record: Mapping[str, object]) -> None:
        """Write a record, unless its key is there already, and return when it is on disk.

        Appends that arrive together share one sync. Raises `OSError` where nothing of it was written, and `DiskError`
        where that can't be known.
        """
        self._raise_failure()
        if key not in self._keys:
            if self._size >= self._rotate_bytes:
                self._rotate()
            line, digest = forge(record, self._line + 1, self._hash)
            self._write(line)
            self._line += 1
            self._hash = digest
            self._remember(key)
        await self._synced()

    def close(self) -> None:
        """Close the file."""
        self._sync()
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        """Append a whole line, or, where the disk is full, nothing of it."""
        rest = line
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
            except OSError as error:
                self._fail("take back half a line", error)
            raise
        self._size += len(line)

    async def _synced(self) -> None:
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._sync)
        await asyncio.shield(self._syncing)

    def _sync(self) -> None:
        """Sync what was appended, and tell all that wait for it; there may be nobody, once the file was closed."""
        syncing, self._syncing = self._syncing, None
        if syncing is None:
            return
        try:
            self._raise_failure()
            self._sync_file()
        except DiskError as error:
            syncing.set_exception(error)
        else:
            syncing.set_result(None)

    def _sync_file(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._fail("sync", error)

    def _fail(self, what: str, error: OSError) -> NoReturn:
        """Refuse everything from now on: nobody knows what is on disk, and the next sync would say that all is well."""
        self._failure = DiskError(f"{self._path}: can't {what}: {error}; look at the disk")
        raise self._failure from error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _rotate(self) -> None:
        """Put the file aside under the next number, and go on in a new one; where that fails, go on in the old one."""
        self._sync_file()
        number = max((number_of(old) for old in files_of(self._path)[:-1]), default=0) + 1
        aside = self._path.with_name(f"{self._path.name}.{number:06}")
        self._path.rename(aside)
        try:
            file = _open(self._path)
        except OSError:
            aside.rename(self._path)
            raise
        os.close(self._file)
        self._file, self._size, self._line = file, 0, 0

    def _cut_torn_line(self) -> int:
        """Cut off a last line that a crash left incomplete: its delivery wasn't settled, and comes again."""
        size = os.fstat(self._file).st_size
        kept = _end_of_last_line(self._file, size)
        if kept < size:
            os.ftruncate(self._file, kept)
            os.fsync(self._file)
            _log.warning("audit.torn_line_cut", path=str(self._path), bytes=size - kept)
        return kept

    def _read_back(self) -> None:
        """Learn from the newest files where the chain ended, and which deliveries are there."""
        newest_first: list[Link] = []
        for path in reversed(files_of(self._path)):
            links: list[Link] = []
            for found in walk(path):
                if path == self._path:
                    self._line = found.line
                if isinstance(found, Link):
                    links.append(found)
                else:
                    _log.error("audit.chain_broken", path=str(found.path), line=found.line, what=found.what)
            newest_first += reversed(links)
            if len(newest_first) >= KNOWN_KEYS:
                break
        for link in reversed(newest_first):
            self._hash = link.hash
            self._remember(link.key)

    def _remember(self, key: str) -> None:
        self._keys[key] = None
        if len(self._keys) > KNOWN_KEYS:
            del self._keys[next(iter(self._keys))]


def _open(path: Path) -> int:
    """Open a file to append to it, made if need be, for this process alone: two would tear the chain apart."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_folder(path.parent)
    except OSError as error:
        os.close(file)
        if isinstance(error, BlockingIOError):
            raise BlockingIOError(error.errno, "another fbsessiond, or another handler, writes it", str(path)) from None
        raise
    return file


def _end_of_last_line(file: int, size: int) -> int:
    block = 65_536
    end = size
    while end > 0:
        start = max(0, end - block)
        at = os.pread(file, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

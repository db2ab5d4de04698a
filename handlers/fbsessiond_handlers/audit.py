"""The handler `audit`: an append-only record of every transition that can be checked for changes.

It holds the notifications as they came, customer data included: its files are for the eyes of few (mode 0600).
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from pydantic import ByteSize, Field, PrivateAttr

from fbsessiond import Delivery, DiskError, Done, Finding, Handler, Outcome, StatePath
from fbsessiond_handlers.audit_chain import FIRST, Link, files_of, forge, walk

_log = structlog.get_logger(__name__)


class Audit(Handler):
    """Append each transition to a file, synced to disk, each line chained to the one before it by its hash."""

    path: StatePath = Field(default=Path("audit.jsonl"), validate_default=True)
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
            "at": transition.at.isoformat(timespec="microseconds"),
            "session": transition.session.id,
            "before": transition.before,
            "after": transition.after,
            "origin": transition.origin.value,
            "agent": transition.agent,
            "notification": transition.notification,
            "key": delivery.key,
        }
        assert self._trail is not None, "running() is entered before any delivery"  # noqa: S101
        await self._trail.append(delivery.key, record)
        return Done()

    def verify(self) -> Iterator[Finding]:
        """Check the whole chain, over all files. A file that is missing at the start is no finding: it was archived."""
        previous: str | None = None
        for path in files_of(self.path):
            for found in walk(path, previous):
                if isinstance(found, Link):
                    previous = found.hash
                else:
                    yield Finding(f"{found.path}: line {found.line}", found.what)
                    previous = None


class Trail:
    """An open audit trail."""

    def __init__(self, path: Path, rotate_bytes: int) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keys: set[str | None] = set()
        self._older_keys: set[str | None] = set()
        self._syncing: asyncio.Future[None] | None = None
        self._hash = FIRST
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._cut_torn_line()
        self._read_back()
        self._open()

    async def append(self, key: str, record: Mapping[str, object]) -> None:
        """Write a record, unless its key is there already, and return when it is on disk.

        Appends that arrive together share one sync.
        """
        if key not in self._keys and key not in self._older_keys:
            if self._size >= self._rotate_bytes:
                self._rotate()
            line, digest = forge(record, self._hash)
            self._write(line)
            self._hash = digest
            self._keys.add(key)
        await self._synced()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        """Append a whole line, or, where the disk is full, nothing of it."""
        rest = line
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    async def _synced(self) -> None:
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._sync)
        await asyncio.shield(self._syncing)

    def _sync(self) -> None:
        syncing, self._syncing = self._syncing, None
        assert syncing is not None, "a sync is scheduled with its future"  # noqa: S101
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # What a failed sync left on the disk can't be known, and the next one would say that all is well.
            syncing.set_exception(DiskError(f"{self._path}: can't sync the audit file: {error}; look at the disk"))
        else:
            syncing.set_result(None)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size
        _sync_folder(self._path.parent)

    def _rotate(self) -> None:
        """Put the file aside under the next number; its keys are kept until the next one is put aside."""
        os.fdatasync(self._file)
        os.close(self._file)
        old = files_of(self._path)
        number = int(old[-2].suffix[1:]) + 1 if len(old) > 1 else 1
        self._path.rename(self._path.with_name(f"{self._path.name}.{number:06}"))
        self._open()
        self._older_keys, self._keys = self._keys, set()

    def _cut_torn_line(self) -> None:
        """Cut off a last line that a crash left incomplete: its delivery wasn't settled, and comes again."""
        if not self._path.exists():
            return
        with self._path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            kept = _end_of_last_line(file.fileno(), size)
            if kept < size:
                file.truncate(kept)
                os.fsync(file.fileno())
                _log.warning("audit.torn_line_cut", path=str(self._path), bytes=size - kept)

    def _read_back(self) -> None:
        """Learn the last hash, and which deliveries are in the last two files."""
        for path in files_of(self._path)[-2:]:
            for found in walk(path):
                if isinstance(found, Link):
                    self._keys.add(found.key)
                    self._hash = found.hash
                else:
                    _log.error("audit.chain_broken", path=str(found.path), line=found.line, what=found.what)


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

"""Opening a journal's file: its lock, its settings, its schema."""

import contextlib
import fcntl
import os
import sqlite3
import weakref
from collections.abc import Callable, Generator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, cast

from fbsessiond.chance import new_identity, new_key
from fbsessiond.errors import JournalError
from fbsessiond.journal.interface import untimed
from fbsessiond.journal.packing import Packing, shipped_dictionary
from fbsessiond.journal.records import DiskSpace
from fbsessiond.journal.sql.dictionaries import dictionary
from fbsessiond.journal.sql.rows import checksum

APPLICATION_ID: Final = 0x46425364
"""Marks an SQLite file as a journal of fbsessiond: "FBSd"."""

SCHEMA_VERSION: Final = 1

MEMORY: Final = Path(":memory:")
"""A journal that lives as long as its process: for tests and replays."""

_PAGE_BYTES: Final = 4096

_HERE = files("fbsessiond.journal.sqlite")


def schema(connection: sqlite3.Connection) -> dict[str, str | None]:
    """Return the statements that made each table, index and whatever else there is, by name."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema"))


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a journal's file, made or migrated if need be, every commit synced to disk.

    Raises `JournalError` where the file can't be had, is no journal, or is one of a newer version.
    """
    try:
        if path != MEMORY and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        with _connected(path) as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _log_ahead(connection, path)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # it would pass over an error: `checkpoint` doesn't
            _migrate(connection)
            return connection
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:  # the last one: of a schema that is damaged
        raise JournalError(f"{path}: can't open the journal: {error}") from error


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the file of a journal that exists; it can be written by a daemon at the same time.

    Raises `JournalError` where there is none, or none of this version.
    """
    if not path.is_file():
        raise JournalError(f"{path}: there is no journal here; name another with --journal or --config")
    try:
        with _connected(path) as connection:
            if (version := _version(connection)) < SCHEMA_VERSION:
                raise JournalError(
                    f"{path}: the journal has version {version}, and this program reads version {SCHEMA_VERSION}: "
                    "start the daemon once, which brings it up to date"
                )
            connection.execute("PRAGMA synchronous = FULL")  # what a person changes is on disk when it is done
            return connection
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise JournalError(f"{path}: can't read the journal: {error}") from error


def space_at(path: Path) -> DiskSpace:
    """Return how much room there is on the disk of a journal's file. Raises `JournalError`."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise JournalError(f"{path}: can't look at the journal's disk: {error}") from error
    return DiskSpace(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class Log:
    """The write-ahead log, which is moved into the file when it is long enough.

    SQLite would do that by itself, and say nothing where it fails. How long the log is it doesn't say either: it is
    taken for a page a changed row, and what the rows hold besides.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.most_bytes = 4 << 20
        """About how long it may become."""
        self.timed: Callable[[Literal["checkpoint"]], contextlib.AbstractContextManager[None]] = untimed
        """Surrounds each move."""
        self._connection = connection
        self._begin_changes = connection.total_changes
        self._bytes = 0

    def add(self, count: int) -> None:
        """Note so many bytes that go into it beside the rows."""
        self._bytes += count

    def move(self, *, whole: bool = False) -> None:
        """Move it into the file if it is long enough, or in any case; what a reader still needs stays.

        Raises `sqlite3.Error`.
        """
        changes = self._connection.total_changes - self._begin_changes
        if whole or changes * _PAGE_BYTES + self._bytes > self.most_bytes:
            with self.timed("checkpoint"):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._begin_changes, self._bytes = self._connection.total_changes, 0


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how much of a journal's file is in use."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    used: int = (pages - free) * size
    return used


def give_back(connection: sqlite3.Connection, most_pages: int) -> int:
    """Give pages that are free back to the file system, in a transaction of its own; return how many bytes.

    As a script, since `execute` stops after the statement's first step, which is one page.
    """
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free:
        connection.executescript(f"PRAGMA incremental_vacuum({most_pages})")
    return min(int(free), most_pages) * _PAGE_BYTES


class Lock:
    """The right to write a journal: one process has it. It ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(f"{path.resolve()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise JournalError(
                f"{path}: another fbsessiond (process {holder or 'unknown'}) writes this journal; "
                "stop it first, or give this one a journal of its own"
            ) from None
        except OSError as error:
            raise JournalError(f"{path}: can't open the journal: {error}") from error

    def release(self) -> None:
        """Give the right back."""
        os.close(self._file)


class FileConnection(sqlite3.Connection):
    """One that can be referred to weakly."""


@contextlib.contextmanager
def _connected(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """Connect to a journal's file, or to one that is still empty; close it again where that is as far as it goes."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5, factory=FileConnection)
    try:
        _check(connection, path)
        _register_packing(connection)
        yield connection
    except BaseException:
        connection.close()
        raise


def _register_packing(connection: sqlite3.Connection) -> None:
    """Have queries pack and unpack: `pack(content, dictionary)`, `unpack(packed)`; NULL is NULL.

    What is damaged stays as it is, which is no JSON: one damaged entry doesn't hinder what reads many.
    """
    weakly = cast("sqlite3.Connection", weakref.proxy(connection))  # SQLite holds what it is given unseen by Python
    packing = Packing(partial(dictionary, weakly))

    def pack(content: bytes | None, number: int) -> bytes | None:
        return None if content is None else packing.pack(content, number)

    def unpack(packed: bytes | None) -> bytes | None:
        try:
            return None if packed is None else packing.unpack(packed)
        except (LookupError, ValueError, sqlite3.Error):
            return packed

    connection.create_function("pack", 2, pack, deterministic=True)
    connection.create_function("unpack", 1, unpack, deterministic=True)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and application != APPLICATION_ID:
        raise JournalError(f"{path}: this SQLite file is something else, not a journal of fbsessiond")
    if (version := _version(connection)) > SCHEMA_VERSION:
        raise JournalError(
            f"{path}: the journal has version {version}, this program knows versions up to {SCHEMA_VERSION}: "
            "update fbsessiond, or give it a journal of its own"
        )


def _log_ahead(connection: sqlite3.Connection, path: Path) -> None:
    """Have a write-ahead log. Where a write of this change fails, SQLite keeps the old mode, and raises nothing."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if path != MEMORY and mode != "wal":
        raise JournalError(
            f"{path}: the journal can't have a write-ahead log (its mode stayed {mode!r}): look at the disk, and at "
            "whether its file system is a local one, then restart"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, one version after the other, each in one transaction."""
    facts = [("identity", new_identity().encode()), ("redaction_key", new_key())]
    for following in range(_version(connection) + 1, SCHEMA_VERSION + 1):
        script = _HERE.joinpath(f"schema-{following}.sql").read_text()
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {following};"
        connection.executescript(f"BEGIN IMMEDIATE; {script} {marks}")
        connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts)
        first = (1, 1, shipped_dictionary())
        connection.execute("INSERT OR IGNORE INTO dictionaries VALUES (?, ?, ?, ?)", (*first, checksum(first)))
        connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version

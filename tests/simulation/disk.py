"""A disk that is slow, fails or is full: what stands between the journal and SQLite in a simulation."""

import sqlite3
from collections.abc import Callable
from typing import Any

from fbsessiond.chance import Chance, happens
from fbsessiond.journal.records import DiskSpace

SIZE_BYTES = 1 << 40


class Disk:
    """What a disk does when a commit is to be made durable; the same one for all processes of a world."""

    def __init__(self, chance: Chance, wait: Callable[[float], None]) -> None:
        self.slow_seconds = 0.0
        """A commit takes up to so long, and the event loop waits for it."""
        self.is_failing = False
        """Whether the next commit fails; that may be before or after its pages are where they should be."""
        self.is_failing_later = False
        """Whether the next move of the log into the file fails, which is after its commit."""
        self.is_full = False
        """Whether there is less room than the reserve."""
        self.waited_seconds = 0.0
        """How long commits have held everything up so far."""
        self._chance = chance
        self._wait = wait

    def space(self) -> DiskSpace:
        """Say how much room there is."""
        return DiskSpace(0 if self.is_full else SIZE_BYTES, SIZE_BYTES)

    def under(self, connection: sqlite3.Connection) -> Any:
        """Return a connection whose commits go to this disk."""
        return _Connection(self, connection)

    def commit(self, connection: sqlite3.Connection) -> sqlite3.Cursor:
        """Commit, or fail as SQLite does."""
        if self.slow_seconds:
            seconds = self._chance.between(0, self.slow_seconds)
            self.waited_seconds += seconds
            self._wait(seconds)
        if not self.is_failing:
            return connection.execute("COMMIT")
        self.is_failing = False
        connection.execute("COMMIT" if happens(self._chance, 0.5) else "ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    def checkpoint(self, connection: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        """Move the log into the file, or fail as SQLite does."""
        if not self.is_failing_later:
            return connection.execute(statement)
        self.is_failing_later = False
        raise sqlite3.OperationalError("disk I/O error")


class _Connection:
    def __init__(self, disk: Disk, connection: sqlite3.Connection) -> None:
        self._disk = disk
        self._connection = connection
        self.executemany = connection.executemany

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            return self._disk.commit(self._connection)
        if statement.startswith("PRAGMA wal_checkpoint"):
            return self._disk.checkpoint(self._connection, statement)
        return self._connection.execute(statement, *parameters)

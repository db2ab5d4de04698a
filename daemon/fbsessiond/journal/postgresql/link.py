"""A connection that is made anew when it is lost, for one thread."""

import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg
import structlog

from fbsessiond.errors import JournalError
from fbsessiond.journal.postgresql.connection import Postgres, Writing
from fbsessiond.journal.postgresql.database import Database, claim, described, end_claim

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

_PASSING = ("08", "40", "53", "57P", "25006", "25P03", "55P03")
"""Errors that pass, by the beginning of their codes: connections, serialization and deadlocks, resources, a server that
stops or starts, one that can't be written, a session that was ended, a lock that wasn't had in time."""


class Link:
    """A connection to a journal's database; the writer's has the right to write it."""

    def __init__(self, database: Database, *, is_writer: bool) -> None:
        """Connect. Raises `JournalError` where that can't be, or where another daemon writes this journal."""
        self.database = database
        self.number: int | None = None
        """Which writer this is, once it is one."""
        self._is_writer = is_writer
        self.closing = threading.Event()
        """Ends what is tried again and again, while it is set."""
        self._is_lost = False
        with database.opening():
            self._writing: Writing | None = self._connect()

    def run(self, work: Callable[[Writing], T]) -> T:
        """Do something, again and again until the database lets it be done.

        Raises `JournalError` where it can't be any more: this is closed, or another daemon took over.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self._writing = self._writing or self._connect()
                result = work(self._writing)
            except psycopg.Error as error:
                if not self._passes(error):
                    self.close()
                    raise
                self._lose(error)
                if self.closing.wait(pause):
                    raise JournalError(f"{self.database.name}: the journal is closed: {described(error)}") from error
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except BaseException:
                self.close()
                raise
            else:
                self._is_lost, was_lost = False, self._is_lost
                if was_lost:
                    log.info("journal.reachable", journal=self.database.name)
                return result

    def close(self) -> None:
        """Close the connection, and with it give the right to write back."""
        if self._writing is not None:
            self._writing.connection.close()
            self._writing = None

    def _connect(self) -> Writing:
        connection = self.database.connect()
        try:
            if self._is_writer:
                self._claim(connection)
        except BaseException:
            connection.close()
            raise
        return Writing(connection)

    def _claim(self, connection: Postgres) -> None:
        try:
            claim(connection)
        except psycopg.errors.LockNotAvailable:
            if self.number is None:
                raise JournalError(
                    f"{self.database.name}: another fbsessiond writes this journal; stop it first, or give this one a "
                    "journal of its own"
                ) from None
            self._look_whether_still_here(connection)
            end_claim(connection)
            raise
        if self.number is not None:
            self._look_whether_still_here(connection)

    def _look_whether_still_here(self, connection: Postgres) -> None:
        if connection.execute("SELECT 1 FROM writers WHERE number = %s", (self.number,)).fetchone() is None:
            raise JournalError(f"{self.database.name}: another fbsessiond took this journal over meanwhile")

    def _passes(self, error: psycopg.Error) -> bool:
        is_gone = self._writing is None or self._writing.connection.closed
        is_of_connection = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return (is_gone and is_of_connection) or (error.sqlstate or "").startswith(_PASSING)

    def _lose(self, error: psycopg.Error) -> None:
        """Begin with a new connection: it may lead to another server, and nothing of the old one's state is left."""
        self.close()
        if not self._is_lost:
            log.warning("journal.unreachable", journal=self.database.name, error=described(error))
        self._is_lost = True

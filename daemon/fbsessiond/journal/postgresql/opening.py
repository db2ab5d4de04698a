"""Opening a journal in a PostgreSQL database."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime

from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.postgresql.database import Database
from fbsessiond.journal.postgresql.engine import PostgresqlJournal
from fbsessiond.journal.postgresql.link import Link
from fbsessiond.journal.postgresql.reader import PostgresqlReader


class InPostgresql:
    """A journal at an address, opened as `engines` says. Raises `ConfigurationError` where that is no address."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def open(self, now: datetime) -> Journal:
        """Open it to write it."""
        return PostgresqlJournal(self._database, now)

    @contextmanager
    def claimed(self) -> Generator[Callable[[datetime], Journal], None, None]:
        """Have the right to write it, for which its tables aren't touched; yield what opens it."""
        link = Link(self._database, is_writer=True)
        try:
            yield lambda now: PostgresqlJournal(self._database, now, claimed=link)
        finally:
            link.close()

    def read(self) -> Reader:
        """Open it to look at it."""
        return PostgresqlReader(self._database)

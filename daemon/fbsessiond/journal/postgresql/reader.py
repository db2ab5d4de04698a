"""The journal's readers: the verbs that look at it, and the few things that a person changes."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.journal.postgresql.connection import Reading, Writing
from fbsessiond.journal.postgresql.database import SCHEMA_VERSION, Database, version
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.reader import SqlReader


class PostgresqlReader(SqlReader):
    """A look at a journal in a database, while a daemon writes it or not."""

    container = "the database"

    def __init__(self, database: Database) -> None:
        """Connect. Raises `JournalError` where there is no journal, or none of this version."""
        self._database = database
        with database.opening("read"):
            self._connection = self._connect()

    def version(self) -> int:
        """Read the number that each transaction changes."""
        with self._reading() as connection:
            found: int = connection.execute("SELECT version FROM counters").fetchone()[0]
            return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.connection.close()

    @contextmanager
    def _reading(self) -> Generator[Connection, None, None]:
        """Tell what can't be read as an error of the journal; the next look is through a new connection if need be."""
        with self._database.opening("read"):
            if self._connection.connection.closed:
                self._connection = self._connect()
            yield self._connection

    @contextmanager
    def _changing(self) -> Generator[Connection, None, None]:
        """Change something in a transaction of its own, while nobody else writes."""
        with (
            self._database.opening("write"),
            closing(self._database.connect()) as connection,
            connection.transaction(),
        ):
            connection.execute("SELECT FROM counters FOR UPDATE")
            yield Writing(connection)
            connection.execute("UPDATE counters SET version = version + 1")

    def _bytes(self, connection: Connection) -> int:
        found: int = connection.execute("SELECT bytes FROM counters").fetchone()[0]
        return found

    def _structure(self, connection: Connection) -> Iterator[Finding]:
        """Yield where the numbers don't go on where they ended. PostgreSQL checks pages itself, as it reads them."""
        query = """
            SELECT last_seq, (SELECT max(seq) FROM entries), last_quarantined, (SELECT max(seq) FROM quarantine)
            FROM counters
        """
        seq, last_seq, quarantined, last_quarantined = connection.execute(query).fetchone() or (None,) * 4
        if seq != (last_seq or 0) or quarantined != (last_quarantined or 0):
            yield Finding("counters", "don't agree with the last entry, or the last message in the quarantine")

    def _connect(self) -> Reading:
        connection = self._database.connect()
        try:
            self._check(version(connection, self._database.name))
        except BaseException:
            connection.close()
            raise
        return Reading(connection)

    def _check(self, found: int) -> None:
        name = self._database.name
        if not found:
            raise JournalError(f"{name}: there is no journal here; name another with --journal or --config")
        if found < SCHEMA_VERSION:
            raise JournalError(
                f"{name}: the journal has version {found}, and this program reads version {SCHEMA_VERSION}: "
                "start the daemon once, which brings it up to date"
            )

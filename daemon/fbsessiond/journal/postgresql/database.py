"""Where a journal's database is, what is looked at before it is used, and who may write it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fbsessiond.chance import new_identity, new_key
from fbsessiond.errors import ConfigurationError, JournalError
from fbsessiond.journal.address import shown
from fbsessiond.journal.packing import shipped_dictionary
from fbsessiond.journal.postgresql.connection import Postgres, adapt
from fbsessiond.journal.sql.rows import checksum

SCHEMA_VERSION: Final = 1

_SETTINGS: Final[Mapping[str, str | int]] = {
    "application_name": "fbsessiond",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "read-write",
}
"""What holds unless the address says otherwise: a server that is gone is noticed within 15 s, and of several the one
that can be written is taken. s, but for the `tcp_user_timeout`, which is in ms."""

_SESSION: Final = """
    SET client_encoding = 'UTF8';
    SET idle_in_transaction_session_timeout = '15s';
"""
"""What holds in any case. A daemon that hangs, or whose network is gone, mustn't keep its lock for long."""


@dataclass(frozen=True)
class Database:
    """The address of a journal's database: `postgresql://USER@HOST/DATABASE`, as libpq has it."""

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        """Raise `ConfigurationError` where it isn't an address."""
        try:
            conninfo_to_dict(self.url)
        except psycopg.ProgrammingError:
            raise ConfigurationError(f"{self.name}: this is no address of a PostgreSQL database") from None

    @property
    def name(self) -> str:
        """What it is called where people read it: without the password."""
        return shown(self.url)

    def connect(self) -> Postgres:
        """Connect. Raises `psycopg.Error`, and `JournalError` where that database can't hold a journal."""
        given = conninfo_to_dict(self.url)
        settings = {name: value for name, value in _SETTINGS.items() if name not in given}
        connection: Postgres = psycopg.Connection.connect(make_conninfo(self.url, **settings), autocommit=True)
        try:
            adapt(connection)
            connection.execute(_SESSION)
            _check(connection, self.name)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def opening(self, what: str = "open") -> Generator[None, None, None]:
        """Tell what goes wrong with the database as an error of the journal."""
        try:
            yield
        except (psycopg.Error, ValueError, LookupError, OverflowError) as error:
            raise JournalError(f"{self.name}: can't {what} the journal: {described(error)}") from error


def described(error: BaseException) -> str:
    """Return what an error says, on one line."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def migrate(connection: Postgres, name: str) -> None:
    """Make a journal where nothing is, or bring one up to date, each version in one transaction.

    Raises `JournalError` where something else is there, or a journal of a newer version.
    """
    for following in range(version(connection, name) + 1, SCHEMA_VERSION + 1):
        first = (1, 1, shipped_dictionary())
        mark = str(following).encode()
        facts = [("identity", new_identity().encode()), ("redaction_key", new_key()), ("version", mark)]
        with connection.transaction():
            connection.execute(files("fbsessiond.journal.postgresql").joinpath(f"schema-{following}.sql").read_bytes())
            connection.cursor().executemany("INSERT INTO facts VALUES (%s, %s)", facts)
            connection.execute("INSERT INTO dictionaries VALUES (%s, %s, %s, %s)", (*first, checksum(first)))


def version(connection: Postgres, name: str) -> int:
    """Return the version of the journal in a database; 0 where there is nothing yet.

    Raises `JournalError` where something else is there, or a journal of a newer version.
    """
    query = """
        SELECT count(*), count(*) FILTER (WHERE relname IN ('facts', 'counters', 'entries')) FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
    """
    tables, ours = connection.execute(query).fetchone() or (0, 0)
    if not tables:
        return 0
    if ours != 3:  # noqa: PLR2004  those that were asked for
        raise JournalError(
            f"{name}: there is something else in this database, and no journal of fbsessiond; give it a database, or a "
            "schema, of its own"
        )
    row = connection.execute("SELECT value FROM facts WHERE name = 'version'").fetchone()
    found = int(row[0]) if row else 0
    if found > SCHEMA_VERSION:
        raise JournalError(
            f"{name}: the journal has version {found}, this program knows versions up to {SCHEMA_VERSION}: "
            "update fbsessiond, or give it a journal of its own"
        )
    return found


def claim(connection: Postgres) -> None:
    """Take the right to write, which ends with the connection. Raises `psycopg.errors.LockNotAvailable`."""
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '2s'")
        connection.execute("SELECT pg_advisory_lock(hashtextextended('fbsessiond ' || current_schema(), 0))")


def end_claim(connection: Postgres) -> None:
    """End the session that has the right to write: this daemon's own, which the server doesn't know to be lost."""
    connection.execute("""
        SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('fbsessiond ' || current_schema(), 0)
    """)


def _check(connection: Postgres, name: str) -> None:
    encoding, durability = connection.execute(
        "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')"
    ).fetchone() or ("", "")
    if encoding != "UTF8":
        raise JournalError(f"{name}: the database's encoding is {encoding}, and a journal needs UTF8: make another one")
    if connection.execute("SELECT current_schema()").fetchone() == (None,):
        raise JournalError(f"{name}: the database has no schema that may be used; see docs/postgresql.md")
    if durability in {"off", "local"}:
        connection.execute("SET synchronous_commit = on")

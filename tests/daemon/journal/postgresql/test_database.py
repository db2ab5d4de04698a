from contextlib import closing

import psycopg
import pytest

from fbsessiond.errors import ConfigurationError, JournalError
from fbsessiond.journal.postgresql.database import Database, claim, described, end_claim, migrate, version
from postgresql_server import Server


def test_password() -> None:
    """Nothing that people read has the password, whatever goes wrong."""
    url = "postgresql://fbsessiond:secret@127.0.0.1:1/floor"
    database = Database(url)
    assert "secret" not in f"{database} {database!r} {database.name}"
    with pytest.raises(JournalError, match="can't open the journal: connection failed") as caught, database.opening():
        database.connect()
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="no address of a PostgreSQL database") as mistaken:
        Database(url + "?nonsense=1&password=secret")
    assert "secret" not in str(mistaken.value)


def test_wrong_encoding(server: Server) -> None:
    """A database that can't hold all text is refused."""
    server.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(JournalError, match="the database's encoding is LATIN1, and a journal needs UTF8"):
        Database(server.url("latin")).connect()


def test_no_schema(server: Server) -> None:
    """A schema that isn't there is said to be missing."""
    with pytest.raises(JournalError, match="no schema that may be used"):
        Database(server.url(options="-csearch_path%3Dnowhere")).connect()


def test_no_permission(server: Server) -> None:
    """Who may not make tables is told so."""
    server.run("CREATE ROLE nobody LOGIN")
    database = Database(server.url(options="-csearch_path%3Dpublic").replace("user=postgres", "user=nobody"))
    with (
        closing(database.connect()) as connection,
        pytest.raises(JournalError, match="permission denied for schema public"),
        database.opening(),
    ):
        migrate(connection, database.name)


def test_something_else(url: str) -> None:
    """A schema in which other tables are is left alone."""
    database = Database(url)
    with closing(database.connect()) as connection:
        assert version(connection, database.name) == 0
        connection.execute("CREATE TABLE customers (id bigint)")
        with pytest.raises(JournalError, match="there is something else in this database"):
            migrate(connection, database.name)


def test_newer_version(url: str) -> None:
    """A journal of a newer version is refused; one of this version is left as it is."""
    database = Database(url)
    with closing(database.connect()) as connection:
        migrate(connection, database.name)
        before = connection.execute("SELECT * FROM facts ORDER BY name").fetchall()
        migrate(connection, database.name)
        assert connection.execute("SELECT * FROM facts ORDER BY name").fetchall() == before
        connection.execute("UPDATE facts SET value = '2' WHERE name = 'version'")
        with pytest.raises(JournalError, match="has version 2, this program knows versions up to 1"):
            version(connection, database.name)


@pytest.mark.parametrize(("given", "used"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
def test_durable(url: str, given: str, used: str) -> None:
    """A commit is on disk when it is said to be, whatever the server's settings are; what promises more stays."""
    with closing(Database(f"{url}%20-csynchronous_commit%3D{given}").connect()) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == (used,)


def test_claim(url: str) -> None:
    """One at a time has the right to write; the session that has it can be ended."""
    database = Database(url)
    with closing(database.connect()) as one, closing(database.connect()) as another:
        claim(one)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            claim(another)
        end_claim(another)
        claim(another)
        assert one.closed is False
        with pytest.raises(psycopg.OperationalError):
            one.execute("SELECT 1")


def test_described() -> None:
    """An error is told on one line, and by its name where it says nothing."""
    assert described(ValueError("one\n  two\n")) == "one; two"
    assert described(ValueError()) == "ValueError"

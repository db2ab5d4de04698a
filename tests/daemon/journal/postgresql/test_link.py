from contextlib import closing

import psycopg
import pytest

from fbsessiond.errors import JournalError
from fbsessiond.journal.postgresql.connection import Writing
from fbsessiond.journal.postgresql.database import Database, migrate
from fbsessiond.journal.postgresql.link import Link
from postgresql_server import Server


def pid(writing: Writing) -> int:
    """Return which session a connection has."""
    number: int = writing.execute("SELECT pg_backend_pid()").fetchone()[0]
    return number


def test_nobody_there() -> None:
    """Where no server is, the first connection fails at once."""
    with pytest.raises(JournalError, match="can't open the journal: connection failed"):
        Link(Database("postgresql://127.0.0.1:1/floor"), is_writer=False)


def test_again(url: str, server: Server) -> None:
    """What fails since the connection is lost is done again with a new one."""
    with closing(Link(Database(url), is_writer=False)) as link:
        seen: list[int] = []

        def work(writing: Writing) -> int:
            seen.append(pid(writing))
            if len(seen) == 1:
                server.run(f"SELECT pg_terminate_backend({seen[0]})")
            return pid(writing)

        assert link.run(work) == seen[1] != seen[0]
        assert link.run(pid) == seen[1]


@pytest.mark.parametrize("error", [psycopg.errors.SerializationFailure, psycopg.errors.DiskFull])
def test_what_passes(url: str, error: type[psycopg.Error]) -> None:
    """What fails for a reason that passes is done again."""
    with closing(Link(Database(url), is_writer=False)) as link:
        errors = [error("for now"), error("for now")]

        def work(writing: Writing) -> int:
            if errors:
                raise errors.pop()
            return pid(writing)

        assert link.run(work) > 0


@pytest.mark.parametrize("error", [psycopg.errors.UndefinedTable("gone"), ValueError("damaged")])
def test_what_does_not_pass(url: str, error: Exception) -> None:
    """What fails for good is told at once, and leaves no open transaction behind."""
    with closing(Link(Database(url), is_writer=False)) as link:
        first = link.run(pid)

        def work(writing: Writing) -> None:
            writing.execute("BEGIN")
            raise error

        with pytest.raises(type(error)):
            link.run(work)
        assert link.run(pid) != first


def test_own_claim(url: str) -> None:
    """A writer ends its own session where the server doesn't know yet that it is lost, and goes on."""
    database = Database(url)
    with closing(Link(database, is_writer=True)) as link:
        link.run(lambda writing: migrate(writing.connection, database.name))
        insert = "INSERT INTO writers DEFAULT VALUES RETURNING number"
        link.number = link.run(lambda writing: writing.execute(insert).fetchone()[0])
        lost = link._writing  # pyright: ignore[reportPrivateUsage]
        link._writing = None  # pyright: ignore[reportPrivateUsage]
        assert lost is not None
        assert link.run(pid) > 0
        lost.connection.close()
        link.run(lambda writing: writing.execute("DELETE FROM writers"))
        link.close()
        with pytest.raises(JournalError, match="another fbsessiond took this journal over"):
            link.run(pid)


def test_closing(url: str) -> None:
    """What is tried again and again ends when the link is to be closed."""
    with closing(Link(Database(url), is_writer=False)) as link:

        def work(_: Writing) -> None:
            link.closing.set()
            raise psycopg.errors.DiskFull("for now")

        with pytest.raises(JournalError, match="the journal is closed: for now"):
            link.run(work)


def test_two_writers(url: str) -> None:
    """One at a time may write."""
    with (
        closing(Link(Database(url), is_writer=True)),
        pytest.raises(JournalError, match="another fbsessiond writes this journal"),
    ):
        Link(Database(url), is_writer=True)

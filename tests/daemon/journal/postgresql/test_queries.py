import re
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files

import psycopg
import pytest

from fbsessiond.journal.postgresql.database import Database
from fbsessiond.journal.postgresql.engine import PostgresqlJournal
from fbsessiond.journal.postgresql.queries import QUERIES, Query, in_postgresql
from fbsessiond.journal.sql.queries import read_queries
from journal_parts import NOW
from postgresql_server import Server


def test_words() -> None:
    """What SQLite says in other words is put into PostgreSQL's."""
    assert in_postgresql("SELECT a FROM b WHERE c = ? AND d = ?") == (
        b"SELECT a FROM b WHERE c = %s AND d = %s",
        set(),
        False,
    )
    assert in_postgresql("SELECT :a WHERE :a IS NULL OR :seq IS NULL").text == (
        b"SELECT %(a)s WHERE %(a)s::text IS NULL OR %(seq)s::bigint IS NULL"
    )
    assert in_postgresql("VALUES (?, pack(?, (SELECT max(number) FROM dictionaries)), ?)") == (
        b"VALUES (%s, %s, %s)",
        {1},
        False,
    )
    assert in_postgresql("SELECT unpack(e.a), b").text == b"SELECT e.a AS packed, b"
    assert in_postgresql("INSERT INTO dictionaries VALUES (1)").renews


def test_overrides() -> None:
    """What is another query in PostgreSQL stands for one that there is."""
    shared = {
        f"{file.name.removesuffix('.sql')}.{title}"
        for file in files("fbsessiond.journal.sql").iterdir()
        if file.name.endswith(".sql")
        for title in read_queries(file.name)
    }
    assert read_queries("overrides.sql", "fbsessiond.journal.postgresql").keys() <= shared
    assert len(QUERIES) == len(shared)


@pytest.mark.parametrize("query", sorted(QUERIES.values()), ids=lambda query: query.text[:60].decode())
def test_understood(prepared: psycopg.Connection, query: Query) -> None:
    """PostgreSQL understands each query as it is sent, with whatever is NULL."""
    text = query.text
    names = sorted(set(re.findall(rb"%\((\w+)\)s", text)))
    for number, name in enumerate(names, 1):
        text = text.replace(b"%%(%s)s" % name, b"$%d" % number)
    for number in range(1, text.count(b"%s") + 1):
        text = text.replace(b"%s", b"$%d" % number, 1)
    text = re.sub(rb"(THEN NULL ELSE \$\d+) END", rb"\1::bigint END", text)  # as numbers are always sent
    text = re.sub(rb"SET wanted_at = (\$\d+)", rb"SET wanted_at = \1::bigint", text)
    prepared.execute(b"PREPARE one AS " + text)
    prepared.execute("DEALLOCATE one")


@pytest.fixture(scope="module")
def prepared(server: Server) -> Iterator[psycopg.Connection]:
    """Connect to a journal with nothing in it."""
    database = Database(server.new_url())
    PostgresqlJournal(database, NOW).close()
    with closing(database.connect()) as connection:
        yield connection

import sqlite3

import pytest

from fbsessiond.journal.sql import reveals
from fbsessiond.journal.sql.facts import fact
from fbsessiond.journal.sql.queries import read_queries
from journal_parts import after


def test_noted(connection: sqlite3.Connection) -> None:
    """A reveal is read as it was written, under the journal's own identity."""
    reveals.note(connection, after(3), "alice", "export")
    (reveal,) = reveals.read(connection)
    identity = fact(connection, "identity").decode()
    assert (reveal.key, reveal.at, reveal.by, reveal.command) == (f"{identity}/reveals/1", after(3), "alice", "export")


def test_passed_on(connection: sqlite3.Connection) -> None:
    """What was passed on isn't again, and is still there."""
    reveals.note(connection, after(1), "alice", "export")
    reveals.note(connection, after(0), "bob", "export")
    one, two = reveals.read(connection, "to_pass_on")
    assert [one.by, two.by] == ["alice", "bob"]
    reveals.pass_on(connection, one)
    assert list(reveals.read(connection, "to_pass_on")) == [two]
    assert list(reveals.read(connection)) == [one, two]


@pytest.mark.parametrize("name", ["to_pass_on", "pass_on"])
def test_hot_queries(connection: sqlite3.Connection, name: str) -> None:
    """What is asked every second goes through no table."""
    query = read_queries("reveals.sql")[name]
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * query.count("?"))]
    assert all("reveals_to_pass_on" in step or step.startswith("SEARCH") for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan)

import re
import sqlite3
from importlib.resources import files
from typing import Any

import pytest

from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sqlite.file import MEMORY, open_to_write

PACKAGE = "fbsessiond.journal.sql"
QUERIES = sorted(one.name for one in files(PACKAGE).iterdir() if one.name.endswith(".sql"))


def explain(connection: sqlite3.Connection, how: str, query: str) -> list[str]:
    """Return what SQLite would do, a line each."""
    parameters: Any = dict.fromkeys(re.findall(r":(\w+)", query), 1) or [1] * query.count("?")
    return [str(row[-1]) for row in connection.execute(f"{how} {query}", parameters)]


@pytest.mark.parametrize("name", QUERIES)
def test_queries(name: str) -> None:
    """Each query has a name and is one statement, which SQLite understands."""
    connection = open_to_write(MEMORY)
    queries = read_queries(name)
    assert len(queries) == files(PACKAGE).joinpath(name).read_text().count("-- ")
    for title, query in queries.items():
        assert title.isidentifier()
        assert explain(connection, "EXPLAIN", query)
    connection.close()


HOT = {
    "entries.sql": "append keep_session known open_sessions notifications read_session",
    "deliveries.sql": """
        append find_due lease remove_pending append_settled promote postpone next_due
        read read_settled revive step_back append_revived drop forget
    """,
    "acts.sql": "append read_subject read_since forget",
    "quarantine.sql": "append retries release keep read retry drop forget",
    "gaps.sql": "watch watched chain add_gap prove agree close unclosed is_in_doubt",
    "retention.sql": "range forget_finished sessions_of_entries keep_document forget_entries",
}
"""Those of follow-ups have a test of their own; what looks for an agent's last gap reads from the table's end."""


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in HOT.items() for name in names.split()])
def test_hot_queries(file: str, name: str) -> None:
    """No query that runs again and again, or that is asked for one thing, goes through a whole table."""
    connection = open_to_write(MEMORY)
    plan = explain(connection, "EXPLAIN QUERY PLAN", read_queries(file)[name])
    few = ("SCAN CONSTANT ROW", "SCAN oldest")
    assert [step for step in plan if step.startswith("SCAN") and step not in few] == []
    assert [step for step in plan if "TEMP B-TREE" in step] == []
    connection.close()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("deliveries.sql", "backlog"),
        ("deliveries.sql", "next_due"),
        ("deliveries.sql", "count_dead"),
        ("follow_ups.sql", "backlog"),
        ("follow_ups.sql", "next_due"),
        ("quarantine.sql", "count"),
    ],
)
def test_scraped_queries(file: str, name: str) -> None:
    """What is looked up at each scrape for metrics is counted by an index, or a key, of what is still to be done."""
    connection = open_to_write(MEMORY)
    plan = explain(connection, "EXPLAIN QUERY PLAN", read_queries(file)[name])
    reads = [
        step for step in plan if step.startswith(("SCAN", "SEARCH")) and not re.search(r"\(subquery|SCAN counted", step)
    ]
    by = r"USING (COVERING INDEX \w+ \(|PRIMARY KEY \(|INDEX (settled_dead|follow_ups_stuck)$)"
    assert [bool(re.search(by, step)) for step in reads] == [True]
    connection.close()

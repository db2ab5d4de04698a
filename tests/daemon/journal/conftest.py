"""What the tests of the engines share."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY, open_to_write
from journal_parts import NOW
from postgresql_server import Server, running_server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the test's journal is, or will be."""
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    """Open the test's journal."""
    journal = SqliteJournal(path, NOW)
    yield journal
    journal.close()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Open a journal in memory below its engine: tables, and nobody who counts."""
    connection = open_to_write(MEMORY)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Run a PostgreSQL server for all tests."""
    with running_server() as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    """Return the address of a database in which nothing is yet."""
    return server.new_url()

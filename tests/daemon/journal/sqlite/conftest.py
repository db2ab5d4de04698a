"""What the tests of SQLite's engine share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fbsessiond.journal.sqlite.engine import SqliteJournal
from journal_parts import NOW


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

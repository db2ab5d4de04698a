"""What waits, over a journal in memory; `test_engine.py` runs the same over every kind of journal."""

import pytest

from daemon.journal.sqlite.test_engine import InMemory
from daemon.journal.suite.engine import Engine
from daemon.journal.suite.waiting import Waiting


class TestWaiting(Waiting):
    """Clocks and throttles."""

    @pytest.fixture
    def engine(self) -> Engine:
        """Return journals in memory."""
        return InMemory()

"""The suite's asserts say as much as those of any other test."""

import pytest

pytest.register_assert_rewrite("daemon.journal.suite", "journal_parts")

"""What all tests share: asserts that explain themselves, in shared parts too, logging that is put back, property tests.

`steady` tries the same examples on every machine and in every run; `pytest --hypothesis-profile=explore` looks
further, and finds others each time.
"""

import logging
from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

pytest.register_assert_rewrite(
    "daemon.journal.suite", "fuzzing", "journal_parts", "cometd_servers", "floor", "simulator_parts"
)

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _logging_put_back() -> Generator[None, None, None]:
    """Put back what a command sets up in its process: it would catch what later tests look at."""
    loggers = [logging.getLogger(name) for name in (None, "fbsessiond", "fbsessiond_handlers")]
    handlers, levels = loggers[0].handlers, [logger.level for logger in loggers]
    yield
    if structlog.is_configured():
        loggers[0].handlers = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        structlog.reset_defaults()

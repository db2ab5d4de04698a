import os

import pytest

from fbsessiond.errors import (
    ConfigurationError,
    DiskError,
    FbsessiondError,
    JournalError,
    RefusedError,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("error", "exit_status"),
    [
        (FbsessiondError, 1),
        (ConfigurationError, os.EX_CONFIG),
        (RefusedError, os.EX_NOPERM),
        (UnavailableError, os.EX_UNAVAILABLE),
        (DiskError, os.EX_IOERR),
        (JournalError, os.EX_IOERR),
    ],
)
def test_exit_status(error: type[FbsessiondError], exit_status: int) -> None:
    """Each reaction has one class of error, with the exit status that sysexits.h has for it."""
    assert error.exit_status == exit_status
    assert issubclass(error, FbsessiondError)


def test_journal_error() -> None:
    """A journal that can't be written is a failing disk, and stops the daemon like one."""
    assert issubclass(JournalError, DiskError)

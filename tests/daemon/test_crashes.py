import errno
import json
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from fbsessiond.crashes import MOST_PARTS, log_crashes, name_of, told
from fbsessiond.errors import JournalError

CUSTOMER = "Vitaliy Onv"


class RaisedError(Exception):
    """An error of somebody's."""


def raised(error: BaseException, *, cause: BaseException | None = None, context: BaseException | None = None) -> str:
    """Raise an error, and return what is told of it."""
    try:
        try:
            if context is not None:
                raise context
        finally:
            if cause is not None:
                raise error from cause
            raise error
    except BaseException as caught:  # noqa: BLE001  whatever it is
        return told(caught)


def test_told() -> None:
    """Of an exception its traceback is told, and its name; not its text, and no note."""
    error = KeyError(CUSTOMER)
    error.add_note(CUSTOMER)
    lines = raised(error).split("\n")
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError"
    assert any("test_crashes.py" in line and "in raised" in line for line in lines)
    assert not any(CUSTOMER in line for line in lines)
    assert raised(RaisedError(CUSTOMER)).endswith(f"\n{__name__}.RaisedError")


def test_own_errors() -> None:
    """Our own errors' texts are told, and what an error of the operating system's number means; not its file's name."""
    assert raised(JournalError("journal.db: can't be read")).endswith(
        "\nfbsessiond.errors.JournalError: journal.db: can't be read"
    )
    assert raised(OSError(errno.ENOSPC, CUSTOMER, CUSTOMER)).endswith("\nOSError: [Errno 28] No space left on device")
    assert raised(OSError(CUSTOMER)).endswith("\nOSError")


def test_never_raised() -> None:
    """An exception that was never raised has no traceback."""
    assert told(ValueError(CUSTOMER)) == "ValueError"


def test_causes() -> None:
    """What caused an exception is told before it, and what was being handled; in Python's words."""
    caused = raised(KeyError(CUSTOMER), cause=ValueError(CUSTOMER))
    assert caused.startswith(
        "ValueError\n\nThe above exception was the direct cause of the following exception:\n\nTrace"
    )
    during = raised(KeyError(CUSTOMER), context=ValueError(CUSTOMER))
    assert "ValueError\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback" in during
    assert CUSTOMER not in caused + during
    hidden = KeyError(CUSTOMER)
    hidden.__context__, hidden.__suppress_context__ = ValueError(CUSTOMER), True
    assert told(hidden) == "KeyError"


def test_groups() -> None:
    """Of a group each exception is told, in their order, and the group last."""
    group = ExceptionGroup(CUSTOMER, [KeyError(CUSTOMER), ExceptionGroup(CUSTOMER, [ValueError(CUSTOMER)])])
    assert told(group).split("\n") == [
        *("Exception 1 of the group below:", "", "KeyError", ""),
        *("Exception 2 of the group below:", "", "Exception 1 of the group below:", "", "ValueError", ""),
        *("ExceptionGroup", "", "ExceptionGroup"),
    ]


def test_endless() -> None:
    """Exceptions that caused each other in a circle, or one after the other without end, are told in part."""
    one, other = KeyError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert told(one).count("KeyError") == 1
    error: BaseException = KeyError()
    for _ in range(10_000):
        following = KeyError()
        following.__cause__, error = error, following
    assert told(error).count("KeyError") == MOST_PARTS // 2


def test_names() -> None:
    """An exception's name is written as Python does."""
    assert name_of(KeyError) == "KeyError"
    assert name_of(json.JSONDecodeError) == "json.decoder.JSONDecodeError"


class Fragile:
    """Something that can't be given back."""

    def __del__(self) -> None:
        raise LookupError(CUSTOMER)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return what is logged."""
    for module, name in ((sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    pipe = StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    log_crashes(structlog.get_logger)
    with structlog.testing.capture_logs() as captured:
        yield captured
    assert pipe.getvalue() == ""


def test_threads(events: list[Any]) -> None:
    """An exception that ends a thread is an event of the log, and nothing is printed."""

    def fail() -> None:
        raise LookupError(CUSTOMER)

    thread = threading.Thread(target=fail, name="a thread")
    thread.start()
    thread.join()
    (event,) = events
    assert (event["event"], event["thread"], type(event["exc_info"])) == ("thread.crashed", "a thread", LookupError)


def test_unraisable(events: list[Any]) -> None:
    """So is one that is raised where nobody can catch it."""
    Fragile()
    (event,) = events
    assert (event["event"], event["where"]) == ("exception.ignored", "Fragile.__del__")
    assert isinstance(event["exc_info"], LookupError)

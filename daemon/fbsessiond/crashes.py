"""What is told of an exception that nobody expected: which it is and where it came from, and never its text.

An exception's text can hold customer data: the key that isn't there, the value that doesn't fit. Its traceback can't:
it shows lines of the program, and no values.
"""

import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from fbsessiond.errors import FbsessiondError

MOST_PARTS = 64
"""Where exceptions caused each other, or came together, so many of them are told, and of the lines between them."""

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def told(error: BaseException) -> str:
    """Return an exception's traceback as Python prints it, without the text of any exception in it.

    Our own errors' texts stay: they are written for the person who reads them. Of an `OSError` what its number means.
    """
    parts = list(itertools.islice(_parts(error, set()), MOST_PARTS))
    return "".join(reversed(parts)).rstrip("\n")


def log_crashes(logger: Callable[[], Any]) -> None:
    """Have what ends a thread, or is raised where nobody can catch it, logged like any other event.

    `logger` returns the log: it is asked for when there is something to log.
    """

    def log_thread(arguments: threading.ExceptHookArgs) -> None:
        log = logger()
        log.error("thread.crashed", thread=getattr(arguments.thread, "name", None), exc_info=arguments.exc_value)

    def log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
        log = logger()
        where = getattr(unraisable.object, "__qualname__", None)
        log.error("exception.ignored", where=where, exc_info=unraisable.exc_value)

    threading.excepthook = log_thread
    sys.unraisablehook = log_unraisable


def name_of(kind: type[BaseException]) -> str:
    """Return an exception's name as Python writes it: `KeyError`, `sqlite3.OperationalError`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Yield an exception, and before what caused it what stands between them; the last one first."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield f"{_trace(error)}{_name_and_words(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for number, one in reversed(list(enumerate(error.exceptions, 1))):
            yield "\n"
            yield from _parts(one, seen)
            yield f"Exception {number} of the group below:\n\n"
    if error.__cause__ is not None:
        yield _CAUSE
        yield from _parts(error.__cause__, seen)
    elif error.__context__ is not None and not error.__suppress_context__:
        yield _CONTEXT
        yield from _parts(error.__context__, seen)


def _trace(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    return f"Traceback (most recent call last):\n{''.join(traceback.format_tb(error.__traceback__))}"


def _name_and_words(error: BaseException) -> str:
    name = name_of(type(error))
    match error:
        case FbsessiondError():
            return f"{name}: {error}"
        case OSError(errno=int() as number):
            return f"{name}: [Errno {number}] {os.strerror(number)}"
        case _:
            return name

"""What the commands print: lines of JSON for programs, lines of text for people.

Nothing in a value can end its line, begin another, or move a terminal's cursor.
"""

import os
import select
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import typer

from fbsessiond.errors import DiskError
from fbsessiond.printable import printable, printable_json


def print_json(record: Mapping[str, Any]) -> None:
    """Print a record as a line of JSON."""
    _write(printable_json(msgspec.json.encode(record).decode()))


def print_line(text: str) -> None:
    """Print a line of text."""
    _write(printable(text))


def is_read() -> bool:
    """Say whether anybody reads what is printed: a pipe's reader, such as `head`, may be gone."""
    gone = select.poll()
    try:
        gone.register(sys.stdout, 0)
    except OSError:  # no file at all
        return True
    return not gone.poll(0)


def flush() -> bool:
    """Send what is still to be printed; say whether anybody reads it. Raises `DiskError` where it can't be written.

    A reader that has seen enough, such as `head`, is no trouble.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the interpreter's own flush may fail not
        if not isinstance(error, BrokenPipeError):
            raise _unwritable(error) from error
        return False
    return True


def _write(line: str) -> None:
    try:
        sys.stdout.write(f"{line}\n")
    except BrokenPipeError as error:
        raise typer.Exit(0) from error
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> DiskError:
    return DiskError(f"can't write to standard output: {error.strerror}")

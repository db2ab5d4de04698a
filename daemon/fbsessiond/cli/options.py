"""Options that several commands share."""

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from fbsessiond.clock import SystemClock
from fbsessiond.configuration import load
from fbsessiond.environment import user
from fbsessiond.errors import JournalError
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Reader

Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="FBSESSIOND_CONFIG",
        help="The configuration. By default fbsessiond.toml here, or /etc/fbsessiond/fbsessiond.toml.",
        show_default=False,
    ),
]

JournalUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="URL",
        help="The journal, e.g. sqlite:journal.db, in the place of the configuration's.",
        show_default=False,
    ),
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON Lines, for programs.")]

Reveal: TypeAlias = Annotated[
    bool, typer.Option("--reveal", help="Show customer data instead of tokens for it; who did is written down.")
]


@contextmanager
def reading(journal: str | None, config: Path | None, *, reveal: bool = False) -> Generator[Reader, None, None]:
    """Open the journal that a command is to read: the one named, or the configuration's.

    A command that is to reveal customer data is written down in it first: when, who, and how. Raises `JournalError`
    where that can't be.
    """
    if journal is not None:
        reader = open_reader(journal, Path())
    else:
        configuration = load(config)
        reader = open_reader(configuration.settings.journal.url, configuration.state_directory)
    try:
        if reveal:
            _note_reveal(reader)
        yield reader
    finally:
        reader.close()


def _note_reveal(reader: Reader) -> None:
    try:
        reader.note_reveal(SystemClock().now(), user(), shlex.join(sys.argv[1:]))
    except JournalError as error:
        raise JournalError(f"{error}; nothing is revealed unless it is written down who saw it") from error

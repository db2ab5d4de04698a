"""Options that several commands share."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from fbsessiond.configuration import load
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

Reveal: TypeAlias = Annotated[bool, typer.Option("--reveal", help="Show customer data instead of tokens for it.")]


@contextmanager
def reading(journal: str | None, config: Path | None) -> Generator[Reader, None, None]:
    """Open the journal that a command is to read: the one named, or the configuration's."""
    if journal is not None:
        reader = open_reader(journal, Path())
    else:
        configuration = load(config)
        reader = open_reader(configuration.settings.journal.url, configuration.state_directory)
    try:
        yield reader
    finally:
        reader.close()

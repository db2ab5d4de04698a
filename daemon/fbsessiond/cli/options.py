"""Options that several commands share."""

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fbsessiond.clock import SystemClock
from fbsessiond.durations import parse_duration
from fbsessiond.environment import user
from fbsessiond.errors import JournalError
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Reader

if TYPE_CHECKING:
    from fbsessiond.configuration import Configuration

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


Group: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--group", metavar="GROUP", help="Only the agents of this group of the configuration.", show_default=False
    ),
]


def point_in_time(text: str) -> datetime:
    """Read how long ago, or when: `2h`, `2026-11-30`, `2026-11-30T09:14Z`, UTC unless it says otherwise."""
    try:
        return SystemClock().now() - parse_duration(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("should be how long ago, as '2h', or when, as '2026-11-30T09:14Z'") from None


Since: TypeAlias = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        metavar="TIME",
        parser=point_in_time,
        help="Only what is later: how long ago, as 2h, or when, as 2026-11-30T09:14Z.",
        show_default=False,
    ),
]


def configured(config: Path | None) -> "Configuration":
    """Read the configuration, for a command that does without where a journal is named. Raises as `load` does."""
    from fbsessiond.configuration import load  # noqa: PLC0415  takes longer than to look at a journal

    return load(config)


def groups(config: Path | None) -> dict[str, str]:
    """Return each agent's group, as the configuration has it. Raises as `load` does."""
    return {gws.agent_name: gws.group for gws in configured(config).settings.watched}


def members(group: str, config: Path | None) -> set[str]:
    """Return the agents of a group of the configuration. Raises `BadParameter` where there is none of that name."""
    from fbsessiond.configuration_errors import nearest  # noqa: PLC0415  as above

    by_agent = groups(config)
    found = {agent for agent, own in by_agent.items() if own == group}
    if not found:
        raise typer.BadParameter(f"the configuration has no group {group!r}; {nearest(group, set(by_agent.values()))}")
    return found


@contextmanager
def reading(journal: str | None, config: Path | None, *, reveal: bool = False) -> Generator[Reader, None, None]:
    """Open the journal that a command is to read: the one named, or the configuration's.

    A command that is to reveal customer data is written down in it first: when, who, and how. Raises `JournalError`
    where that can't be.
    """
    if journal is not None:
        reader = open_reader(journal, Path())
    else:
        configuration = configured(config)
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

"""The one place where the process's environment comes in."""

import os
from collections.abc import Mapping
from pathlib import Path

variables: Mapping[str, str] = os.environ  # noqa: TID251  the one place
"""The environment's variables, as they are now."""


def state_directory() -> Path:
    """Return the folder for the journal and the handlers' files.

    Under systemd that is `StateDirectory=` of the unit ($STATE_DIRECTORY, the first where there are several);
    elsewhere `$XDG_STATE_HOME/fbsessiond`, by default `~/.local/state/fbsessiond`.
    """
    if given := variables.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    home = variables.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "fbsessiond"


def credentials_directory() -> Path | None:
    """Return the folder of systemd's `LoadCredential=` ($CREDENTIALS_DIRECTORY), where there is one."""
    given = variables.get("CREDENTIALS_DIRECTORY")
    return Path(given) if given else None


def notify_socket() -> str | None:
    """Return where systemd wants to be told how the service is ($NOTIFY_SOCKET), where it does [sd_notify(3)]."""
    return variables.get("NOTIFY_SOCKET") or None


def journal_stream() -> str | None:
    """Return which file systemd's journal reads ($JOURNAL_STREAM), where it reads one [systemd.exec(5)]."""
    return variables.get("JOURNAL_STREAM") or None

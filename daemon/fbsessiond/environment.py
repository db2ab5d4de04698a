"""The one place where the process's environment comes in."""

import os
import pwd
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


def user(login: Path = Path("/proc/self/loginuid")) -> str:
    """Return who runs this process: `alice (uid 1000)`, or `root (uid 0), logged in as alice (uid 1000)`.

    As whom somebody logged in the kernel knows, through sudo and su [proc_pid_loginuid(5)]; a container's has nobody.
    """
    uid = os.getuid()
    try:
        logged_in = int(login.read_text())
    except (OSError, ValueError):
        logged_in = _NOBODY
    return name_of(uid) if logged_in in {uid, _NOBODY} else f"{name_of(uid)}, logged in as {name_of(logged_in)}"


_NOBODY = 2**32 - 1
"""What the kernel says where nobody logged in."""


def name_of(uid: int) -> str:
    """Return a user as a person knows him: `alice (uid 1000)`."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def notify_socket() -> str | None:
    """Return where systemd wants to be told how the service is ($NOTIFY_SOCKET), where it does [sd_notify(3)]."""
    return variables.get("NOTIFY_SOCKET") or None


def journal_stream() -> str | None:
    """Return which file systemd's journal reads ($JOURNAL_STREAM), where it reads one [systemd.exec(5)]."""
    return variables.get("JOURNAL_STREAM") or None

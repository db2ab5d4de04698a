"""How the daemon is: what must hold for it to be ready, how its agents stand, and the words. No I/O, no clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

_UNITS = (
    (timedelta(days=2), timedelta(days=1), "d"),
    (timedelta(hours=2), timedelta(hours=1), "h"),
    (timedelta(minutes=2), timedelta(minutes=1), "min"),
)
"""From how long on a span is told in a unit; a shorter one is told in seconds."""


DEFAULT_GROUP = "default"
"""The group of agents for whom none is configured."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold for the daemon to be ready. Nothing in it is customer data."""

    name: str
    """What it is about: "connection agent1"."""
    is_ok: bool
    words: str
    """How it is: "connected", or "subscription of /v2/me/* refused: 403 denied"."""
    since: datetime | None = None
    """Since when it is so, where that is known."""


Checks: TypeAlias = Callable[[], Sequence[Check]]
"""Says how everything is that must hold, at this moment; always in the same order."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a group of agents stands at one moment."""

    agents: int = 0
    """How many are watched."""
    connected: int = 0
    """How many of them are connected and subscribed."""
    in_gap: int = 0
    """How many of them can't be sure at this moment to hear everything."""
    coverage: float | None = None
    """The share of the observed time that is covered, all of them together, 0 to 1; None: nothing was observed yet."""
    silent_for: timedelta | None = None
    """How long ago the agent's last connect succeeded for whom that is longest ago; None: there was none yet."""
    group: str = DEFAULT_GROUP


def is_ready(checks: Sequence[Check]) -> bool:
    """Say whether all of it holds."""
    return all(check.is_ok for check in checks)


def verdict(checks: Sequence[Check]) -> str:
    """Return one line: `ready`, or `not ready: ` and the names of what doesn't hold."""
    failing = [_one_line(check.name) for check in checks if not check.is_ok]
    return f"not ready: {', '.join(failing)}\n" if failing else "ready\n"


def details(checks: Sequence[Check], now: datetime) -> str:
    """Return a line for each check, and a last one that says `ready` or `not ready`."""
    lines = [_line(check, now) for check in checks]
    return "\n".join([*lines, "ready" if is_ready(checks) else "not ready", ""])


def _line(check: Check, now: datetime) -> str:
    mark = "ok  " if check.is_ok else "FAIL"
    span = "" if check.since is None else f" (for {_span(now - check.since)})"
    return f"{mark} {_one_line(check.name)}: {_one_line(check.words)}{span}"


def _span(span: timedelta) -> str:
    """Return a span of time in whole units, rounded down; the clock can be stepped back, then it is none."""
    for at_least, unit, name in _UNITS:
        if span >= at_least:
            return f"{span // unit} {name}"
    return f"{max(span, timedelta()) // timedelta(seconds=1)} s"


def _one_line(words: str) -> str:
    """Return words without what can't be seen: they may be a server's, and can't make a line of their own."""
    return "".join(char if char.isprintable() else " " for char in words)

"""What a daemon for one agent takes beside a desktop, and how soon it is there."""

import subprocess
import sys
import time  # noqa: TID251  what a benchmark is about
from collections.abc import Iterable
from pathlib import Path

from measure import Figure, Table
from processes import running, serving

SETTLING_SECONDS = 3.0
IDLE_SECONDS = 31.0
"""Longer than a connect is held."""


def _look(folder: Path) -> Iterable[Figure]:
    with serving(1) as server, running(folder, server, 1, looks=False) as daemon:
        ready = daemon.until_ready()
        daemon.rest(SETTLING_SECONDS)
        share, resident = daemon.rest(IDLE_SECONDS), daemon.resident_mb
    yield Figure("resident", [resident], "MB", at_most=60)
    yield Figure("idle, of a core", [share * 100], "%", at_most=0.5)
    yield Figure("ready after its start", [ready], "s", at_most=1)
    yield Figure("`fbsessiond --help`", [_help_seconds()], "s", at_most=0.3)


def _help_seconds() -> float:
    began_at = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fbsessiond", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_at


SIDECAR = Table(
    "sidecar",
    "`fbsessiond run` for one agent, with the log, the page and metrics, beside a simulated GWS that holds a connect "
    "for 30 s. Ready is what it tells systemd: connected, subscribed, and its sessions compared.",
    _look,
    most_rounds=3,
)

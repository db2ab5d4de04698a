"""Thousands of agents in one daemon: what they take, how late its loop is, a server's restart, and a fair share."""

import time  # noqa: TID251  what a benchmark is about
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

from measure import Figure, Table, percentile
from processes import Daemon, Server, running, serving

AGENTS = 5_000
FEW = 100
HOLD_SECONDS = 30.0
LOOK_SECONDS = 20.0

BURST = 3_000
BURST_SESSIONS = 500
SINGLES = 150
EVERY_SECONDS = 0.02


def _look(folder: Path) -> Iterable[Figure]:
    for name in ("few", "many"):
        (folder / name).mkdir()
    with serving(FEW) as server, running(folder / "few", server, FEW) as daemon:
        daemon.until_connected(FEW)
        few = _lag(daemon)
        late = _unfairness(server, daemon)
    yield Figure("another's delay by a burst, worst", [late * 1e3], "ms", at_most=50)
    with serving(AGENTS) as server, running(folder / "many", server, AGENTS) as daemon:
        yield Figure("all connected after the start", [daemon.until_connected(AGENTS)], "s")
        daemon.rest(HOLD_SECONDS)
        many = _lag(daemon)
        share, resident = daemon.rest(HOLD_SECONDS), daemon.resident_mb
        yield Figure("resident", [resident], "MB", at_most=350)
        yield Figure("idle, of a core", [share * 100], "%", at_most=8)
        yield Figure(f"the loop's lag at p99, beside that with {FEW}", [many / few], "×", at_most=2)
        yield from _restarted(server)


def _lag(daemon: Daemon) -> float:
    """Return how late the loop is, at p99."""
    with daemon.looking() as (lags, _):
        daemon.rest(LOOK_SECONDS)
    return percentile(lags, 99)


def _unfairness(server: Server, daemon: Daemon) -> float:
    """Return how much longer the others' single notifications take, at worst, while one agent has a burst."""
    others = cycle(f"agent{number}" for number in range(2, FEW + 1))

    def singles(count: int) -> None:
        for _ in range(count):
            server.ask("publish", next(others), 1)
            time.sleep(EVERY_SECONDS)

    with daemon.looking() as (_, before):
        singles(SINGLES)
    with daemon.looking() as (_, handled):
        server.ask("publish", "agent1", BURST, BURST_SESSIONS)
        singles(SINGLES)
        daemon.rest(5)
    during = [seconds for agent, seconds in handled if agent != "agent1"]
    return max(during) - percentile((seconds for _, seconds in before), 50)


def _restarted(server: Server) -> Iterable[Figure]:
    """Have the server restart, and look from there how the agents come back."""
    server.kill()
    began_at = time.monotonic()
    again = Server(AGENTS, server.port)
    try:
        while (seen := again.ask("handshakes"))["subscribed"] < AGENTS and time.monotonic() < began_at + 180:
            time.sleep(0.5)
    finally:
        again.kill()
    yield Figure("all subscribed again after a restart", [seen["last_subscription"] - began_at], "s", at_most=60)
    yield Figure("handshakes in that time, an agent", [seen["handshakes"] / AGENTS], at_most=1.1)
    yield Figure("handshakes of one agent at a time", [seen["most_of_one_agent"]], at_most=1)
    yield Figure("most handshakes in a second", [seen["most_a_second"]])


AGENTS_CASE = Table(
    "agents",
    f"`fbsessiond run` for {AGENTS:,} agents by long-polling, each with a session of its own, beside a simulated GWS "
    f"that holds a connect for 30 s. The burst is {BURST:,} notifications of one of {FEW} agents at once, and the "
    "others' come singly, from sent to their handler: what the server takes to send the burst is in it.",
    _look,
    most_rounds=1,
)

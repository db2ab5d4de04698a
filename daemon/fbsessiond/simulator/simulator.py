"""The simulated GWS, put together, and on a port.

async with simulating(QUIET, clock=clock, chance=chance) as simulator:
    session = simulator.platform.arrive()
    simulator.back_end.tell(simulator.platform.invite("agent1", session))
    …                                     # a client of simulator.url hears of it
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from fbsessiond.chance import Chance, offshoot
from fbsessiond.clock import Clock
from fbsessiond.simulator.back_end import BackEnd
from fbsessiond.simulator.bayeux import ACKNOWLEDGED_KEPT, BayeuxServer, BayeuxSettings
from fbsessiond.simulator.faults import Faults
from fbsessiond.simulator.front import Front
from fbsessiond.simulator.happening import Chronicle, What
from fbsessiond.simulator.http import application
from fbsessiond.simulator.http_sessions import HttpSessions
from fbsessiond.simulator.platform import Platform
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.script import Script

LOOPBACK = "127.0.0.1"


class Simulator:
    """All its parts. Nothing happens by itself until `script.run()`."""

    def __init__(self, scenario: Scenario, *, clock: Clock, chance: Chance, keep: int = ACKNOWLEDGED_KEPT) -> None:
        """Put a simulator together; `keep` is how many acknowledged notifications it remembers."""
        agents = tuple(f"agent{number}" for number in range(1, scenario.agents.count + 1))
        gws = scenario.gws
        settings = BayeuxSettings(
            hold_seconds=gws.hold.total_seconds(),
            max_interval_seconds=gws.max_interval.total_seconds(),
            acknowledge=gws.acknowledge,
        )
        self.scenario = scenario
        self.chronicle = Chronicle(clock)
        self.platform = Platform(agents, clock, offshoot(chance), self.chronicle)
        self.faults = Faults(scenario.faults, offshoot(chance), self.chronicle)
        self.bayeux = BayeuxServer(settings, clock, offshoot(chance), self.chronicle, self.faults, keep=keep)
        self.back_end = BackEnd(self.platform, self.bayeux, self.faults, offshoot(chance), gws.delay)
        self.script = Script(scenario, self.platform, self.back_end, offshoot(chance), self.chronicle)
        self._http_sessions = HttpSessions(agents, scenario.agents.password, offshoot(chance))
        self.front = Front(
            self.platform,
            self.back_end,
            self.bayeux,
            self.faults,
            self._http_sessions,
            offshoot(chance),
            csrf=gws.csrf,
        )

    @property
    def url(self) -> str:
        """Where it listens, which is also what its documents say."""
        return self.platform.address

    def restart(self) -> None:
        """Forget what a restarted server has forgotten: CometD's clients and HTTP sessions; the chats go on."""
        self.chronicle.tell(What.FAULT, kind="restart")
        self.bayeux.forget_all("the server restarts")
        self._http_sessions.end_all()


@asynccontextmanager
async def simulating(
    scenario: Scenario,
    *,
    clock: Clock,
    chance: Chance,
    host: str = LOOPBACK,
    port: int = 0,
    keep: int = ACKNOWLEDGED_KEPT,
) -> AsyncGenerator[Simulator]:
    """Serve a simulator on a port, by default on any free one. Raises `OSError` where the port can't be had."""
    simulator = Simulator(scenario, clock=clock, chance=chance, keep=keep)
    runner = web.AppRunner(
        application(simulator.front), handler_cancellation=True, access_log=None, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        simulator.platform.address = f"http://{shown}:{address[1]}"
        yield simulator
    finally:
        simulator.bayeux.forget_all("the server stops")
        await runner.cleanup()

"""`fbsessiond simulate`: a GWS on this machine."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from fbsessiond.chance import SeededChance
from fbsessiond.cli.options import AsJson
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.clock import Clock, SystemClock
from fbsessiond.dates import iso
from fbsessiond.simulator.happening import Happening, What
from fbsessiond.simulator.http_sessions import token_of
from fbsessiond.simulator.scenario import Scenario, load_scenario
from fbsessiond.simulator.simulator import LOOPBACK, Simulator, simulating
from fbsessiond.tasks import until_first

EPILOG = """Examples:

fbsessiond simulate

fbsessiond simulate --scenario docs/demo/scenario.toml --port 8090

curl -d '{"drop": {"probability": 0.2}, "slow": {"count": 3}}' http://127.0.0.1:8090/simulator/faults

curl http://127.0.0.1:8090/simulator/state

Stops on SIGTERM and SIGINT, or when the scenario is over. Exit status: 0 stopped, 2 the port can't be had,
78 the scenario is wrong."""

PORT = 8090
KEPT = 1_000
"""How many acknowledged notifications it remembers: it may run for days."""

WORDS = {
    What.WAITING: "{customer} waits",
    What.INVITED: "invited: {customer}",
    What.REVOKED: "nobody answered: revoked",
    What.ABANDONED: "the customer gave up",
    What.EFFECT: "{operation} took effect ({by}): {state}",
    What.FAILED: "{operation} failed ({by})",
    What.REFUSED: "{operation} refused ({by}): {status_code} {because}",
    What.FAULT: "fault: {kind}",
    What.HANDSHAKEN: "a CometD client shook hands",
    What.SUBSCRIBED: "subscribed: {channels}",
    What.GONE: "a CometD client is gone: {because}",
}
"""What a person reads. What was accepted isn't told: its effect follows."""


def simulate(
    scenario: Annotated[
        Path | None,
        typer.Option("--scenario", metavar="FILE", help="Who comes, who acts, what goes wrong.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = PORT,
    host: Annotated[str, typer.Option(help="Where to listen; it is meant for this machine alone.")] = LOOPBACK,
    as_json: AsJson = False,
) -> None:
    """Run a GWS on this machine, to try fbsessiond against.

    It speaks REST and CometD, and has customers who come by themselves.
    """
    chosen = load_scenario(scenario) if scenario else Scenario()
    try:
        asyncio.run(_run(chosen, host, port, SystemClock(), as_json=as_json))
    except OSError as error:
        raise typer.BadParameter(
            f"can't listen on {host}, port {port}: {error.strerror}; choose another --port"
        ) from None


async def _run(scenario: Scenario, host: str, port: int, clock: Clock, *, as_json: bool) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    chance = SeededChance(scenario.seed)
    async with simulating(scenario, clock=clock, chance=chance, host=host, port=port, keep=KEPT) as simulator:
        _introduce(simulator, as_json=as_json)
        simulator.chronicle.listen(_print_json if as_json else _print)
        await until_first(stopped.wait(), simulator.script.run())


def _introduce(simulator: Simulator, *, as_json: bool) -> None:
    """Say where it listens, and who can sign in."""
    agents, password = simulator.platform.agents, simulator.scenario.agents.password
    if as_json:
        print_json({"what": "listening", "url": simulator.url, "agents": agents, "password": password})
    else:
        first, *others = agents
        names = f"{first} … {others[-1]}" if others else first
        print_line(f"A simulated GWS listens at {simulator.url}")
        print_line(f"Agents: {names}; password {password}, or bearer token {token_of(first)}")
    sys.stdout.flush()


def _print(happening: Happening) -> None:
    if words := WORDS.get(happening.what):
        said = {
            name: ", ".join(value) if isinstance(value, list) else value for name, value in happening.details.items()
        }
        where = f"{happening.agent or '':<8}  {happening.session or '':<16}"
        print_line(f"{happening.at.astimezone():%H:%M:%S}  {where}  {words.format(**said)}")
        sys.stdout.flush()


def _print_json(happening: Happening) -> None:
    about = {"agent": happening.agent, "session": happening.session}
    print_json({"at": iso(happening.at), "what": happening.what.value, **about, **happening.details})
    sys.stdout.flush()

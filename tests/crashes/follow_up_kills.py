"""Follow-ups of a daemon that is killed again and again, on a platform that errs: what each came to is its effect."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crashes.oracle import unheard
from daemons import PASSWORD, Daemon, configure, reading, until
from fbsessiond.chance import Chance, SeededChance, happens
from fbsessiond.clock import SystemClock
from fbsessiond.follow_up import FollowUpState
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryState, FollowUpRecord
from fbsessiond.simulator.faults import FaultKind, FaultTable
from fbsessiond.simulator.happening import Happening, What
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from proof.part import Part, Result, Tick

FOLLOW_UPS_A_KILL = 10
"""How many there are at least."""

SETTLED_SECONDS = 120.0
"""How long the last daemon may take to end what the killed ones left behind."""

HANDLERS = """
[follow_ups]
confirmation = "1s"
settling = "600ms"
backoff = "50ms"
attempts = 1000
[handlers.greet]
use = "operations"
on = { to = "Chatting" }
steps = [ { operation = "SendMessage", text = "How may I help you in {session.id}?" } ]
[handlers.wrap-up]
use = "operations"
on = { to = "LeftChat" }
steps = [
    { operation = "SetDisposition", disposition = "resolved", dispositionKey = "DISP_KEY" },
    { operation = "AddComment", comment = "wrapped up: {session.id}" },
    { operation = "Complete" },
]
"""
STEPS = {("greet", "Chatting"): 1, ("wrap-up", "LeftChat"): 3}

SCENARIO: dict[str, Any] = {
    "gws": {"delay": ["5ms", "40ms"], "hold": "2s", "max_interval": "2s"},
    "agents": {
        "password": PASSWORD,
        "answer": ["1ms", "50ms"],
        "accept": 1,
        "reject": 0,
        "complete_at_once": 0,
        "disposition": 0,
        "wrap_up": 1,
        "wrap_up_after": ["8s", "12s"],
    },
    "customers": {
        "per_minute": 900,
        "queue": ["1ms", "50ms"],
        "chat": ["100ms", "1s"],
        "writes_every": ["300ms", "600ms"],
    },
    "faults": {
        "drop": {"probability": 0.05, "on": ["operations"]},
        "drop-request": {"probability": 0.05, "on": ["operations"]},
        "5xx": {"probability": 0.05, "on": ["operations", "reads"]},
        "403": {"probability": 0.02, "on": ["operations"]},
        "slow": {"probability": 0.1, "on": ["operations"], "pause": "100ms"},
        "duplicate": {"probability": 0.1},
        "lose": {"probability": 0.05},
        "ignore": {"probability": 0.05},
    },
}
NO_FAULTS = FaultTable.model_validate(dict.fromkeys(SCENARIO["faults"]))


@dataclass
class Ledger:
    """What the daemon brought about on the platform, by session and operation."""

    effects: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    idle: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Taken without any effect: ignored by the platform, or the session had moved on meanwhile."""

    at_desk: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Sessions that an agent completed in the end: those of which no daemon had heard, or that it hadn't come to."""

    def hear(self, happening: Happening) -> None:
        """Count what the daemon asked for; of the agents' own doings only one could be its own as well."""
        said = happening.details
        if (happening.what, said.get("by"), said.get("operation")) == (What.EFFECT, "desktop", "Complete"):
            self.at_desk[str(happening.session), "Complete"] += 1
        if happening.session and (said.get("by") == "http" or said.get("kind") == FaultKind.IGNORE):
            key = (happening.session, said["operation"])
            self.effects[key] += happening.what is What.EFFECT
            self.idle[key] += happening.what in (What.FAILED, What.FAULT)


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Kill so many daemons, and more until there were as many follow-ups, ten for each kill."""
    with TemporaryDirectory(prefix="follow-up-kills-") as folder:
        return asyncio.run(_run(amount, seed, tick, Path(folder)))


async def _run(kills: int, seed: int, tick: Tick, folder: Path) -> Result:
    chance, ledger = SeededChance(seed), Ledger()
    scenario = Scenario.model_validate(SCENARIO | {"seed": seed})
    async with simulating(scenario, clock=SystemClock(), chance=SeededChance(seed)) as simulator:
        simulator.chronicle.listen(ledger.hear)
        config = configure(folder, int(simulator.url.rpartition(":")[2]), HANDLERS)
        done = 0
        async with customers(simulator):
            while done < kills or asked_for(config) < FOLLOW_UPS_A_KILL * kills:
                await run_and_kill(config, chance)
                done += 1
                tick(min(done, kills))
        struck = simulator.faults.state()["struck"]
        simulator.faults.switch(NO_FAULTS)
        await run_to_the_end(config)
    with reading(config) as reader:
        records = list(reader.follow_ups())
        problems = [*check_none_lost(reader), *(f"verify: {finding}" for finding in reader.verify(unheard))]
    problems += check_effects(records, ledger)
    states = Counter(record.progress.state.value for record in records)
    faults = {f"faults: {kind}": times for kind, times in struck.items()}
    return Result({"kills": done, "follow-ups": len(records), **states, **faults}, problems)


@asynccontextmanager
async def customers(simulator: Simulator) -> AsyncGenerator[None]:
    """Let customers come, and agents answer and leave them."""
    script = asyncio.create_task(simulator.script.run())
    try:
        yield
    finally:
        script.cancel()
        with suppress(asyncio.CancelledError):
            await script


async def run_and_kill(config: Path, chance: Chance) -> None:
    """Start a daemon, and kill it at a random moment: mostly while it works, sometimes while it starts."""
    daemon = await Daemon.start(config)
    try:
        if happens(chance, 0.9):
            await daemon.until("daemon.started")
        asyncio.get_running_loop().call_later(chance.between(0, 1), daemon.process.kill)
        assert await daemon.ended() == -signal.SIGKILL, daemon.words
    finally:
        await daemon.kill()


async def run_to_the_end(config: Path) -> None:
    """Let a daemon end what is open, and stop it."""
    daemon = await Daemon.start(config, "--log-level", "warning")
    try:
        await until(lambda: is_idle(config), seconds=SETTLED_SECONDS)
        assert await daemon.stop() == 0, daemon.words
    finally:
        await daemon.kill()


def counts(config: Path) -> tuple[Counter[str], Counter[str]]:
    """Return how many deliveries and follow-ups there are in each state."""
    with reading(config) as reader:
        statistics = reader.statistics()
    return Counter(statistics.deliveries), Counter(statistics.follow_ups)


def asked_for(config: Path) -> int:
    """Return how many follow-ups handlers have asked for."""
    return counts(config)[1].total()


def is_idle(config: Path) -> bool:
    """Say whether nothing is open."""
    deliveries, follow_ups = counts(config)
    return not any(FollowUpState(state).is_open for state in follow_ups) and not {
        DeliveryState.DUE,
        DeliveryState.RUNNING,
        DeliveryState.WAITING,
    } & set(deliveries)


def check_none_lost(reader: Reader) -> Iterator[str]:
    """Yield when a transition that a handler wants hasn't led to all of its follow-ups, once."""
    wanted = Counter(
        (entry.seq, handler, step)
        for entry in reader.entries()
        for (handler, after), steps in STEPS.items()
        if entry.kind == "transition" and entry.after == after
        for step in range(1, steps + 1)
    )
    there = Counter((record.seq, record.handler, record.step) for record in reader.follow_ups())
    if there != wanted:
        yield f"follow-ups are missing, {wanted - there}, or nobody wants them, {there - wanted}"


def check_effects(records: Sequence[FollowUpRecord], ledger: Ledger) -> Iterator[str]:
    """Yield where what a follow-up says of itself isn't what the platform counted."""
    keys = [(record.operation.session, record.operation.name) for record in records]
    if len(set(keys)) != len(keys):
        yield "an operation was asked for twice"
    if unasked := {key for key, times in ledger.effects.items() if times} - set(keys):
        yield f"took effect, and nobody asked for it: {unasked}"
    if twice := [key for key, times in ledger.effects.items() if times > 1]:
        yield f"took effect twice: {twice}"
    for record, key in zip(records, keys, strict=True):
        if not is_true(record, ledger, key):
            yield f"{record} took effect {ledger.effects[key]} times"
        if not record.progress.because and record.progress.state is not FollowUpState.CONFIRMED:
            yield f"{record} says no reason"


def is_true(record: FollowUpRecord, ledger: Ledger, key: tuple[str, str]) -> bool:
    """Say whether a follow-up's state is what the platform counted."""
    times = ledger.effects[key]
    match record.progress.state:
        case FollowUpState.CONFIRMED | FollowUpState.OBSERVED:
            return times + ledger.at_desk[key] == 1
        case FollowUpState.UNCONFIRMED:  # GWS took it: then nothing comes of it only where the platform says so
            return times == 1 or (times == 0 and ledger.idle[key] > 0)  # of attempts before, more may have been idle
        case FollowUpState.FAILED | FollowUpState.WITHDRAWN:
            return times == 0
        case state:
            return state is FollowUpState.PARKED


FOLLOW_UP_KILLS = Part(
    "follow-up-kills",
    "The daemon is killed at random moments while it carries out operations on a platform that loses requests, answers"
    " and notifications. Each follow-up takes effect once, or says why not, or is parked with its reason.",
    "kills",
    100,
    run,
)

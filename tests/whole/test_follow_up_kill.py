"""Follow-ups of a daemon that is killed again and again, on a platform that errs: what each came to is its effect.

FOLLOW_UPS and FOLLOW_UP_KILLS say how many of each; by default a few, so that it is over in seconds. SEED begins the
choice of faults, pauses and moments.
"""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemons import PASSWORD, Daemon, configure, until
from fbsessiond.chance import Chance, SeededChance, happens
from fbsessiond.clock import SystemClock
from fbsessiond.environment import variables
from fbsessiond.follow_up import FollowUpState
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryState, FollowUpRecord
from fbsessiond.simulator.faults import FaultKind, FaultTable
from fbsessiond.simulator.happening import Happening, What
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating

FOLLOW_UPS = int(variables.get("FOLLOW_UPS", "100"))
KILLS = int(variables.get("FOLLOW_UP_KILLS", "10"))
SEED = int(variables.get("SEED", "1"))

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
    "seed": SEED,
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


async def test_each_effect_once(tmp_path: Path) -> None:
    """Each follow-up takes effect once, or not and says so, or is parked with its reason; none twice, none is lost."""
    chance, ledger = SeededChance(SEED), Ledger()
    scenario = Scenario.model_validate(SCENARIO)
    begun = asyncio.get_running_loop().time()
    async with simulating(scenario, clock=SystemClock(), chance=SeededChance(SEED)) as simulator:
        simulator.chronicle.listen(ledger.hear)
        config = configure(tmp_path, int(simulator.url.rpartition(":")[2]), HANDLERS)
        kills = 0
        async with customers(simulator):
            while kills < KILLS or asked_for(config) < FOLLOW_UPS:
                await run_and_kill(config, chance)
                kills += 1
        simulator.faults.switch(NO_FAULTS)
        await run_to_the_end(config)
        with reading(config) as reader:
            records = list(reader.follow_ups())
            assert_none_lost(reader)
            assert not list(reader.verify(_unheard))
    assert_effects(records, ledger)
    seconds = asyncio.get_running_loop().time() - begun
    states = Counter(record.progress.state.value for record in records)
    sys.stdout.write(f"{len(records)} follow-ups, {kills} kills, {seconds:.0f} s, seed {SEED}: {dict(states)}\n")
    sys.stdout.write(f"the platform: {simulator.faults.state()['struck']}\n")


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


@contextmanager
def reading(config: Path) -> Generator[Reader]:
    """Look at the journal."""
    reader = open_reader("sqlite:journal.db", config.parent / "state")
    try:
        yield reader
    finally:
        reader.close()


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


def assert_none_lost(reader: Reader) -> None:
    """Check that each transition that a handler wants has led to all of its follow-ups, once."""
    wanted = {
        (entry.seq, handler, step)
        for entry in reader.entries()
        for (handler, after), steps in STEPS.items()
        if entry.kind == "transition" and entry.after == after
        for step in range(1, steps + 1)
    }
    there = [(record.seq, record.handler, record.step) for record in reader.follow_ups()]
    assert set(there) == wanted
    assert len(there) == len(wanted)


def assert_effects(records: Sequence[FollowUpRecord], ledger: Ledger) -> None:
    """Check what each follow-up says of itself against what the platform counted."""
    keys = [(record.operation.session, record.operation.name) for record in records]
    assert len(set(keys)) == len(keys)
    assert {key for key, times in ledger.effects.items() if times} <= set(keys)
    assert [key for key, times in ledger.effects.items() if times > 1] == []
    for record, key in zip(records, keys, strict=True):
        times, progress = ledger.effects[key], record.progress
        match progress.state:
            case FollowUpState.CONFIRMED | FollowUpState.OBSERVED:
                assert times + ledger.at_desk[key] == 1, record
            case FollowUpState.UNCONFIRMED:  # GWS took it: then nothing comes of it only where the platform says so
                assert times + ledger.idle[key] == 1, record
            case FollowUpState.FAILED | FollowUpState.WITHDRAWN:
                assert times == 0, record
            case _:
                assert progress.state is FollowUpState.PARKED, record
        assert progress.because or progress.state is FollowUpState.CONFIRMED, record


def _unheard(*_: int) -> None:
    """Take a report of progress that nobody reads."""

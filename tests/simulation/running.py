"""One run: the whole daemon against a platform on which things go wrong, from a seed; and what the oracles say."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydantic import PrivateAttr

from fbsessiond import Delivery, Done, Handler, Outcome
from fbsessiond.chance import choose, happens
from fbsessiond.journal.interface import Reader
from fbsessiond.route import DeliverySettings, Route
from floor import WRAP_UP
from simulation.oracles import problems
from simulation.outages import OUTAGES
from simulation.world import World, world
from virtual_network import run_networked

OPERATION_FAULTS = {
    "drop": {"probability": 0.1, "on": ["operations"]},
    "drop_request": {"probability": 0.1, "on": ["operations"]},
    "_5xx": {"probability": 0.1, "on": ["operations", "reads"]},
    "slow": {"probability": 0.1, "on": ["operations", "reads"], "pause": "4s"},
    "ignore": {"probability": 0.05},
}
"""What goes wrong with follow-ups all the while."""

FRESH_SECONDS = 30.0
"""How long after the last fault a notification may take to be handled."""


class Recorder(Handler):
    """Notes what it gets; now and then it fails, or takes long."""

    _world: list[World] = PrivateAttr(default_factory=list[World])

    def watch(self, here: World) -> None:
        """Note what comes in this world."""
        self._world.append(here)

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note the entry, unless the attempt fails."""
        (here,) = self._world
        chance = here.chance
        await asyncio.sleep(chance.between(0, 0.5))
        if happens(chance, 0.05):
            raise RuntimeError("bad luck")
        here.handled[delivery.transition.session.id].append(delivery.transition.seq)
        return Done()


@dataclass
class Report:
    """What became of a run."""

    seed: int
    hours: float
    steps: list[str] = field(default_factory=list[str])
    """The outages, in their order."""
    entries: int = 0
    problems: list[str] = field(default_factory=list[str])
    hash: str = ""
    """Of all that the journal holds: the same seed gives the same."""

    @property
    def verdict(self) -> str:
        """One line."""
        words = "; ".join(self.problems[:3]) or "all holds"
        return (
            f"seed {self.seed}: {self.hours:g} h, {len(self.steps)} outages, {self.entries} entries, "
            f"journal {self.hash[:16]}: {words}"
        )


def simulate(folder: Path, seed: int, hours: float, until: int | None = None) -> Report:
    """Run a seed for so many virtual hours, or up to a step."""
    report = Report(seed, hours)
    run_networked(_run(folder, report, until))
    return report


async def _run(folder: Path, report: Report, until: int | None) -> None:
    recorder = Recorder()
    route = Route("recorder", recorder, delivery=DeliverySettings(attempts=1000, backoff=timedelta(seconds=1)))
    acknowledge = report.seed % 3 != 0
    async with world(folder, report.seed, route, WRAP_UP, acknowledge=acknowledge) as here:
        recorder.watch(here)
        here.switch(**OPERATION_FAULTS)
        end = here.now() + timedelta(hours=report.hours)
        names = list(OUTAGES)
        while here.now() < end and (until is None or len(report.steps) < until):
            name = choose(here.chance, names)
            report.steps.append(name)
            try:
                await OUTAGES[name](here)
                here.switch(**OPERATION_FAULTS)
                await asyncio.sleep(here.chance.between(0, 90))
            except Exception as error:  # noqa: BLE001  whatever it is, it belongs into the report
                report.problems.append(f"step {len(report.steps)}, {name}: {error!r}")
                break
        report.problems += await _ended(here)
        reader = here.reader()
        report.entries, report.hash = reader.statistics().entries, _hash(reader)


async def _ended(here: World) -> list[str]:
    """Let it calm down, see that a fresh notification passes soon, and ask the oracles."""
    try:
        await here.calm_down()
    except TimeoutError:
        return ["it doesn't calm down", *problems(here)]
    session = here.simulator.platform.arrive()
    here.simulator.back_end.tell(here.simulator.platform.invite("agent1", session))
    begun = here.now()
    while not here.handled[session]:
        if here.now() - begun > timedelta(seconds=FRESH_SECONDS):
            return ["a fresh notification doesn't pass", *problems(here)]
        await asyncio.sleep(0.1)
    await here.until(here.is_done)
    return problems(here)


def _hash(reader: Reader) -> str:
    digest = hashlib.sha256()
    for records in (reader.entries(), reader.deliveries(), reader.follow_ups(), reader.gaps()):
        for record in records:
            digest.update(repr(record).encode())
    return digest.hexdigest()

"""One run: the whole daemon against a platform on which things go wrong, from a seed; and what the oracles say."""

import asyncio
import gc
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fbsessiond.chance import choose, happens
from fbsessiond.journal.interface import Reader
from simulation.oracles import problems
from simulation.outages import LASTING, OUTAGES, PROCESS_ENDS, TROUBLES
from simulation.world import World, world
from virtual_network import run_networked

OPERATION_FAULTS: dict[str, dict[str, Any]] = {
    "drop": {"probability": 0.1, "on": ["operations"]},
    "drop_request": {"probability": 0.1, "on": ["operations"]},
    "_5xx": {"probability": 0.1, "on": ["operations", "reads"]},
    "slow": {"probability": 0.1, "on": ["operations", "reads"], "pause": "4s"},
    "ignore": {"probability": 0.05},
}
"""What goes wrong with follow-ups all the while."""

LIMIT_SECONDS = 400.0
"""How long it may take until nothing is left to do."""


@dataclass(frozen=True)
class Plan:
    """What a run is like."""

    seed: int
    hours: float = 0.02
    """How long things go wrong, in virtual hours."""
    until: int | None = None
    """Stop before so many steps are done."""
    per_minute: float = 4.0
    """How many customers come."""
    calm: float = 30.0
    """How many seconds pass at most between what goes wrong and what goes wrong next."""
    without: AbstractSet[str] = frozenset()
    """What doesn't go wrong; what was added later, so that a seed still does what it did."""


@dataclass
class Report:
    """What became of a run."""

    plan: Plan
    steps: list[str] = field(default_factory=list[str])
    """What went wrong, in order; what went wrong at the same time is joined by `+`."""
    entries: int = 0
    seconds: float = 0.0
    """How much virtual time passed."""
    problems: list[str] = field(default_factory=list[str])
    hash: str = ""
    """Of all that the journal holds: the same seed gives the same."""

    @property
    def verdict(self) -> str:
        """One line."""
        words = "; ".join(self.problems[:3]) or "all holds"
        return (
            f"seed {self.plan.seed}: {self.seconds / 3600:.2f} h, {len(self.steps)} steps, {self.entries} entries, "
            f"journal {self.hash[:16]}: {words}"
        )


def simulate(folder: Path, plan: Plan) -> Report:
    """Run a seed for so many virtual hours, or up to a step."""
    report = Report(plan)
    gc.disable()  # a full pass through everything that is imported costs more than a run's own garbage
    try:
        run_networked(_run(folder, report))
    finally:
        gc.enable()
    return report


async def _run(folder: Path, report: Report) -> None:
    plan = report.plan
    customers = {"per_minute": plan.per_minute, "chat": ["4s", "12s"]}
    acknowledge = plan.seed % 3 != 0
    async with world(folder, plan.seed, handlers=True, acknowledge=acknowledge, customers=customers) as here:
        end = here.now() + timedelta(hours=plan.hours)
        while here.now() < end and (plan.until is None or len(report.steps) < plan.until):
            names = _choose(here, plan.without)
            report.steps.append("+".join(names))
            try:
                async with asyncio.TaskGroup() as group:
                    for name in names:
                        group.create_task(_suffer(here, name))
            except Exception as error:  # noqa: BLE001  whatever it is, it belongs into the report
                causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
                report.problems.append(f"step {len(report.steps)}, {report.steps[-1]}: {causes!r}")
                return
            await here.revive()
            await asyncio.sleep(here.chance.between(0, plan.calm))
        await _end(here)
        report.problems += problems(here)
        reader = here.reader()
        report.entries, report.hash = reader.statistics().entries, _hash(reader)
        report.seconds = here.loop.time()


def _choose(here: World, without: AbstractSet[str]) -> Sequence[str]:
    """Choose what goes wrong next: one thing, or the daemon ends while something is wrong."""

    def one(names: Iterable[str]) -> str:
        return choose(here.chance, [name for name in names if name not in without])

    if happens(here.chance, 0.4):
        return one(LASTING), one(PROCESS_ENDS)
    return (one((*OUTAGES, *TROUBLES)),)


async def _suffer(here: World, name: str) -> None:
    outage: Callable[[World], Awaitable[object]] = OUTAGES.get(name) or TROUBLES[name]
    with here.wrong(name):
        await outage(here)
    here.switch(**OPERATION_FAULTS)


async def _end(here: World) -> None:
    """Make everything well, see how soon something new passes, and let the daemon finish."""
    here.customers.cancel()
    await asyncio.wait([here.customers])
    here.mend()
    await here.revive()
    await here.bring_all_back()
    begun = here.now()
    session = here.simulator.platform.arrive()
    here.simulator.back_end.tell(here.simulator.platform.invite("agent1", session))

    async def has_passed() -> bool:
        return bool(here.handled[session])

    here.fresh_seconds = LIMIT_SECONDS
    try:
        await here.until(has_passed, LIMIT_SECONDS)
        here.fresh_seconds = (here.now() - begun).total_seconds()
        await asyncio.sleep(10)
        await here.until(here.is_settled, LIMIT_SECONDS, every=1)
    except TimeoutError:
        await here.is_true()


def _hash(reader: Reader) -> str:
    digest = hashlib.sha256()
    for records in (reader.entries(), reader.deliveries(), reader.follow_ups(), reader.gaps()):
        for record in records:
            digest.update(repr(record).encode())
    return digest.hexdigest()

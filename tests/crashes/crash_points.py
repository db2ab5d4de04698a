"""A workload killed at each system call that touches its journal."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crashes.faults import Call, Run, bench, side_by_side, spread
from crashes.oracle import Reported
from proof.part import Part, Result, Tick


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Kill it at so many of the calls, or at all."""
    with bench(seed) as there:
        calls = there.calls()
        chosen = spread(calls, amount)
        problems = side_by_side(lambda call: there.strike(call, "signal=KILL", killed), chosen, tick)
    return Result({"calls": len(calls), "kills": len(chosen), **by_kind(chosen)}, problems, amount=len(chosen))


def killed(run: Run, _: Path, __: Reported) -> Iterator[str]:
    """Yield when it wasn't."""
    if run.status != -signal.SIGKILL:
        yield f"it wasn't killed: {run.status}"


def by_kind(calls: list[Call]) -> Counter[str]:
    """Count calls by name and file."""
    return Counter(f"{call.name} of {call.file}" for call in calls)


CRASH_POINTS = Part(
    "crash-points",
    "A process that fills a journal, settles deliveries and follow-ups and forgets what is old is killed at each system"
    " call that touches the journal's files. What it reported as committed is there byte for byte, nothing is doubled,"
    " `verify` finds nothing, and the next process goes on to the end.",
    "crash points",
    2_000,
    run,
)

"""A disk that fails at each write and each sync: what was acknowledged is there, and nothing is acknowledged after it.

A commit that fails ends the journal's use, and so does a checkpoint. The same is done to the real daemon at some
points: it ends with status 74.
"""

import asyncio
import random  # noqa: TID251  points that can be repeated
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cometd_servers import NodeServer
from crashes.faults import CALLS, FILES, STAGES, SYNCS, WRITES, Bench, Call, Run, bench, side_by_side, spread
from crashes.kills import HANDLERS, Load, check, live_on
from crashes.oracle import Reported
from crashes.workload import FAILED_STATUS
from daemons import Daemon, Front, configure, publishing, until
from proof.part import Part, Result, Tick

ERRORS = ("EIO", "ENOSPC")
CAN_FAIL = (*WRITES, *SYNCS, "ftruncate")

SHORT_SHARE = 0.1
"""Of the amount: files that can't become longer than a limit, so that a write comes out short."""

LONGEST_BYTES = 450_000
"""More than any of the files has."""

DAEMONS_SHARE = 0.01
"""Of the amount: with the real daemon."""

PATIENCE_SECONDS = 60.0
"""How long a daemon may go on until the call comes that fails."""


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Let so many points fail, or all: mostly single calls, some by a limit, a few in the real daemon."""
    counts: Counter[str] = Counter()
    limits, daemons = round(amount * SHORT_SHARE), max(1, round(amount * DAEMONS_SHARE))
    with bench(seed) as there:
        calls = [(call, error) for error in ERRORS for call in there.calls() if call.name in CAN_FAIL]
        chosen = spread(calls, max(amount - limits - daemons, 1))
        problems = side_by_side(lambda point: strike(there, *point, counts), chosen, tick)
        lengths = [(place % len(STAGES), LONGEST_BYTES * place // limits) for place in range(limits)]
        problems += side_by_side(lambda at: limit(there, *at, counts), lengths, lambda done: tick(len(chosen) + done))
    problems += daemons_fail(daemons, seed, counts, lambda done: tick(len(chosen) + limits + done))
    kinds = Counter(f"{error} at {call.name} of {call.file}" for call, error in chosen)
    figures = {"calls": len(calls) // len(ERRORS), "short writes": limits, **counts, **kinds}
    return Result(figures, problems, amount=len(chosen) + limits + daemons)


def strike(there: Bench, call: Call, error: str, counts: Counter[str]) -> list[str]:
    """Let one call fail."""
    return there.strike(call, f"error={error}", partial(honest, counts=counts))


def limit(there: Bench, stage: int, most_bytes: int, counts: Counter[str]) -> list[str]:
    """Let files become so long at most."""
    return there.limit(stage, most_bytes, partial(honest_or_done, counts=counts))


def honest(run: Run, _: Path, reported: Reported, *, counts: Counter[str]) -> Iterator[str]:
    """Yield in which way a workload didn't stop as it has to."""
    if reported.failed is None:
        yield f"it ended with {run.status}, without a word"
        return
    counts["stopped"] += 1
    if run.status != FAILED_STATUS:
        yield f"it ended with {run.status}, not with {FAILED_STATUS}"
    if not (reported.is_refused or reported.is_done or "can't open" in reported.failed):
        yield "its journal took more after it had failed"
    if reported.after_failure:
        yield f"reported after it had failed: {reported.after_failure}"


def honest_or_done(run: Run, journal: Path, reported: Reported, *, counts: Counter[str]) -> Iterator[str]:
    """Yield the same where the limit was too short for it."""
    if reported.is_done and not run.status:
        counts["long enough"] += 1
    else:
        yield from honest(run, journal, reported, counts=counts)


def daemons_fail(amount: int, seed: int, counts: Counter[str], tick: Tick) -> list[str]:
    """Let the disk of so many real daemons fail, under load, one after the other on one journal."""
    with TemporaryDirectory(prefix="disk-errors-") as folder:
        return asyncio.run(_daemons_fail(amount, random.Random(seed), counts, tick, Path(folder)))  # noqa: S311


async def _daemons_fail(
    amount: int, chance: random.Random, counts: Counter[str], tick: Tick, folder: Path
) -> list[str]:
    server = await NodeServer.start("cometd", acknowledge=True)
    logs: list[list[dict[str, Any]]] = []
    problems: list[str] = []
    try:
        async with Front(server.port).serving() as front, publishing(server.port) as publisher:
            config = configure(folder, front.port, HANDLERS)
            load = Load(chance)
            running = asyncio.create_task(load.run(publisher, front))
            for number in range(amount):
                injection = (
                    f"{chance.choice(('pwrite64', 'fdatasync'))}:error={chance.choice(ERRORS)}"
                    f":when={chance.randrange(5, 60)}"
                )
                daemon = await start_struck(config, injection)
                await until(lambda daemon=daemon: daemon.process.returncode is not None, seconds=PATIENCE_SECONDS)
                status = await daemon.ended()
                if status != FAILED_STATUS:
                    problems.append(f"the daemon ended with {status} at {injection}: {daemon.words[-3:]}")
                counts["daemons that stopped"] += 1
                logs.append(daemon.lines)
                tick(number + 1)
            logs.append(await live_on(config, load, running))
    finally:
        await server.kill()
    return problems + [problem async for problem in check(folder, config, front.promised, logs)]


async def start_struck(config: Path, injection: str, files: Sequence[str] = FILES) -> Daemon:
    """Start a daemon under strace, one of whose calls on these files fails, and each such call after it."""
    paths = [part for name in files for part in ("-P", str(config.parent / "state" / name))]
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={','.join(CALLS)}", *paths]
    program = [sys.executable, "-W", "error", "-m", "fbsessiond", "run", "--config", str(config)]
    process = await asyncio.create_subprocess_exec(
        *strace, "-e", f"inject={injection}+", *program, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, limit=2**24
    )
    return Daemon(process)


DISK_ERRORS = Part(
    "disk-errors",
    "Each write and each sync of a journal's files fails once, with EIO and with ENOSPC, and writes come out short."
    " A commit or a checkpoint that fails ends the journal's use at once: nothing is acknowledged after it, and the"
    " daemon's status is 74. The journal that is opened again holds all that was acknowledged, and goes on to the end.",
    "failures",
    1_600,
    run,
)

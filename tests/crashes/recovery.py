"""A daemon with a large journal, killed under load: how soon the next one is ready.

From the start of the program to the first 200 of `/readyz`: opening the journal (SQLite's own recovery of the
write-ahead log included), ending the leases of the daemon that is no more, going on with the CometD session.
"""

import asyncio
import random  # noqa: TID251  moments that can be repeated
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import aiohttp

from daemons import CHANNEL, Daemon, Front, compact, configure, document, reading, until
from fbsessiond.clock import SystemClock
from fbsessiond.intake import Intake
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.route import Route
from fbsessiond_handlers.log import Log
from proof.part import Part, Result, Tick
from session_load import at, loaded, pause

MOST_SECONDS = 2.0
READY_SECONDS = 120.0
"""How long it may take before this is given up."""

RESTARTS = 5
FULL_ENTRIES = 1_000
"""So many take that many restarts; fewer, for a look at whether it works, take one."""

AGENT = "agent1"
A_SECOND = 100
A_BATCH = 2_000
BACKLOG = 10_000
"""How many of the last notifications have deliveries that wait."""

HANDLERS = """
[snapshots]
settling = "500ms"
[http]
listen = "unix:{folder}/http.sock"
[handlers.log]
[handlers.audit]
"""


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Build a journal of so many entries, and restart a daemon on it."""
    with TemporaryDirectory(prefix="recovery-") as folder:
        return asyncio.run(_run(amount, random.Random(seed), tick, Path(folder)))  # noqa: S311  to be repeated


async def _run(entries: int, chance: random.Random, tick: Tick, folder: Path) -> Result:
    begun = asyncio.get_running_loop().time()
    await build(folder / "state" / "journal.db", entries, tick)
    built_seconds = asyncio.get_running_loop().time() - begun
    async with loaded("cometd", A_SECOND, acknowledge=True) as (_, load):
        publishing = asyncio.create_task(load.run())
        config = configure(folder, load.front.port, HANDLERS.format(folder=folder))
        await live(config, load.front, chance)
        seconds = [await live(config, load.front, chance) for _ in range(RESTARTS if entries > FULL_ENTRIES else 1)]
        publishing.cancel()
        await asyncio.wait([publishing])
        await pause(1)
    with reading(config) as reader:
        statistics = reader.statistics()
    counts = {
        "entries": entries,
        "entries at last": statistics.entries,
        "MiB": round(statistics.bytes / 2**20),
        "seconds to build it": round(built_seconds),
        "median seconds to ready": round(median(seconds), 2),
        "most seconds to ready": round(max(seconds), 2),
    }
    return Result(counts, list(_judge(seconds, entries, statistics.entries)))


def _judge(seconds: list[float], entries: int, there: int) -> Iterator[str]:
    if median(seconds) > MOST_SECONDS:
        yield f"ready after {median(seconds):.2f} s, not within {MOST_SECONDS} s"
    if there <= entries:
        yield "nothing was added"


async def build(journal: Path, entries: int, tick: Tick) -> None:
    """Fill a journal by the daemon's own intake; the last deliveries are leased, and nobody ends them."""
    start = SystemClock().now() - timedelta(hours=1)
    with closing(SqliteJournal(journal, start)) as filled:
        filled.connection.execute("PRAGMA synchronous = OFF")  # it is only to be there
        await filled.watch(AGENT, start)
        for first in range(1, entries + 1, A_BATCH):
            routes = [Route(name, Log()) for name in ("log", "audit") if first > entries - BACKLOG]
            numbers = range(first, min(first + A_BATCH, entries + 1))
            messages = tuple(Message(b"", CHANNEL, notification(number)) for number in numbers)
            await Intake(filled, routes, SystemClock()).take(Batch(AGENT, Origin.LIVE, start, messages))
            tick(min(first + A_BATCH - 1, entries))
        await filled.lease("log", BACKLOG, SystemClock().now(), SystemClock().now() + timedelta(minutes=1))


def notification(number: int) -> bytes:
    """Return a notification of a session's life; the ids are none of those that come later."""
    session, state = at(number - 1)
    return compact(document(f"old-{session}", state, userData={"Number": number}))


async def live(config: Path, front: Front, chance: random.Random) -> float:
    """Run a daemon until it is ready, and a while longer; kill it, and return how long it took to be ready."""
    socket = config.parent / "http.sock"
    connects = front.connects
    begun = asyncio.get_running_loop().time()
    daemon = await Daemon.start(config, "--log-level", "warning")
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await is_ready(socket):
                await pause(0.01)
        seconds = asyncio.get_running_loop().time() - begun
        await until(lambda: front.connects > connects + 3)
        await pause(chance.uniform(0, 1))
    finally:
        await daemon.kill()
        socket.unlink(missing_ok=True)
    return seconds


async def is_ready(socket: Path) -> bool:
    """Ask `/readyz`; while nobody listens, the answer is no."""
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
            session.get("http://localhost/readyz") as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientError:
        return False


RECOVERY = Part(
    "recovery",
    "The daemon with a journal of a million entries and a backlog is killed under load. From the next start to the"
    " first 200 of `/readyz` it takes two seconds at most, in the median of five.",
    "entries",
    1_000_000,
    run,
)

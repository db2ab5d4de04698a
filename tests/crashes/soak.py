"""The daemon for an hour under load, started anew each minute, and then not: it holds what it held, and loses nothing.

For the first part a life lasts a minute, and SIGTERM and SIGKILL end it in turn, on one journal whose retention is so
short that its size levels out. For the last part one life goes on, so that growth within a life shows.

The bound for growth is 5 % of the memory within an hour: what a life keeps by design (sessions that are known,
SQLite's cache, the allocator's arenas) is full after `WARM_SECONDS`; what leaks a hundred bytes a notification grows by
18 MB. The file descriptors of a life's first and last half have to be as many, exactly, in their medians: now and
then a connection is just being closed or opened.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, median_low
from tempfile import TemporaryDirectory

import aiohttp

from crashes.oracle import unheard
from crashes.trend import Sample, growth, sample
from daemons import Daemon, configure, reading, running, until
from fbsessiond.journal.interface import Reader
from fbsessiond.message import Origin
from proof.part import Part, Result, Tick
from session_load import Load, loaded, pause

A_SECOND = 60
"""At least 50 notifications get through; what is late isn't made up for."""

LIFE_SECONDS = 60.0
"""How long a daemon lives in the first part."""

RESTARTS_SHARE = 7 / 12
"""How much of the whole time is the first part: 35 minutes of an hour."""

WARM_SECONDS = 360.0
"""After so long a life holds all that it keeps by design: `limits.KNOWN_SESSIONS` is reached after 273 s."""

MOST_GROWTH = 0.05
"""Of the memory, within an hour."""

EVERY_SECONDS = 10.0
"""How often the last life is looked at."""

HANDLERS = """
[journal]
retain = "3m"
[snapshots]
every = "30s"
settling = "500ms"
[http]
listen = "unix:{folder}/http.sock"
[handlers.log]
[handlers.audit]
rotate_bytes = "1MiB"
"""


@dataclass
class Seen:
    """What was in the journal, read before retention takes it."""

    times: Counter[bytes] = field(default_factory=Counter[bytes])
    """How often each notification that arrived is there."""
    last: int = 0
    problems: list[str] = field(default_factory=list[str])

    def look(self, reader: Reader) -> None:
        """Read on from the last entry that was seen."""
        for entry in reader.entries(after_seq=self.last):
            if entry.seq != self.last + 1:
                self.problems.append(f"entry {entry.seq} follows entry {self.last}")
            self.last = entry.seq
            if entry.origin is Origin.LIVE:
                self.times[entry.notification] += 1


@dataclass
class Soak:
    """A run: its daemon's configuration, its load, and what was seen of both."""

    config: Path
    load: Load
    seconds: float
    tick: Tick
    seen: Seen = field(default_factory=Seen)
    lives: list[list[Sample]] = field(default_factory=list[list[Sample]])
    """The samples of each life."""
    sizes: list[int] = field(default_factory=list[int])
    """The journal's bytes after each look."""
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])
    _daemon: Daemon | None = None
    _begun: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def now(self) -> float:
        """The seconds since it began."""
        return asyncio.get_running_loop().time() - self._begun

    async def restart_again_and_again(self, until_seconds: float) -> None:
        """Let one daemon after the other live for a minute, and end it by SIGTERM and SIGKILL in turn."""
        while self.now < until_seconds:
            life = min(LIFE_SECONDS, max(until_seconds - self.now, 1.0))
            daemon = await self._start()
            for _ in range(3):
                await pause(life / 3)
                await self._sample(daemon)
            number = (signal.SIGTERM, signal.SIGKILL)[self.counts["lives"] % 2]
            await self._end(daemon, number)
            self._look()

    async def live_on(self) -> Daemon:
        """Let the last daemon live, and look at it now and then; return it."""
        daemon = await self._start()
        while self.now < self.seconds:
            await pause(min(EVERY_SECONDS, self.seconds / 20))
            await self._sample(daemon)
            self._look()
        return daemon

    async def end(self, daemon: Daemon, publishing: asyncio.Task[None]) -> None:
        """End the load, wait until all of it is in the journal, and stop the daemon."""
        publishing.cancel()
        await asyncio.wait([publishing])
        with reading(self.config) as reader:
            await until(lambda: self.seen.look(reader) or set(self.seen.times) >= self._sent)
        await self._end(daemon, signal.SIGTERM)
        self._look()

    async def close(self) -> None:
        """Kill the daemon, if it still runs."""
        if self._daemon is not None:
            await self._daemon.kill()

    @property
    def _sent(self) -> set[bytes]:
        return {data for _, data in self.load.sent}

    def check(self) -> Iterator[str]:
        """Yield what didn't hold."""
        yield from self.problems
        yield from self.seen.problems
        with reading(self.config) as reader:
            yield from (f"verify: {finding}" for finding in reader.verify(unheard))
            yield from (f"a gap: {gap}" for gap in reader.gaps() if gap.cause != "start")
        if lost := self._sent - set(self.seen.times):
            yield f"{len(lost)} notifications are lost, the first is {min(lost)!r}"
        if doubled := [data for data, times in self.seen.times.items() if times > 1]:
            yield f"{len(doubled)} notifications are there more than once, the first is {doubled[0]!r}"
        yield from flat(self.lives[-1], WARM_SECONDS, "the last life")
        yield from flat([samples[-1] for samples in self.lives[:-1]], 0.0, "the ends of lives")

    async def _start(self) -> Daemon:
        self._daemon = daemon = await Daemon.start(self.config, "--log-level", "warning")
        self.lives.append([])
        self.counts["lives"] += 1
        await until((self.config.parent / "http.sock").exists)
        return daemon

    async def _end(self, daemon: Daemon, number: signal.Signals) -> None:
        status = await daemon.stop(number)
        self.counts[number.name] += 1
        if status != (0 if number is signal.SIGTERM else -number):
            self.problems.append(f"life {self.counts['lives']} ended with {status}: {daemon.words[-3:]}")
        slow = daemon.logged("loop.blocked")  # by a sync that others on this disk held up: no fault of the daemon's
        self.counts["loop.blocked"] += len(slow)
        self.problems += [f"life {self.counts['lives']} says: {line}" for line in daemon.lines if line not in slow]
        (self.config.parent / "http.sock").unlink(missing_ok=True)

    async def _sample(self, daemon: Daemon) -> None:
        await self._scrape()
        self.lives[-1].append(sample(daemon.process.pid, self.now))
        self.tick(int(self.now // 60))

    async def _scrape(self) -> None:
        """Ask the daemon how it is, as monitoring does."""
        connector = aiohttp.UnixConnector(str(self.config.parent / "http.sock"))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
            for path in ("/readyz", "/metrics"):
                async with session.get(path) as answer:
                    await answer.read()
                    self.counts[f"{path} {answer.status}"] += 1

    def _look(self) -> None:
        with reading(self.config) as reader:
            self.seen.look(reader)
        journal = self.config.parent / "state" / "journal.db"
        self.sizes.append(sum(path.stat().st_size for path in journal.parent.glob("journal.db*")))


def flat(samples: Sequence[Sample], warm_seconds: float, what: str) -> Iterator[str]:
    """Yield in which way a process grows, once it is warm."""
    if not samples:
        return
    warm = [each for each in samples if each.at_seconds >= samples[0].at_seconds + warm_seconds]
    if len(warm) < 8:
        return
    resident = median(each.resident_bytes for each in warm)
    grown = growth([(each.at_seconds, each.resident_bytes) for each in warm])
    if grown > MOST_GROWTH * resident:
        yield f"{what}: memory grows by {grown / 2**20:.1f} MiB an hour, from {resident / 2**20:.1f} MiB"
    middle = len(warm) // 2
    before, after = (median_low(each.descriptors for each in half) for half in (warm[:middle], warm[middle:]))
    if before != after:
        yield f"{what}: {before} file descriptors at first, {after} at last"


def run(amount: int, _: int, tick: Tick) -> Result:
    """Run for so many minutes."""
    with TemporaryDirectory(prefix="soak-") as folder:
        return asyncio.run(_run(amount * 60.0, Path(folder), tick))


async def _run(seconds: float, folder: Path, tick: Tick) -> Result:
    async with loaded("cometd", A_SECOND, acknowledge=True, maxInterval=60_000) as (_, load):
        config = configure(folder, load.front.port, HANDLERS.format(folder=folder))
        soak = Soak(config, load, seconds, tick)
        async with running(config) as daemon:
            await daemon.until("gap.repaired")
            await daemon.stop()
        publishing = asyncio.create_task(load.run())
        try:
            await soak.restart_again_and_again(seconds * RESTARTS_SHARE)
            await soak.end(await soak.live_on(), publishing)
        finally:
            publishing.cancel()
            await soak.close()
        return report(soak)


def report(soak: Soak) -> Result:
    """Put the figures together."""
    last = soak.lives[-1]
    warm = [each for each in last if each.at_seconds >= last[0].at_seconds + WARM_SECONDS] or last
    ends = [samples[-1] for samples in soak.lives[:-1]]
    mib = 2.0**20
    return Result(
        {
            "minutes": round(soak.now / 60, 1),
            "notifications": sum(soak.seen.times.values()),
            "a second": round(sum(soak.seen.times.values()) / soak.now, 1),
            "lives": soak.counts["lives"],
            "ended by SIGTERM": soak.counts["SIGTERM"],
            "ended by SIGKILL": soak.counts["SIGKILL"],
            "MiB at the end of a life": round(median(each.resident_bytes for each in ends) / mib, 1),
            "MiB in the last life": round(median(each.resident_bytes for each in warm) / mib, 1),
            "MiB an hour in the last life": round(
                growth([(each.at_seconds, each.resident_bytes) for each in warm]) / mib, 2
            ),
            "MiB an hour over all lives": round(
                growth([(each.at_seconds, each.resident_bytes) for each in ends]) / mib, 2
            ),
            "file descriptors": median_low(each.descriptors for each in warm),
            "most file descriptors": max(each.descriptors for each in warm),
            "largest journal, MiB": round(max(soak.sizes) / mib, 1),
            "syncs that took long": soak.counts["loop.blocked"],
            "journal at last, MiB": round(soak.sizes[-1] / mib, 1),
        },
        list(soak.check()),
    )


SOAK = Part(
    "soak",
    "The daemon runs under load for an hour, at first started anew each minute, by SIGTERM and SIGKILL in turn; neither"
    " its memory nor its open files nor its journal may grow, and nothing may be lost, or be there twice.",
    "minutes",
    60,
    run,
)

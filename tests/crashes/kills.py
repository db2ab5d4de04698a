"""The daemon killed at any moment, under load: what was acknowledged is there, and what should follow does."""

import asyncio
import json
import random  # noqa: TID251  moments that can be repeated
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cometd_servers import NodeServer
from daemons import Daemon, Front, Json, Publisher, command, compact, configure, document, publishing, reading, until
from fbsessiond.journal.records import Entry
from fbsessiond.transition import Kind
from proof.part import Part, Result, Tick

STATES = ("Invited", "Chatting", "LeftChat", "Completed")
LEAVING = STATES[2:]
SESSIONS = 5
"""How many are under way at a time."""

MOST_SECONDS = 0.5
"""A daemon lives at most so long after its first word with the server."""

HANDLERS = """
[handlers.log]
[handlers.audit]
rotate_bytes = "64KiB"
[handlers.log-leaving]
use = "log"
level = "warning"
on = { to = ["LeftChat", "Completed"] }
"""
NAMES = ("log", "audit", "log-leaving")


class Load:
    """Notifications of sessions' lives, each different, as fast as the daemon asks for them."""

    def __init__(self, chance: random.Random) -> None:
        self.is_ending = False
        self.last: Json = {}
        """The last one that was published."""
        self._chance = chance
        self._notifications = self._make()

    async def run(self, publisher: Publisher, front: Front) -> None:
        """Publish some whenever the daemon asks the server for more, until it is to end."""
        while not self.is_ending:
            front.connected.clear()
            some = [next(self._notifications) for _ in range(self._chance.randint(1, 6))]
            await publisher.publish(*some)
            self.last = some[-1]
            await front.connected.wait()

    def _make(self) -> Iterator[Json]:
        ages = dict.fromkeys(range(SESSIONS), 0)
        number = 0
        while True:
            session = self._chance.choice(sorted(ages))
            age = ages.pop(session)
            known = {"Number": number, "FirstName": "Zoë \u2028", "Note": "x" * (number % 500)}
            yield document(f"S{session}", STATES[age], userData=known)
            number += 1
            ages[session + (SESSIONS if age == 3 else 0)] = (age + 1) % 4


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Kill so many daemons."""
    with TemporaryDirectory(prefix="kills-") as folder:
        return asyncio.run(_run(amount, random.Random(seed), tick, Path(folder)))  # noqa: S311  to be repeated


async def _run(kills: int, chance: random.Random, tick: Tick, folder: Path) -> Result:
    server = await NodeServer.start("cometd", acknowledge=True)
    logs: list[list[Json]] = []
    try:
        async with Front(server.port).serving() as front, publishing(server.port) as publisher:
            config = configure(folder, front.port, HANDLERS)
            load = Load(chance)
            running = asyncio.create_task(load.run(publisher, front))
            for kill in range(kills):
                logs.append(await live_and_die(config, front, chance))
                tick(kill + 1)
            logs.append(await live_on(config, load, running))
            acknowledged = (await server.order("state"))["acknowledged"]
    finally:
        await server.kill()
    with reading(config) as reader:
        entries = reader.statistics().entries
    counts = {"kills": kills, "notifications": entries, "acknowledged": len(front.promised)}
    problems = [problem async for problem in check(folder, config, front.promised, logs)]
    if not acknowledged or len(front.promised) < kills:
        problems.append(f"only {len(front.promised)} notifications were acknowledged: that proves nothing")
    return Result(counts, problems)


async def live_and_die(config: Path, front: Front, chance: random.Random) -> list[Json]:
    """Run a daemon until it is killed, most often while it is at work; return its log."""
    daemon = await Daemon.start(config)
    ended = asyncio.create_task(daemon.ended())
    connects = front.connects
    if chance.random() < 0.9:
        await until(lambda: front.connects > connects + 1 or ended.done())
    await asyncio.wait([ended], timeout=chance.uniform(0, MOST_SECONDS))
    assert not ended.done(), f"it ended by itself: {daemon.words}"
    daemon.process.kill()
    assert await ended == -9
    return daemon.lines


async def live_on(config: Path, load: Load, running: asyncio.Task[None]) -> list[Json]:
    """Run a daemon until all is published, arrived and done, and stop it; return its log."""
    daemon = await Daemon.start(config)
    try:
        await daemon.until("session.transition", count=20)
        load.is_ending = True
        await running
        await until(lambda: is_all_delivered(config, load.last))
        assert await daemon.stop() == 0, daemon.words
    finally:
        await daemon.kill()
    return daemon.lines


def is_all_delivered(config: Path, last: Json) -> bool:
    """Say whether the last notification has arrived, and nothing is left to do."""
    with reading(config) as reader:
        there = {entry.notification for entry in reader.entries(session=last["facebooksession"]["id"])}
        return compact(last) in there and set(reader.statistics().deliveries) <= {"delivered", "not_wanted"}


async def check(folder: Path, config: Path, promised: list[bytes], logs: list[list[Json]]) -> AsyncGenerator[str]:
    """Yield which promise wasn't kept."""
    with reading(config) as reader:
        entries = list(reader.entries())
        deliveries = {(one.seq, one.handler): one.state.value for one in reader.deliveries()}
    journaled = {entry.notification for entry in entries}
    if lost := [text for text in promised if text not in journaled]:
        yield f"{len(lost)} acknowledged notifications are lost, the first is {lost[0]!r}"
    if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        yield "the entries' numbers aren't dense"
    transitions = [entry for entry in entries if entry.kind is Kind.TRANSITION]
    wanted = {
        (entry.seq, name): "delivered" if name in wanting(entry) else "not_wanted"
        for entry in transitions
        for name in NAMES
    }
    if deliveries != wanted:
        there, missing = sorted(deliveries.items() - wanted.items()), sorted(wanted.items() - deliveries.items())
        yield f"deliveries: {there}, and not {missing}"
    for problem in (*check_audit(audit_lines(folder), transitions), *check_logs(logs, transitions)):
        yield problem
    for verb in (("journal", "verify"), ("audit", "verify")):
        status, output, errors = await command(*verb, "--config", config)
        if (status, errors) != (0, ""):
            yield f"{' '.join(verb)}: {status} {output} {errors}"


def check_audit(lines: list[Json], transitions: list[Entry]) -> Iterator[str]:
    """Yield what is wrong with the audit file: each transition has to be in it once, word for word."""
    there, wanted = Counter(line["seq"] for line in lines), Counter(entry.seq for entry in transitions)
    if there != wanted:
        yield f"the audit file hasn't {wanted - there}, and has {there - wanted} too often"
    yield from check_order(lines, "the audit file")
    by_seq = {entry.seq: entry.notification for entry in transitions}
    for line in lines:
        if compact(line["notification"]) != by_seq.get(line["seq"]):
            yield f"the audit file's line about entry {line['seq']} is another"


def check_logs(logs: list[list[Json]], transitions: list[Entry]) -> Iterator[str]:
    """Yield what is wrong with what the handlers logged: each transition at least once, in order within a life."""
    for level, states in (("info", STATES), ("warning", LEAVING)):
        lives = [[line for line in lines if is_transition(line) and line["level"] == level] for lines in logs]
        for number, lines in enumerate(lives, 1):
            yield from check_order(lines, f"the log of life {number}")
        told = {line["seq"] for lines in lives for line in lines}
        if missing := {entry.seq for entry in transitions if entry.after in states} ^ told:
            yield f"the logs at level {level} haven't just what they should have: {sorted(missing)}"


def wanting(entry: Entry) -> Sequence[str]:
    """Return which handlers want a transition."""
    return NAMES if entry.after in LEAVING else NAMES[:2]


def is_transition(line: Json) -> bool:
    """Say whether a line of the log is a handler's."""
    return bool(line["event"] == "session.transition")


def audit_lines(folder: Path) -> list[Json]:
    """Return the lines of all audit files, in their order."""
    files = [*sorted((folder / "state").glob("audit.jsonl.*")), folder / "state" / "audit.jsonl"]
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def check_order(lines: list[Json], where: str) -> Iterator[str]:
    """Yield where a session's transitions aren't in their order, or one is there twice."""
    last: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        if line["seq"] <= last[line["session"]]:
            yield f"{where}: entry {line['seq']} comes after entry {last[line['session']]} of its session"
        last[line["session"]] = line["seq"]


KILLS = Part(
    "kills",
    "The daemon under load is killed at random moments. What was acknowledged to the server is in the journal, each"
    " transition is in the audit file once and in its order, each handler got it, and both files verify.",
    "kills",
    1_000,
    run,
)

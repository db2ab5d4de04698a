"""The daemon killed at any moment, under load: what was acknowledged is there, and what should follow does.

`KILLS=1000 pytest tests/whole/test_kill.py` goes on for longer, and `SEED=…` repeats a run's moments.
"""

import asyncio
import json
import random  # noqa: TID251  moments that can be repeated
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cometd_servers import NodeServer
from daemons import Daemon, Front, Publisher, command, compact, configure, document, publishing, until
from fbsessiond.chance import new_identity
from fbsessiond.environment import variables
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Entry
from fbsessiond.transition import Kind

pytestmark = pytest.mark.node

KILLS = int(variables.get("KILLS", "10"))
SEED = int(variables.get("SEED", str(int(new_identity()[:8], 16))))
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


class Load:
    """Notifications of sessions' lives, each different, as fast as the daemon asks for them."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._notifications = self._make()

    async def run(self, publisher: Publisher, front: Front) -> None:
        """Publish some whenever the daemon asks the server for more."""
        while True:
            front.connected.clear()
            await publisher.publish(*[next(self._notifications) for _ in range(self._chance.randint(1, 6))])
            await front.connected.wait()

    def _make(self) -> Iterator[object]:
        ages = dict.fromkeys(range(SESSIONS), 0)
        number = 0
        while True:
            session = self._chance.choice(sorted(ages))
            age = ages.pop(session)
            known = {"Number": number, "FirstName": "Zoë \u2028", "Note": "x" * (number % 500)}
            yield document(f"S{session}", STATES[age], userData=known)
            number += 1
            ages[session + (SESSIONS if age == 3 else 0)] = (age + 1) % 4


async def test_killed(tmp_path: Path) -> None:
    """Killed at any moment, again and again: nothing acknowledged is lost, all is carried out, each in its order."""
    print(f"KILLS={KILLS} SEED={SEED}")  # noqa: T201  what it takes to repeat this run
    chance = random.Random(SEED)  # noqa: S311  moments that can be repeated
    server = await NodeServer.start("cometd", acknowledge=True)
    async with Front(server.port).serving() as front, publishing(server.port) as publisher:
        config = configure(tmp_path, front.port, HANDLERS)
        load = asyncio.create_task(Load(chance).run(publisher, front))
        logs = [await live_and_die(config, front, chance) for _ in range(KILLS)]
        logs.append(await live_on(config, load))
        assert (await server.order("state"))["acknowledged"] > 0
    await server.kill()
    await check(tmp_path, config, front.promised, logs)


async def live_and_die(config: Path, front: Front, chance: random.Random) -> list[dict[str, Any]]:
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


async def live_on(config: Path, load: asyncio.Task[None]) -> list[dict[str, Any]]:
    """Run a daemon until all is done that is to be done, and stop it; return its log."""
    daemon = await Daemon.start(config)
    await daemon.until("session.transition", count=20)
    load.cancel()
    await asyncio.wait([load])
    await until(lambda: is_all_delivered(config))
    assert await daemon.stop() == 0
    return daemon.lines


@contextmanager
def reading(config: Path) -> Generator[Reader, None, None]:
    """Look at the journal."""
    reader = open_reader("sqlite:journal.db", config.parent / "state")
    try:
        yield reader
    finally:
        reader.close()


def is_all_delivered(config: Path) -> bool:
    """Say whether nothing is left to do."""
    with reading(config) as reader:
        return set(reader.statistics().deliveries) == {"delivered"}


async def check(folder: Path, config: Path, promised: list[bytes], logs: list[list[dict[str, Any]]]) -> None:
    """Check all that was promised."""
    with reading(config) as reader:
        entries = list(reader.entries())
        deliveries = {(one.seq, one.handler): one.state.value for one in reader.deliveries()}
    journaled = {entry.notification for entry in entries}
    assert len(promised) > 20 * KILLS
    assert [text for text in promised if text not in journaled] == []
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    transitions = [entry for entry in entries if entry.kind is Kind.TRANSITION]
    assert deliveries == {(entry.seq, name): "delivered" for entry in transitions for name in wanting(entry)}
    audited = audit_lines(folder)
    assert sorted(line["seq"] for line in audited) == [entry.seq for entry in transitions]
    assert_order(audited)
    by_seq = {entry.seq: entry for entry in transitions}
    for line in audited:
        assert compact(line["notification"]) == by_seq[line["seq"]].notification
    for level, states in (("info", STATES), ("warning", LEAVING)):
        lives = [[line for line in lines if is_transition(line) and line["level"] == level] for lines in logs]
        for lines in lives:
            assert_order(lines)
        told = {line["seq"] for lines in lives for line in lines}
        assert told == {entry.seq for entry in transitions if entry.after in states}
    for verb in (("journal", "verify"), ("audit", "verify")):
        status, output, errors = await command(*verb, "--config", config)
        assert (status, errors) == (0, ""), output


def wanting(entry: Entry) -> list[str]:
    """Return which handlers want a transition."""
    return ["log", "audit", *(["log-leaving"] if entry.after in LEAVING else [])]


def is_transition(line: dict[str, Any]) -> bool:
    """Say whether a line of the log is a handler's."""
    return bool(line["event"] == "session.transition")


def audit_lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of all audit files, in their order."""
    files = [*sorted((folder / "state").glob("audit.jsonl.*")), folder / "state" / "audit.jsonl"]
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def assert_order(lines: list[dict[str, Any]]) -> None:
    """Check that each session's transitions are in their order, and each there once."""
    last: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        assert line["seq"] > last[line["session"]]
        last[line["session"]] = line["seq"]

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from cli_parts import CANARY, HOSTILE, Command
from daemon.journal.suite.follow_ups import PARKED, ask, comment, end
from fbsessiond.cli.tap import Watching
from fbsessiond.clock import SystemClock
from fbsessiond.journal.engines import open_journal, open_reader
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import Entry
from fbsessiond.tap import Happening, Tap
from journal_parts import NOW, after, append, break_chain, draft, kill, misfit, other, prove, quarantined, retry

URL = "sqlite:j.db"
AT = "2026-01-01T00:00"
BEFORE = "2025-12-31T23:59:50.000000Z"
SINCE = ("--since", f"{AT}Z", "--journal", URL)


def written(write: Callable[[Journal], Awaitable[object]]) -> None:
    """Write a journal."""

    async def run() -> None:
        with closing(open_journal(URL, Path(), NOW)) as journal:
            await write(journal)

    asyncio.run(run())


async def some(journal: Journal) -> None:
    """Write something of everything."""
    await prove(journal, "one", -20, -10)
    await break_chain(journal)
    await append(journal, draft("S1", "Invited", "log"), other(), misfit(), at=after(1))
    await kill(journal, now=after(2))
    await ask(journal, comment(1, "S2"), session="S2", agent="agent2", now=after(3))
    await end(journal, PARKED, now=after(4))
    await prove(journal, "two", 5, 6)
    await journal.agree("agent1", after(7))
    assert retry(journal.reader(), quarantined(1), after(8))


def test_lines(fbsessiond: Command) -> None:
    """Each thing that happens is a line for a person: when, whose, which session, and what."""
    written(some)
    ran = fbsessiond("tap", *SINCE, "--count", "8")
    assert (ran.status, ran.err) == (0, "")
    assert ran.lines == [
        f"{AT}:01.000000Z  agent1  S1  1 live (first sight) -> Invited",
        f"{AT}:01.000000Z  agent1  -  2 live other",
        f"{AT}:01.000000Z  agent1  -  quarantine/1 isn't JSON",
        f"{AT}:02.000000Z  agent1  S1  1/log dead: broke",
        f"{AT}:03.000000Z  agent2  S2  3 live (first sight) -> LeftChat",
        f"{AT}:03.000000Z  agent2  S2  3/wrap-up delivered",
        f"{AT}:04.000000Z  agent2  S2  3/wrap-up/1 AddComment parked: in doubt",
        f"{AT}:05.000000Z  agent1  -  gap: network since {BEFORE}, ended; the sessions were compared after it",
    ]
    assert fbsessiond("tap", *SINCE, "--count", "9").lines[-1] == (
        f"{AT}:08.000000Z  -  -  quarantine/1 retried by ops (uid 1000) at {AT}:08.000000Z"
    )


def test_json(fbsessiond: Command) -> None:
    """For programs each is a line of JSON, which says what it is, and has what other commands say of it."""
    written(some)
    ran = fbsessiond("tap", *SINCE, "--json", "--count", "9")
    by_event = {one["event"]: one for one in ran.records}
    (exported, *_) = fbsessiond("export", "--json", "--journal", URL).records
    assert next(one for one in ran.records if one["event"] == "entry") == {"event": "entry", **exported}
    assert next(one for one in ran.records if one["event"] == "delivery") == {
        "event": "delivery",
        "delivery": "1/log",
        "handler": "log",
        "agent": "agent1",
        "session": "S1",
        "state": "dead",
        "because": "broke",
        "attempts": 1,
        "at": f"{AT}:02.000000Z",
    }
    assert by_event["follow-up"] == {
        "event": "follow-up",
        "follow_up": "3/wrap-up/1",
        "operation": "AddComment",
        "handler": "wrap-up",
        "agent": "agent2",
        "session": "S2",
        "state": "parked",
        "because": "in doubt",
        "attempts": 1,
        "at": f"{AT}:04.000000Z",
    }
    assert by_event["gap"] == {
        "event": "gap",
        "agent": "agent1",
        "from": BEFORE,
        "to": f"{AT}:05.000000Z",
        "cause": "network",
        "closed_by": "snapshot",
    }
    (kept,) = fbsessiond("quarantine", "list", "--json", "--journal", URL).records
    assert by_event["quarantined"] == {"event": "quarantined", **kept}
    (act,) = fbsessiond("journal", "acts", "--json", "--journal", URL).records
    assert by_event["act"] == {"event": "act", **act}


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (["--session", "S1"], ["entry", "delivery"]),
        (["--handler", "wrap-up"], ["delivery", "follow-up"]),
        (["--agent", "agent1"], ["entry", "entry", "quarantined", "delivery", "gap"]),
        (["--agent", "agent2", "--session", "S2"], ["entry", "delivery", "follow-up"]),
        (["--agent", "agent2", "--handler", "wrap-up"], ["delivery", "follow-up"]),
    ],
)
def test_filters(fbsessiond: Command, options: list[str], events: list[str]) -> None:
    """With options that choose, only what fits all of them is shown, and counted."""
    written(some)
    ran = fbsessiond("tap", *SINCE, *options, "--json", "--count", str(len(events)))
    assert [one["event"] for one in ran.records] == events


def test_customers(fbsessiond: Command, journal: str) -> None:
    """Tokens stand for customer data, unless it is asked for, which is written down."""
    fbsessiond("dead", "drop", "2/fragile", "--because", f"{CANARY} is gone", "--journal", journal)
    options = ("tap", "--since", "1h", "--count", "17", "--journal", journal)
    for more in ([], ["--json"]):
        assert CANARY not in fbsessiond(*options, *more).out
        assert CANARY in fbsessiond(*options, *more, "--reveal").out
    shown = [one for one in fbsessiond(*options, "--json", "--reveal").records if one["event"] == "delivery"]
    assert [one["because"] for one in shown if one["handler"] == "fragile" and one["because"]] == [
        f"rejected by the handler: don't know {CANARY}, too",
        f"dropped: {CANARY} is gone",
    ]
    assert len(fbsessiond("journal", "reveals", "--json", "--journal", journal).records) == 3


def test_hostile(fbsessiond: Command) -> None:
    """Nothing that was received breaks a line, forges one or moves a terminal's cursor."""
    written(lambda journal: append(journal, draft(HOSTILE, HOSTILE, "log"), agent=HOSTILE))
    for options in (["--count", "1"], ["--count", "1", "--json"]):
        (line,) = fbsessiond("tap", *SINCE, *options).lines
        assert line.isprintable()


@pytest.mark.parametrize("options", [["--count", "0"], ["--since", "soon"], ["--session"]])
def test_usage(fbsessiond: Command, journal: str, options: list[str]) -> None:
    """What can't be is a mistake of usage."""
    assert fbsessiond("tap", *options, "--journal", journal).status == 2


class Live:
    """A tap of a journal that is written meanwhile."""

    def __init__(self, journal: Journal, count: int | None = None, **wanted: str) -> None:
        self.reader = open_reader(URL, Path())
        self.shown = list[Happening]()
        self._changed = asyncio.Event()
        watching = Watching(Tap(self.reader, NOW, SystemClock()), wanted, self._show, count)
        self.task = asyncio.create_task(watching.run(self.reader.version))
        self.journal = journal

    def _show(self, one: Happening) -> None:
        self.shown.append(one)
        self._changed.set()

    async def until(self, count: int) -> None:
        """Wait until so much was shown."""
        async with asyncio.timeout(10):
            while len(self.shown) < count:
                self._changed.clear()
                await self._changed.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_live(number: signal.Signals) -> None:
    """What happens is shown as it happens, until a signal, which ends it as asked."""
    with closing(open_journal(URL, Path(), NOW)) as journal:
        live = Live(journal, session="S1")
        with closing(live.reader):
            for count, state in enumerate(("Invited", "Chatting"), 1):
                before = "Invited" if count > 1 else None
                await append(journal, draft("S1", state, before=before), draft(f"T{count}"), at=after(count))
                await live.until(count)
            os.kill(os.getpid(), number)
            await asyncio.wait_for(live.task, 10)
    assert [one.after for one in live.shown if isinstance(one, Entry)] == ["Invited", "Chatting"]


async def test_count() -> None:
    """It ends after so many lines, in the middle of what happened at once, too."""
    with closing(open_journal(URL, Path(), NOW)) as journal:
        live = Live(journal, 3)
        with closing(live.reader):
            await append(journal, draft("S1"), draft("S2"))
            await live.until(2)
            await append(journal, draft("S3"), draft("S4"))
            await asyncio.wait_for(live.task, 10)
    assert [one.seq for one in live.shown if isinstance(one, Entry)] == [1, 2, 3]


async def test_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody reads it any more it ends by itself, though nothing happens."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone, closing(open_journal(URL, Path(), NOW)) as journal:
        monkeypatch.setattr(sys, "stdout", gone)
        live = Live(journal)
        with closing(live.reader):
            await asyncio.wait_for(live.task, 10)


async def test_nobody_reads_what_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does where that shows only when something happens."""
    monkeypatch.setattr("fbsessiond.cli.tap.is_read", lambda: True)
    monkeypatch.setattr("fbsessiond.cli.tap.flush", lambda: False)
    with closing(open_journal(URL, Path(), NOW)) as journal:
        live = Live(journal)
        with closing(live.reader):
            await asyncio.wait_for(live.task, 10)

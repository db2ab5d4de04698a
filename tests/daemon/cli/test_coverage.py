import asyncio
import re
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cli_parts import HOSTILE, Command
from fbsessiond.gap import GapCause
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from journal_parts import NOW, after, break_chain, prove

FIELDS = ["agent", "from", "to", "cause", "closed_by", "notified_since"]
COVERED = ["agent", "covered_seconds", "observed_seconds", "coverage"]
URL = "sqlite:j.db"

AGENTS = """
[gws]
url = "http://gws.example:8090"
username = "agent1"
password = { env = "P" }
[[agents]]
username = "agent2"
password = { env = "P" }
group = "night"
"""
DAY = 86400.0


class Stopped:
    """A clock that stands still, an hour after the first day."""

    def now(self) -> datetime:
        """Return that time."""
        return after(DAY + 3600)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be an hour after the first day."""
    monkeypatch.setattr("fbsessiond.cli.coverage.SystemClock", Stopped)


def written(write: Callable[[Journal], Coroutine[Any, Any, None]]) -> None:
    """Write a journal."""

    async def main() -> None:
        journal = open_journal(URL, Path(), NOW)
        await write(journal)
        journal.close()

    asyncio.run(main())


async def start(journal: Journal, agent: str = "agent1") -> None:
    """Listen for an agent for a day, sure of it after the first second."""
    await journal.watch(agent, NOW)
    await prove(journal, "one", 1, 60, agent=agent)
    await journal.agree(agent, after(2))
    await prove(journal, "one", 1, DAY, agent=agent)


async def two_agents(journal: Journal) -> None:
    """Write two agents, of which one has gaps of each kind: repaired, not yet, and one that goes on."""
    await start(journal)
    await start(journal, "agent2")
    await break_chain(journal)
    await prove(journal, "two", DAY + 60, DAY + 120)
    await break_chain(journal, GapCause.REFUSED)


def test_json(fbsessiond: Command) -> None:
    """Each gap is a line, and then each agent; a gap ends when it is repaired, and before that says since when not."""
    written(two_agents)
    ran = fbsessiond("coverage", "--json", "--journal", URL)
    assert ran.status == 0
    *gaps, one, two = ran.records
    start_, unrepaired, open_, other = gaps
    assert [list(gap) for gap in gaps] == [FIELDS] * 4
    assert list(start_.values()) == [
        "agent1",
        "2026-01-01T00:00:00.000000Z",
        "2026-01-01T00:00:01.000000Z",
        "start",
        "snapshot",
        "2026-01-01T00:00:01.000000Z",
    ]
    assert list(unrepaired.values()) == [
        "agent1",
        "2026-01-02T00:00:00.000000Z",
        None,
        "network",
        None,
        "2026-01-02T00:01:00.000000Z",
    ]
    assert list(open_.values()) == ["agent1", "2026-01-02T00:02:00.000000Z", None, "refused", None, None]
    assert other == start_ | {"agent": "agent2"}
    assert [list(record) for record in (one, two)] == [COVERED] * 2
    assert list(one.values()) == ["agent1", 86459.0, 90000.0, 86459 / 90000]
    assert list(two.values()) == ["agent2", 86399.0, 86400.0, 86399 / 86400]


def test_table(fbsessiond: Command) -> None:
    """For a person there is a table of agents, and one of gaps, with how long each lasted and what closed it."""
    written(two_agents)
    ran = fbsessiond("coverage", "--journal", URL)
    assert ran.status == 0
    assert [line.split("  ")[0] for line in ran.lines[1:4]] == ["agent1", "agent2", ""]
    assert [line.split("  ")[0] for line in ran.lines[5:]] == ["agent1", "agent1", "agent1", "agent2"]
    assert ran.lines[0].split() == ["AGENT", "OBSERVED", "COVERED", "GAPS", "LAST", "PROOF", "LAST", "COMPARED"]
    assert ran.lines[1].split() == [
        *["agent1", "1", "d", "1", "h", "96.065", "%", "3"],
        *["2026-01-02T00:02:00.000000Z", "2026-01-01T00:00:02.000000Z"],
    ]
    assert ran.lines[4].split() == ["AGENT", "FROM", "TO", "LASTED", "CAUSE", "CLOSED", "BY"]
    assert [line.split()[2:] for line in ran.lines[5:8]] == [
        ["2026-01-01T00:00:01.000000Z", "1", "s", "start", "snapshot"],
        ["2026-01-02T00:01:00.000000Z", "1", "min", "0", "s", "network", "not", "compared", "yet"],
        ["goes", "on", "58", "min", "0", "s", "refused"],
    ]


def test_agent(fbsessiond: Command) -> None:
    """One agent alone can be asked for."""
    written(two_agents)
    records = fbsessiond("coverage", "--json", "--agent", "agent2", "--journal", URL).records
    assert [record["agent"] for record in records] == ["agent2", "agent2"]
    lines = fbsessiond("coverage", "--agent", "agent2", "--journal", URL).lines
    assert [line.split()[0] for line in lines if line] == ["AGENT", "agent2", "AGENT", "agent2"]


def test_nobody(fbsessiond: Command) -> None:
    """Where nobody was listened for, that is said; for programs, by nothing."""

    async def nothing(_: Journal) -> None:
        pass

    written(nothing)
    assert fbsessiond("coverage", "--journal", URL).lines == ["No agent was listened for yet."]
    assert fbsessiond("coverage", "--agent", "agent1", "--journal", URL).lines == ["'agent1' was never listened for."]
    assert fbsessiond("coverage", "--json", "--journal", URL).out == ""


def test_never_compared(fbsessiond: Command) -> None:
    """An agent that was never compared, and of whom nothing is known yet, has neither a gap that ended nor a share."""

    async def begun(journal: Journal) -> None:
        await journal.watch("agent1", after(DAY + 3600))

    written(begun)
    lines = fbsessiond("coverage", "--journal", URL).lines
    assert lines[1].split() == ["agent1", "0", "s", "100.000", "%", "1", "2026-01-02T01:00:00.000000Z", "never"]
    assert lines[4].split() == ["agent1", "2026-01-02T01:00:00.000000Z", "goes", "on", "0", "s", "start"]
    gap, total = fbsessiond("coverage", "--json", "--journal", URL).records
    assert (gap["to"], gap["notified_since"], total["coverage"]) == (None, None, 1.0)


def test_no_gap(fbsessiond: Command) -> None:
    """Where there are no gaps, or none any more, there is no table of them."""

    async def forgotten(journal: Journal) -> None:
        await start(journal)
        await journal.prune(after(60), None)

    written(forgotten)
    lines = fbsessiond("coverage", "--journal", URL).lines
    assert len(lines) == 2
    assert "100.000 %  0 " in lines[1]


def test_clock_set_back(fbsessiond: Command) -> None:
    """A gap that goes on and begins in what is the future now has lasted no time."""

    async def begun(journal: Journal) -> None:
        await journal.watch("agent1", after(2 * DAY))

    written(begun)
    assert fbsessiond("coverage", "--journal", URL).lines[4].split()[2:6] == ["goes", "on", "0", "s"]


@pytest.mark.parametrize(
    ("gap", "share"),
    [(0.0, "100.000"), (0.000001, "99.999"), (0.864, "99.999"), (0.865, "99.998"), (43200.0, "50.000"), (DAY, "0.000")],
)
def test_rounded_down(fbsessiond: Command, gap: float, share: str) -> None:
    """100.000 % says that there was no gap, however short; whatever else is exact isn't less than it is."""

    async def with_gap(journal: Journal) -> None:
        await journal.watch("agent1", NOW)
        await prove(journal, "one", gap, DAY)

    written(with_gap)
    assert fbsessiond("coverage", "--journal", URL).lines[1].split()[5:7] == [share, "%"]


def test_exact_share(fbsessiond: Command) -> None:
    """A share that a fraction of two can't hold is shown as it is: 57 % isn't 56.999."""

    async def with_gap(journal: Journal) -> None:
        await journal.watch("agent1", NOW)
        await prove(journal, "one", 43, 100)

    written(with_gap)
    assert "57.000 %" in fbsessiond("coverage", "--journal", URL).lines[1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.25 s"),
        (59.0, "59 s"),
        (61.9, "1 min 1 s"),
        (3599.0, "59 min 59 s"),
        (3661.0, "1 h 1 min"),
        (DAY - 1, "23 h 59 min"),
        (DAY + 3600, "1 d 1 h"),
    ],
)
def test_lasted(fbsessiond: Command, seconds: float, words: str) -> None:
    """A span is told in the two largest units that it fills, or in seconds."""

    async def with_gap(journal: Journal) -> None:
        await journal.watch("agent1", NOW)
        await prove(journal, "one", seconds, seconds)

    written(with_gap)
    lines = fbsessiond("coverage", "--journal", URL).lines
    assert re.search(f"Z +{words} +start", lines[-1])
    assert f"  {words}  " in lines[1]


def test_hostile(fbsessiond: Command) -> None:
    """Nothing in an agent's name can end a line, begin another, or be markup."""

    async def begun(journal: Journal) -> None:
        await start(journal, HOSTILE)

    written(begun)
    ran = fbsessiond("coverage", "--journal", URL)
    assert len(ran.lines) == 5
    assert "[red]x[/red]" in ran.lines[1]
    asked = fbsessiond("coverage", "--agent", HOSTILE + "!", "--journal", URL)
    assert len(asked.lines) == 1
    json_ = fbsessiond("coverage", "--json", "--journal", URL)
    assert [record["agent"] for record in json_.records] == [HOSTILE] * 2
    for out in (ran.out, asked.out, json_.out):
        assert all(char.isprintable() or char == "\n" for char in out)


def test_configured(fbsessiond: Command) -> None:
    """The journal is the configuration's, unless another one is named."""
    Path("fbsessiond.toml").write_text('state_directory = "."\n[journal]\nurl = "sqlite:j.db"\n')
    written(two_agents)
    assert fbsessiond("coverage").lines[1].split()[0] == "agent1"
    assert fbsessiond("coverage", "--journal", "sqlite:other.db").status != 0


def test_beside_the_daemon(fbsessiond: Command) -> None:
    """It looks at the journal while a daemon writes it."""
    journal = open_journal(URL, Path(), NOW)
    asyncio.run(start(journal))
    assert fbsessiond("coverage", "--journal", URL).lines[1].split()[0] == "agent1"
    journal.close()


def test_groups(fbsessiond: Command) -> None:
    """The agents of a group can be seen alone, and each group's added up."""
    written(two_agents)
    Path("fbsessiond.toml").write_text(AGENTS)
    ran = fbsessiond("coverage", "--group", "night", "--journal", URL, "--json")
    assert {record["agent"] for record in ran.records} == {"agent2"}
    ran = fbsessiond("coverage", "--by-group", "--journal", URL)
    assert [line.split()[:2] for line in ran.lines] == [["GROUP", "AGENTS"], ["default", "1"], ["night", "1"]]
    default, night = fbsessiond("coverage", "--by-group", "--journal", URL, "--json").records
    assert [*default] == ["group", "agents", "covered_seconds", "observed_seconds", "coverage", "gaps"]
    assert (default["gaps"], night["gaps"], night["observed_seconds"]) == (3, 1, DAY)

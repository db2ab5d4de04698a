import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from cli_parts import Command
from fbsessiond import Operation
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import DeliveryState, Settlement, Wait
from journal_parts import NOW, after, append, break_chain, draft, kill, lease, prove

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
AT = "2026-01-01T00:00"


def written(write: Callable[[Journal], Awaitable[object]]) -> None:
    """Write a journal."""

    async def run() -> None:
        journal = open_journal(URL, Path(), NOW)
        await write(journal)
        journal.close()

    asyncio.run(run())


async def some(journal: Journal) -> None:
    """Write sessions with a clock, with dead letters, with a stuck follow-up, and one that has ended."""
    await append(journal, draft("S1", "LeftChat", "wrap-up", due_at=after(300), wait=Wait.FOR), at=after(3))
    await append(journal, draft("S2", "Chatting", "log", "audit"), agent="agent2", at=after(2))
    await kill(journal, "log")
    await kill(journal, "audit")
    await append(journal, draft("S3", "LeftChat", "log"), at=after(1))
    (one,) = await lease(journal, "log")
    await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=[Operation.leave("S3")])], NOW)
    (asked,) = await journal.lease_follow_ups(1, NOW, after(60))
    await journal.record_follow_up(asked, Progress(FollowUpState.PARKED, 1, because="in doubt"), NOW)
    await append(journal, draft("S4", "Completed"), at=after(4))
    await prove(journal, "one", 0, 10, agent="agent2")
    await break_chain(journal, agent="agent2")


def test_sessions(fbsessiond: Command) -> None:
    """The sessions that could still change are a table, with their next clock and their trouble."""
    written(some)
    ran = fbsessiond("sessions", "--journal", URL)
    assert ran.status == 0
    assert [line.split() for line in ran.lines] == [
        ["SESSION", "STATE", "SINCE", "AGENT", "NEXT", "CLOCK", "TROUBLE"],
        ["S3", "LeftChat", f"{AT}:01.000000Z", "agent1", "1", "stuck"],
        ["S2", "Chatting", f"{AT}:02.000000Z", "agent2", "2", "dead,", "gap"],
        ["S1", "LeftChat", f"{AT}:03.000000Z", "agent1", "2026-01-01T00:05:00.000000Z"],
    ]


def test_some(fbsessiond: Command) -> None:
    """Those that have ended can be seen too; those of an agent, and in a state, ended or not."""
    written(some)

    def names(*options: str) -> list[str]:
        return [record["session"] for record in fbsessiond("sessions", "--json", "--journal", URL, *options).records]

    assert names() == ["S3", "S2", "S1"]
    assert names("--all") == ["S3", "S2", "S1", "S4"]
    assert names("--agent", "agent2") == ["S2"]
    assert names("--state", "Completed") == ["S4"]
    assert fbsessiond("sessions", "--state", "x", "--journal", URL).lines == ["There are no such sessions."]


def test_json(fbsessiond: Command) -> None:
    """For programs each is a line of JSON."""
    written(some)
    (_, two, one) = fbsessiond("sessions", "--json", "--journal", URL).records
    assert two == {
        "session": "S2",
        "agent": "agent2",
        "state": "Chatting",
        "since": f"{AT}:02.000000Z",
        "next_clock": None,
        "handler": None,
        "dead": 2,
        "stuck": 0,
        "gap": True,
    }
    assert (one["next_clock"], one["handler"], one["gap"]) == ("2026-01-01T00:05:00.000000Z", "wrap-up", False)


def test_group(fbsessiond: Command) -> None:
    """Those of a group of the configuration can be seen; a group that isn't there is told with the nearest one."""
    written(some)
    Path("fbsessiond.toml").write_text(AGENTS)
    ran = fbsessiond("sessions", "--group", "night", "--journal", URL, "--json")
    assert [record["session"] for record in ran.records] == ["S2"]
    ran = fbsessiond("sessions", "--group", "nihgt", "--journal", URL)
    assert ran.status == 2
    assert "no group 'nihgt'; did you mean 'night'?" in " ".join(ran.err.split())

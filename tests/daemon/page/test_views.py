import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from fbsessiond.dates import iso
from fbsessiond.events import AttemptOutcome
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import ActKind, DeliveryState, Settlement
from fbsessiond.operations import Operation
from fbsessiond.page import views
from fbsessiond.page.figures import Figures
from fbsessiond.page.views import VERSION, Views
from fbsessiond.readiness import Check
from fbsessiond.testing import make_session
from journal_parts import NOW, after, append, draft, lease, prove, settle
from page_parts import CANARY, CHECKS, HANDLERS, connections_in, ended, fill
from simulator_parts import HandClock


@asynccontextmanager
async def viewed(folder: Path, *checks: Check, filled: bool = True) -> AsyncGenerator[tuple[Views, Journal, Figures]]:
    """Look at a journal, ten seconds after it began."""
    clock = HandClock()
    with closing(open_journal("sqlite:j.db", folder, NOW)) as journal:
        if filled:
            await fill(journal)
        clock.seconds = 10
        figures = Figures(HANDLERS, clock)
        present = checks or CHECKS
        views = Views(journal.reader(), lambda: present, lambda: connections_in(present), figures, clock)
        yield views, journal, figures


async def test_overview(tmp_path: Path) -> None:
    """The overview says how everything is."""
    async with viewed(tmp_path) as (shown, _, _):
        overview = await shown.overview()
    assert {name: overview[name] for name in ("now", "version", "is_ready")} == {
        "now": iso(after(10)),
        "version": VERSION,
        "is_ready": True,
    }
    assert overview["checks"][0] == {
        "name": "connection agent1",
        "is_ok": True,
        "words": "connected",
        "since": iso(NOW),
    }


async def test_agents(tmp_path: Path) -> None:
    """Of an agent it says how the connection is, how much is covered, and the gap that isn't closed."""
    async with viewed(tmp_path) as (shown, _, _):
        (agent,) = (await shown.overview())["agents"]
    assert agent["coverage"] == pytest.approx(50 / 70)
    del agent["coverage"]
    assert agent == {
        "agent": "agent1",
        "is_connected": True,
        "connection": "connected",
        "since": iso(NOW),
        "gaps": 3,
        "gap": {"from": iso(NOW), "to": None, "cause": "network"},
        "proven_until": iso(NOW),
        "compared_at": None,
    }


async def test_gaps_are_read_anew(tmp_path: Path) -> None:
    """An agent's gaps are read once, and again when one has come or was compared."""
    async with viewed(tmp_path) as (shown, journal, _):
        numbers = [(await shown.overview())["agents"][0]["gaps"] for _ in range(2)]
        assert len([key for key in shown.remembered if key[0] == "gaps"]) == 1
        await prove(journal, "three", 5, 8)
        await prove(journal, "four", 9, 10)
        numbers.append((await shown.overview())["agents"][0]["gaps"])
    assert numbers == [3, 3, 4]


async def test_agent_of_before(tmp_path: Path) -> None:
    """An agent that isn't watched any more is there with what the journal has."""
    async with viewed(tmp_path, Check("disk", False, "full")) as (shown, _, _):
        overview = await shown.overview()
    assert not overview["is_ready"]
    (agent,) = overview["agents"]
    assert (agent["is_connected"], agent["connection"], agent["since"]) == (False, "not watched now", None)


async def test_sessions(tmp_path: Path) -> None:
    """Sessions stand with their state, the clock that ends next, and what is dead: the open ones first."""
    async with viewed(tmp_path) as (shown, journal, _):
        await append(journal, draft("S0", "Completed"), at=after(6))
        sessions = (await shown.overview())["sessions"]
    assert not sessions["has_more"]
    assert not sessions["has_more_open"]
    assert [(one["session"], one["state"], one["is_open"]) for one in sessions["listed"]] == [
        ("S3", "LeftChat", True),
        ("S2", "LeftChat", True),
        ("S1", "Chatting", True),
        ("S0", "Completed", False),
    ]
    assert [one["clock"] for one in sessions["listed"][:2]] == [{"handler": "log", "at": iso(after(300))}, None]
    assert [one["trouble"] for one in sessions["listed"]] == [None, "1 dead letter", "1 dead letter", None]
    assert sessions["listed"][2]["since"] == iso(after(1))


async def test_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sessions and dead letters a bounded number is shown, and that there are more."""
    monkeypatch.setattr(views, "OPEN_SESSIONS", 4)
    monkeypatch.setattr(views, "FINISHED_SESSIONS", 2)
    monkeypatch.setattr(views, "DEAD_LETTERS", 3)
    async with viewed(tmp_path, filled=False) as (shown, journal, _):
        for number in range(5):
            await append(journal, draft(f"S{number}", "Chatting", "crm"))
        await settle(journal, *await lease(journal, "crm"), state=DeliveryState.DEAD)
        overview = await shown.overview()
    for part, most in (("sessions", 4), ("dead_letters", 3)):
        assert (len(overview[part]["listed"]), overview[part]["has_more"]) == (most, True)
    assert overview["sessions"]["has_more_open"]


async def test_dead_letters(tmp_path: Path) -> None:
    """Dead letters have the fields that the commands show; a reason is looked at once."""
    async with viewed(tmp_path) as (shown, _, _):
        first, second = (await shown.overview())["dead_letters"]["listed"]
        assert (await shown.overview())["dead_letters"]["listed"][0] is first
    assert (first["delivery"], first["session"], first["after"], first["attempts"]) == ("2/crm", "S1", "Chatting", 3)
    assert first["reason"].startswith("LookupError at crm.py:8: nobody is called [")
    assert (second["delivery"], second["session"]) == ("3/wrap-up/1", "S2")


async def test_handlers(tmp_path: Path) -> None:
    """Handlers stand with how they did lately, what there is to do, and what was given up."""
    async with viewed(tmp_path) as (shown, journal, figures):
        await append(journal, draft("S9", "Invited", "log"))
        (leased,) = await lease(journal, "log")
        figures.observe(ended(leased, 0.25, AttemptOutcome.FAILED))
        handlers = {one.pop("handler"): one for one in (await shown.overview())["handlers"]}
    assert list(handlers) == list(HANDLERS)
    assert handlers["log"] == {
        "per_minute": 60.0,
        "median_seconds": 0.25,
        "percentile_95_seconds": 0.25,
        "failed": 1,
        "to_do": 2,
        "dead": 0,
    }
    assert (handlers["crm"]["median_seconds"], handlers["crm"]["dead"], handlers["crm"]["to_do"]) == (None, 1, 0)


async def test_story(tmp_path: Path) -> None:
    """A session's story has each entry with what followed, and the gaps."""
    async with viewed(tmp_path) as (shown, _, _):
        story = await shown.story("S1", None)
        assert (await shown.story("S4", None)) is None
        assert (await shown.story("S1", "agent2")) is None
    assert story is not None
    assert (story["session"], story["agent"], story["state"], story["is_open"]) == ("S1", "agent1", "Chatting", True)
    assert (story["count"], story["has_more"], story["now"]) == (2, False, iso(after(10)))
    assert story["gaps"] == [{"from": iso(NOW), "to": None, "cause": "network"}]
    first, second = story["entries"]
    assert (first["seq"], first["at"], first["origin"], first["kind"]) == (1, iso(NOW), "live", "transition")
    assert (second["before"], second["after"]) == ("Invited", "Chatting")
    assert [(one["handler"], one["state"]) for one in first["deliveries"]] == [
        ("crm", "delivered"),
        ("wrap-up", "not_wanted"),
    ]
    (dead,) = second["deliveries"]
    assert (dead["delivery"], dead["state"], dead["attempts"]) == ("2/crm", "dead", 3)
    assert dead["because"].startswith("LookupError at crm.py:8: nobody is called [")


async def test_acts(tmp_path: Path) -> None:
    """Who retried or dropped something stands with it, with a token for what its customer said."""
    async with viewed(tmp_path) as (shown, journal, _):
        reader = journal.reader()
        (dead,), (stuck,) = reader.dead(), reader.stuck_follow_ups()
        assert reader.act(dead, ActKind.RETRY, by="alice", at=after(5), because=f"{CANARY} is known")
        assert reader.act(stuck, ActKind.DROP, by="bob", at=after(6), because="done by hand")
        first, second = await shown.story("S1", None), await shown.story("S2", "agent1")
    assert first is not None
    assert second is not None
    ((act,),) = [one["acts"] for one in first["entries"][1]["deliveries"]]
    assert (act["act"], act["by"], act["at"]) == ("retry", "alice", iso(after(5)))
    assert act["because"].startswith("[")
    assert CANARY not in act["because"]
    (delivery,) = second["entries"][0]["deliveries"]
    assert delivery["acts"] == []
    assert [(act["act"], act["by"]) for act in delivery["follow_ups"][0]["acts"]] == [("drop", "bob")]


async def test_follow_ups(tmp_path: Path) -> None:
    """What a handler asked for stands with its delivery; what another session's change asked for, by itself."""
    async with viewed(tmp_path) as (shown, _, _):
        story = await shown.story("S2", "agent1")
    assert story is not None
    (delivery,) = story["entries"][0]["deliveries"]
    parked, withdrawn = delivery["follow_ups"]
    assert (parked["step"], parked["operation"], parked["state"], parked["attempts"]) == (1, "AddComment", "parked", 2)
    assert parked["because"].startswith("in doubt: [")
    assert (withdrawn["operation"], withdrawn["state"], withdrawn["at"]) == ("Complete", "withdrawn", iso(after(4)))
    assert story["others"] == []


async def test_follow_ups_of_others(tmp_path: Path) -> None:
    """What another session's change asked for stands by itself, without a reason that may quote its customer."""
    async with viewed(tmp_path) as (shown, journal, _):
        await append(journal, draft("S9", "LeftChat", "wrap-up"))
        (wanted,) = await lease(journal, "wrap-up")
        operation = Operation.complete(make_session("Chatting", session="S1"))
        await journal.settle([Settlement(wanted, DeliveryState.DELIVERED, 1, follow_ups=[operation])], NOW)
        story = await shown.story("S1", None)
    assert story is not None
    (other,) = story["others"]
    assert (other["asked_by"], other["operation"], other["state"]) == ("5/wrap-up", "Complete", "intended")


async def test_long_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long story the end is shown."""
    monkeypatch.setattr(views, "MOMENTS", 1)
    async with viewed(tmp_path) as (shown, _, _):
        story = await shown.story("S1", None)
    assert story is not None
    assert ([entry["seq"] for entry in story["entries"]], story["count"], story["has_more"]) == ([2], 2, True)


async def test_no_customer_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a customer's is in any of it; and what is remembered has its limit."""
    monkeypatch.setattr(views, "REMEMBERED", 1)
    async with viewed(tmp_path) as (shown, _, _):
        everything: list[Any] = [
            (await shown.overview()),
            *[await shown.story(session, None) for session in ("S1", "S2", "S3")],
        ]
        assert len(shown.remembered) == 1
    text = json.dumps(everything)
    assert CANARY not in text
    assert "Vitaliy" not in text
    assert "4711" not in text

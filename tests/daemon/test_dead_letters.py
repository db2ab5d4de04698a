import asyncio
import sqlite3
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fbsessiond.dates import iso
from fbsessiond.dead_letters import LARGEST_SEQ, dead_letters, find_dead, to_record
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.journal.engines import open_journal, open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Settlement
from fbsessiond.operations import Operation
from fbsessiond.testing import make_session
from journal_parts import NOW, after, append, draft, lease, settle

CANARY = "Vitaliy Onv-4711"
"""A customer's value."""

FIELDS = ["delivery", "handler", "session", "after", "attempts", "reason", "at"]


@pytest.fixture
def reader(tmp_path: Path) -> Generator[Reader, None, None]:
    """A look at a journal in which a handler's delivery is dead, and another's follow-up is parked."""
    asyncio.run(fill(tmp_path))
    with closing(open_reader("sqlite:j.db", tmp_path)) as reader:
        yield reader


async def fill(folder: Path) -> None:
    """Make the journal: entry 1 is delivered, 2/log is dead, 3/wrap-up/1 is parked and the step after it withdrawn."""
    with closing(open_journal("sqlite:j.db", folder, NOW)) as journal:
        await append(journal, draft("S1", "Invited", "log"))
        await settle(journal, *await lease(journal))
        await append(journal, draft("S1", "Chatting", "log", comment=CANARY, before="Invited"))
        (broken,) = await lease(journal)
        because = f"LookupError at log.py:8\nnobody is called {CANARY}"
        await journal.settle([Settlement(broken, DeliveryState.DEAD, 3, because)], after(1))
        await append(journal, draft("S2", "LeftChat", "wrap-up", comment=CANARY))
        (wanted,) = await lease(journal, "wrap-up")
        session = make_session("LeftChat", session="S2")
        steps = (Operation.add_comment(session, "one"), Operation.complete(session))
        await journal.settle([Settlement(wanted, DeliveryState.DELIVERED, 1, follow_ups=steps)], NOW)
        (doubted,) = await journal.lease_follow_ups(1, NOW, after(60))
        progress = Progress(FollowUpState.PARKED, 2, because=f"in doubt: {CANARY}")
        await journal.record_follow_up(doubted, progress, after(2))


def test_all(reader: Reader) -> None:
    """Deliveries and follow-ups stand in the order of their entries; those of one entry can be asked for."""
    assert [dead.id for dead in dead_letters(reader)] == ["2/log", "3/wrap-up/1"]
    assert [dead.id for dead in dead_letters(reader, 3)] == ["3/wrap-up/1"]


def test_record(reader: Reader) -> None:
    """A record has the fields of the contract, and a token for what a customer wrote."""
    first, second = (to_record(dead, reader, reveal=False) for dead in dead_letters(reader))
    assert list(first) == FIELDS
    assert (first["delivery"], first["handler"], first["session"]) == ("2/log", "log", "S1")
    assert (first["after"], first["attempts"], first["at"]) == ("Chatting", 3, iso(after(1)))
    assert first["reason"].startswith("LookupError at log.py:8: nobody is called [free-text:")
    assert second["reason"].startswith("AddComment parked: in doubt: [free-text:")
    assert (second["after"], second["attempts"], second["at"]) == ("LeftChat", 2, iso(after(2)))


def test_reveal(reader: Reader) -> None:
    """Asked for by name, a reason is as it was given."""
    first, second = (to_record(dead, reader, reveal=True) for dead in dead_letters(reader))
    assert first["reason"] == f"LookupError at log.py:8: nobody is called {CANARY}"
    assert second["reason"] == f"AddComment parked: in doubt: {CANARY}"


@pytest.mark.parametrize(
    "delivery",
    ["1/log", "2/wrap-up", "3/wrap-up/2", "2", "2/", "/log", "x/log", "-2/log", "²/log", f"{2**63}/log", "9" * 5000],
)
def test_unknown(reader: Reader, delivery: str) -> None:
    """What isn't the id of a dead letter leads to none."""
    assert find_dead(reader, delivery) is None
    assert find_dead(reader, f"{LARGEST_SEQ}/log") is None


def test_forgotten_entry(reader: Reader) -> None:
    """Where a reason's entry was forgotten just now, only the part of it is told that can hold no customer data."""
    dead = DeliveryRecord(99, "log", "a", "S1", None, DeliveryState.DEAD, 1, f"LookupError\n{CANARY}", NOW)
    for seq in (0, 99):
        assert to_record(replace(dead, seq=seq), reader, reveal=False)["reason"] == "LookupError"
    assert to_record(replace(dead, seq=2), reader, reveal=False)["reason"].startswith("LookupError: [")
    assert to_record(replace(dead, seq=1), reader, reveal=False)["after"] == "Invited"
    assert to_record(replace(dead, seq=2, because=None), reader, reveal=False)["reason"] == ""


def test_damaged_entry(reader: Reader, tmp_path: Path) -> None:
    """So it is where the entry is damaged: what it held of a customer's can't be known."""
    with closing(sqlite3.connect(tmp_path / "j.db")) as connection, connection:
        connection.execute("UPDATE entries SET notification = x'7b'")
    reasons = [to_record(dead, reader, reveal=False)["reason"] for dead in dead_letters(reader)]
    assert reasons == ["LookupError at log.py:8", "AddComment parked"]

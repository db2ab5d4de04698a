"""What the journal shows of a session, on virtual time."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.journal_evidence import JournalEvidence
from fbsessiond.notification import AnyNotification, SessionNotification
from fbsessiond.testing import VirtualClock, run_virtual
from journal_parts import NOW, after, append, draft, other


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let a test run on virtual time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        run_virtual(test(*arguments, **named))

    return run


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    """Open a journal in memory."""
    journal = SqliteJournal(MEMORY, NOW)
    yield journal
    journal.close()


@pytest.fixture
def evidence(journal: SqliteJournal) -> JournalEvidence:
    """Look at one of its sessions."""
    return JournalEvidence(journal, "agent1", "S1", VirtualClock())


def is_in(state: str) -> Callable[[AnyNotification], bool]:
    """Wait for a state."""
    return lambda one: isinstance(one, SessionNotification) and (one.document or {}).get("state") == state


@virtual
async def test_known(journal: SqliteJournal, evidence: JournalEvidence) -> None:
    """A session is known as the journal knows it; a place is an entry's number."""
    assert await evidence.known() is None
    assert evidence.place() == 0
    await append(journal, draft("S1", "Chatting"), draft("S2"))
    assert await evidence.known() == {"id": "S1", "state": "Chatting"}
    assert evidence.place() == 2


@virtual
async def test_already_there(journal: SqliteJournal, evidence: JournalEvidence) -> None:
    """What arrived after the place is found at once, even when time is up."""
    await append(journal, draft("S1", "Chatting"), draft("S1", "LeftChat"), draft("S1", "Completed"))
    found = await evidence.first(is_in("LeftChat"), 1, after(-5))
    assert found is not None
    assert asyncio.get_running_loop().time() == 0


@virtual
async def test_before_the_place(journal: SqliteJournal, evidence: JournalEvidence) -> None:
    """What arrived before the place shows nothing, nor does another session's or another agent's."""
    await append(journal, draft("S1", "LeftChat"))
    looking = asyncio.create_task(evidence.first(is_in("LeftChat"), 1, after(30)))
    await asyncio.sleep(1)
    await append(journal, draft("S2", "LeftChat"), draft("S1", "Chatting"), other())
    await append(journal, draft("S1", "LeftChat"), agent="agent2")
    assert await looking is None
    assert asyncio.get_running_loop().time() == 30


@virtual
async def test_arrives(journal: SqliteJournal, evidence: JournalEvidence) -> None:
    """What arrives while it looks is found at once, and each is looked at once."""
    seen: list[AnyNotification] = []

    def decides(one: AnyNotification) -> bool:
        seen.append(one)
        return len(seen) == 3

    looking = asyncio.create_task(evidence.first(decides, 0, after(30)))
    for seconds in (1, 2, 3):
        await asyncio.sleep(1)
        assert len(seen) == seconds - 1
        await append(journal, draft("S1", "Chatting", comment=str(seconds)), draft("S2"))
    assert await looking is seen[2]
    assert asyncio.get_running_loop().time() == 3
    assert journal._arrivals == {}  # pyright: ignore[reportPrivateUsage]


@virtual
async def test_at_the_last_moment(journal: SqliteJournal, evidence: JournalEvidence) -> None:
    """It looks until time is up, whatever else arrives shortly before."""
    looking = asyncio.create_task(evidence.first(is_in("LeftChat"), 0, after(30)))
    await asyncio.sleep(29.5)
    await append(journal, draft("S1", "Chatting"))
    await asyncio.sleep(0.4)
    await append(journal, draft("S1", "LeftChat"))
    assert await looking is not None


@virtual
async def test_of_another_session(journal: SqliteJournal, evidence: JournalEvidence) -> None:
    """A notification that speaks of another session is none of this one's, whatever its entry says."""
    await append(journal, draft("S1", "Chatting"))
    journal.connection.execute("UPDATE entries SET notification = ?", (draft("S2", "Chatting").message.data,))
    assert await evidence.first(lambda _: True, 0, after(1)) is None

import pytest

from daemon.journal.suite.engine import prune
from daemon.journal.suite.follow_ups import ask, comment
from fbsessiond.errors import JournalError
from fbsessiond.journal.records import Draft
from fbsessiond.journal.sql.retention import BITE_ENTRIES
from fbsessiond.journal.sqlite.engine import SqliteJournal
from journal_parts import NOW, after, append, draft, kill, misfit, noise, other


def chatting(count: int) -> list[Draft]:
    """Return a transition of each of so many sessions."""
    return [draft(f"S{number}", "Chatting") for number in range(count)]


async def test_nothing_to_forget(journal: SqliteJournal) -> None:
    """An empty journal forgets nothing."""
    assert await journal.prune(after(60), 0) == 0


async def test_bites(journal: SqliteJournal) -> None:
    """What is old goes a bite at a time; the newest entry stays."""
    await append(journal, *chatting(2 * BITE_ENTRIES + 11))
    assert await prune(journal, after(60)) == [BITE_ENTRIES, BITE_ENTRIES, 10]


async def test_bites_of_the_quarantine(journal: SqliteJournal) -> None:
    """What is old in the quarantine goes a bite at a time, too; its newest message stays."""
    await append(journal, *[misfit() for _ in range(BITE_ENTRIES + 11)])
    remaining: list[int] = []
    for _ in range(3):
        await journal.prune(after(60), None)
        remaining += journal.connection.execute("SELECT count(*) FROM quarantine").fetchone()
    assert remaining == [11, 1, 1]


async def test_bounded_bite(journal: SqliteJournal) -> None:
    """A bite is as much work in a large journal as in a small one, however much of it is old or already forgotten."""

    async def work() -> int:
        """Return how much SQLite does for a bite, in hundreds of its machine's instructions."""
        steps: list[None] = []
        journal.connection.set_progress_handler(lambda: steps.append(None), 100)
        assert await journal.prune(after(60), None) == BITE_ENTRIES
        journal.connection.set_progress_handler(None, 0)
        return len(steps)

    await append(journal, *chatting(1_000), misfit())
    small = await work()
    for agent in range(10):
        await append(journal, *chatting(1_000), agent=f"agent{agent}")
    for _ in range(5_000 // BITE_ENTRIES):
        await journal.prune(after(60), None)
    assert await work() < 1.5 * small


@pytest.mark.parametrize("merged", [None, {"id": "S1", "state": "Chatting", "comment": "from before"}])
async def test_kept_document(journal: SqliteJournal, merged: dict[str, str] | None) -> None:
    """What is known of a session outlives its entry, whether the notification said it all or not."""
    await append(journal, draft("S1", "Chatting", merged=merged), other())
    assert await journal.prune(after(60), None) == 1
    assert await journal.known("agent1", "S1") == (merged or {"id": "S1", "state": "Chatting"})


@pytest.mark.parametrize("state", ["Completed", "Revoked", "Vanished"])
async def test_finished_session(journal: SqliteJournal, state: str) -> None:
    """What is known of a session that has ended goes with its entry, and only with that; what was delivered, too."""
    await append(journal, draft("S1", state, "log"))
    await append(journal, draft("S2", state), other(), at=after(90))
    await kill(journal)
    assert await journal.prune(after(60), None) == 1
    assert await journal.known("agent1", "S1") is None
    assert await journal.known("agent1", "S2") == {"id": "S2", "state": state}
    assert list(journal.reader().deliveries()) == []
    assert journal.connection.execute("SELECT count(*) FROM settled").fetchone() == (0,)


@pytest.mark.parametrize("state", ["intended", "sent", "accepted", "parked", "failed", "confirmed"])
async def test_follow_up_that_is_not_done(journal: SqliteJournal, state: str) -> None:
    """An entry stays while anything may still come of a follow-up, or a person has to look at it."""
    await ask(journal, comment(1))
    await ask(journal, comment(2), session="S2")
    await append(journal, other())
    journal.connection.execute("UPDATE follow_ups SET state = ?", (state,))
    assert await journal.prune(after(60), None) == (2 if state == "confirmed" else 0)


async def test_by_size(journal: SqliteJournal) -> None:
    """A journal that is too large forgets what is young, but no more than it must."""
    await append(journal, *[draft("S1", comment=noise(10_000, number)) for number in range(1_000)])
    assert await prune(journal, NOW, 20_000_000) == []
    assert sum(await prune(journal, NOW, 6_000_000)) in range(200, 401)


async def test_free_pages_do_not_count(journal: SqliteJournal) -> None:
    """A journal is as large as what is in it: pages that are free already make it no larger."""
    await append(journal, *[draft("S1", comment=noise(10_000, number)) for number in range(1_000)])
    journal.connection.execute("DELETE FROM entries WHERE seq <= 900")
    assert await journal.prune(NOW, 6_000_000) == 0


async def test_pages_given_back(journal: SqliteJournal) -> None:
    """What is forgotten leaves the file, too."""
    await append(journal, *[draft("S1", comment=noise(10_000, number)) for number in range(2_000)])
    (before,) = journal.connection.execute("PRAGMA page_count").fetchone()
    await prune(journal, after(60))
    assert journal.connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    (remaining,) = journal.connection.execute("PRAGMA page_count").fetchone()
    assert remaining < before / 20


async def test_damaged_entry(journal: SqliteJournal) -> None:
    """An entry that is damaged isn't forgotten with all that is known of its session: that is a failure."""
    await append(journal, draft("S1", "Chatting"), other())
    journal.connection.execute("UPDATE entries SET notification = x'7b7d' WHERE seq = 1")
    with pytest.raises(JournalError, match="no part on session S1"):
        await journal.prune(after(60), None)
    assert journal.connection.execute("SELECT count(*) FROM entries").fetchone() == (2,)

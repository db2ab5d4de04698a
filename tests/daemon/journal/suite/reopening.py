"""Opening a journal again, and reading it while it is written."""

import asyncio

from daemon.journal.suite.engine import Engine, Part, prune
from fbsessiond.journal.records import DeliveryState, Settlement
from journal_parts import NOW, after, append, draft, lease, misfit, other


class Reopening(Part):
    """What a journal that outlives its process does when it is opened again."""

    async def test_numbers_go_on(self, engine: Engine) -> None:
        """Numbers go on where they ended, even when all that had them was forgotten."""
        for number in (1, 2, 3):
            journal = engine.open(NOW)
            await append(journal, draft(f"S{number}", "Completed"), other(), misfit())
            await prune(journal, after(60), 0)
            journal.close()
        reader = engine.read(journal)
        assert [entry.seq for entry in reader.entries()] == [6]
        assert [quarantined.seq for quarantined in reader.quarantined()] == [3]
        reader.close()

    async def test_identity(self, engine: Engine) -> None:
        """A journal keeps its identity."""
        journal = engine.open(NOW)
        journal.close()
        again = engine.open(NOW)
        again.close()
        assert again.identity == journal.identity
        assert len(journal.identity) == 32

    async def test_leases_end_with_their_process(self, engine: Engine) -> None:
        """What ran when the daemon ended is due at once when it starts again, though its lease would go on."""
        journal = engine.open(NOW)
        await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
        await append(journal, draft("S2", "Invited", "log", due_at=after(300)))
        await lease(journal, until=after(3600))
        journal.close()
        journal = engine.open(after(5))
        assert await journal.next_due("log") == after(5)
        (one,) = await lease(journal, now=after(5))
        assert (one.entry.seq, one.attempts, one.due_at) == (1, 0, NOW)
        journal.close()

    async def test_clocks_and_pauses_survive(self, engine: Engine) -> None:
        """What is due later is due at the same time after the daemon was started again."""
        journal = engine.open(NOW)
        await append(journal, draft("S1", "Invited", "log", due_at=after(300)), draft("S2", "Invited", "log"))
        (one,) = await lease(journal)
        await journal.settle([Settlement(one, DeliveryState.DUE, 2, "timed out", after(200))], NOW)
        journal.close()
        journal = engine.open(after(5))
        assert await lease(journal, now=after(199)) == []
        assert [(one.entry.seq, one.attempts) for one in await lease(journal, now=after(300))] == [(2, 2), (1, 0)]
        journal.close()

    async def test_known_survives(self, engine: Engine) -> None:
        """What is known of a session is still known after the daemon was started again."""
        journal = engine.open(NOW)
        await append(journal, draft("S1", "Chatting"))
        journal.close()
        journal = engine.open(NOW)
        assert await journal.known("agent1", "S1") == {"id": "S1", "state": "Chatting"}
        journal.close()

    async def test_reading_while_writing(self, engine: Engine) -> None:
        """A reader sees a batch whole or not at all, and what it reads doesn't change under it."""
        journal = engine.open(NOW)
        reader = engine.read(journal)
        await append(journal, *[draft(f"S{number}") for number in range(100)])
        seen = reader.entries()
        first = next(seen)
        writing = asyncio.create_task(append(journal, draft("S1", "Chatting", "log"), misfit()))
        assert reader.statistics().entries == 100
        await writing
        assert [first.seq, *[entry.seq for entry in seen]] == list(range(1, 101))
        assert reader.statistics().entries == 101
        assert (reader.statistics().quarantined, reader.statistics().deliveries) == (1, {"due": 1})
        reader.close()
        journal.close()

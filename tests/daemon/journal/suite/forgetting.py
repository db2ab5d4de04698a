"""Forgetting: retention by age and by size."""

import pytest

from daemon.journal.suite.engine import Part, prune, verified
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.session import TERMINAL_STATES, VANISHED
from journal_parts import NOW, after, append, draft, kill, lease, misfit, noise, other, repeat, retry, seqs, settle


class Forgetting(Part):
    """What a journal forgets, and what not."""

    async def test_by_age(self, journal: Journal, reader: Reader) -> None:
        """Entries received before a point in time are forgotten, with their settled deliveries; younger ones stay."""
        for seconds in (0, 10, 20, 30):
            await append(journal, draft(f"S{seconds}", "Completed", "log"), at=after(seconds))
        await settle(journal, *await lease(journal))
        assert await prune(journal, after(20)) == [2]
        assert [entry.seq for entry in reader.entries()] == [3, 4]
        assert [record.seq for record in reader.deliveries()] == [3, 4]
        assert verified(reader) == []

    async def test_nothing_to_forget(self, journal: Journal) -> None:
        """An empty journal, and one with nothing old, forget nothing."""
        assert await prune(journal, after(60), 0) == []
        await append(journal, draft("S1"), draft("S2"))
        assert await prune(journal, NOW) == []

    async def test_by_age_after_the_clock_was_set_back(self, journal: Journal, reader: Reader) -> None:
        """An entry that isn't old keeps all that follows it, even what says that it is older."""
        await append(journal, draft("S1"), at=after(60))
        await append(journal, draft("S2"), draft("S3"), at=after(0))
        assert await prune(journal, after(30)) == []
        assert reader.statistics().entries == 3

    async def test_bites(self, journal: Journal, reader: Reader) -> None:
        """Each call forgets a bounded number of entries, so that an append never waits for long."""
        await append(journal, *[draft("S1") for _ in range(1201)])
        bites = await prune(journal, after(60))
        assert sum(bites) == 1200
        assert max(bites) <= 500
        assert [entry.seq for entry in reader.entries()] == [1201]

    async def test_by_size(self, journal: Journal, reader: Reader) -> None:
        """A journal that is too large forgets its oldest entries, however young, until it isn't; its space shrinks."""
        await append(journal, *[draft("S1", comment=noise(6_000, number)) for number in range(2_000)])
        most_bytes = reader.statistics().bytes // 2
        assert await prune(journal, NOW, 2 * most_bytes + 4096) == []
        assert sum(await prune(journal, NOW, most_bytes)) in range(900, 1_300)
        assert reader.statistics().bytes <= most_bytes

    async def test_newest_entry(self, journal: Journal, reader: Reader) -> None:
        """The newest entry stays, so that the numbers go on."""
        await append(journal, draft("S1"), draft("S2"), misfit(), misfit())
        await prune(journal, after(60), 0)
        assert [entry.seq for entry in reader.entries()] == [2]
        await append(journal, draft("S3"), misfit())
        assert [entry.seq for entry in reader.entries()] == [2, 3]
        assert [quarantined.seq for quarantined in reader.quarantined()] == [2, 3]

    @pytest.mark.parametrize("most_bytes", [None, 0])
    async def test_pending(self, journal: Journal, reader: Reader, most_bytes: int | None) -> None:
        """The entry of a delivery that waits, is due, runs or is to be tried again stays, and all that follows it."""
        await append(journal, draft("S1"), draft("S2", "Invited", "log"), draft("S3"), draft("S2", "Chatting", "log"))
        await append(journal, draft("S4", "Invited", "audit", due_at=after(9000)), draft("S5"))
        for remaining in (2, 4):
            assert sum(await prune(journal, after(60), most_bytes)) in (1, 2)
            assert next(reader.entries()).seq == remaining
            (one,) = await lease(journal)
            assert sum(await prune(journal, after(60), most_bytes)) == 0
            await journal.release([one], NOW)
            assert sum(await prune(journal, after(60), most_bytes)) == 0
            await settle(journal, *await lease(journal))
        assert await prune(journal, after(60), most_bytes) == [1]
        assert [entry.seq for entry in reader.entries()] == [5, 6]

    async def test_revived(self, journal: Journal, reader: Reader) -> None:
        """The entry of a dead letter that is tried again stays."""
        await append(journal, draft("S1", "Invited", "log"), draft("S2"))
        await kill(journal)
        (record,) = reader.dead()
        assert retry(reader, record, NOW)
        assert await prune(journal, after(60), 0) == []
        assert seqs(await lease(journal)) == [1]

    async def test_forgotten_dead_letter(self, journal: Journal, reader: Reader) -> None:
        """A dead letter is forgotten with its entry; who still wants to try it again hears that it is none any more."""
        await append(journal, draft("S1", "Completed", "log"), draft("S2"))
        await kill(journal)
        (record,) = reader.dead()
        assert await prune(journal, after(60)) == [1]
        assert not retry(reader, record, NOW)

    async def test_unfinished_sessions(self, journal: Journal, reader: Reader) -> None:
        """What is known of a session that isn't finished outlives its entries, whether merged or not, bite by bite."""
        merged = {"id": "S2", "state": "Chatting", "userData": {"HUGE": 2**70}}
        await append(journal, draft("S1", "Invited", comment="hm"), draft("S2", "Chatting", merged=merged))
        await append(journal, repeat("S1"), *[other() for _ in range(1000)])
        for _ in range(2):
            await prune(journal, after(60), 0)
            assert await journal.known("agent1", "S1") == {"id": "S1", "state": "Invited", "comment": "hm"}
            assert await journal.known("agent1", "S2") == merged
            await append(journal, other(), other())
        assert verified(reader) == []
        await append(journal, draft("S1", "Chatting", before="Invited"))
        assert await journal.known("agent1", "S1") == {"id": "S1", "state": "Chatting"}
        assert verified(reader) == []

    @pytest.mark.parametrize("state", [*sorted(TERMINAL_STATES), VANISHED])
    async def test_finished_sessions(self, journal: Journal, reader: Reader, state: str) -> None:
        """A session that is finished, or has vanished, is forgotten with the entry that says so, and not before."""
        await append(journal, draft("S1", "Invited"), at=after(0))
        await append(journal, draft("S1", state, before="Invited"), other(), at=after(30))
        await prune(journal, after(30))
        assert await journal.known("agent1", "S1") == {"id": "S1", "state": state}
        await prune(journal, after(60))
        assert await journal.known("agent1", "S1") is None
        assert verified(reader) == []

    async def test_forgotten_predecessor(self, journal: Journal, reader: Reader) -> None:
        """A transition whose predecessor was forgotten is in order."""
        await append(journal, draft("S1", "Invited"))
        await append(journal, draft("S1", "Chatting", before="Invited"), at=after(30))
        await prune(journal, after(30))
        assert verified(reader) == []

    async def test_quarantine_by_age(self, journal: Journal, reader: Reader) -> None:
        """The quarantine is kept as long as entries are, but for its newest message; size doesn't count."""
        await append(journal, misfit(), misfit(), at=after(0))
        await append(journal, misfit(), misfit(), at=after(30))
        await prune(journal, after(0), 0)
        assert reader.statistics().quarantined == 4
        await prune(journal, after(30), None)
        assert [quarantined.seq for quarantined in reader.quarantined()] == [3, 4]
        await prune(journal, after(60), None)
        assert [quarantined.seq for quarantined in reader.quarantined()] == [4]

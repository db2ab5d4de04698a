"""Dead letters: tried again, or dropped."""

from daemon.journal.suite.engine import Part, states, verified
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Settlement
from journal_parts import NOW, after, append, draft, drop, kill, lease, life, other, retry, seqs, settle


class DeadLetters(Part):
    """How dead letters are tried again and dropped."""

    async def test_dead(self, journal: Journal, reader: Reader) -> None:
        """Dead letters can be listed, all of them or some, with what led to them."""
        await append(journal, draft("S1", "Invited", "log", "audit"), draft("S2", "Chatting", "log"))
        await kill(journal, "log", now=after(5))
        await kill(journal, "audit")
        assert [(record.seq, record.handler) for record in reader.dead()] == [(1, "audit"), (1, "log"), (2, "log")]
        assert [record.seq for record in reader.dead(handler="log")] == [1, 2]
        assert [record.handler for record in reader.dead(seq=1)] == ["audit", "log"]
        (record,) = reader.dead(seq=2, handler="log")
        assert record == DeliveryRecord(2, "log", "agent1", "S2", "Chatting", DeliveryState.DEAD, 1, "broke", after(5))

    async def test_retry(self, journal: Journal, reader: Reader) -> None:
        """A dead letter that is tried again is due now, with all its attempts, and is settled like any other."""
        await append(journal, draft("S1", "Invited", "log"))
        await kill(journal)
        (record,) = reader.dead()
        assert retry(reader, record, after(9))
        assert list(reader.dead()) == []
        assert await lease(journal, now=after(8)) == []
        (one,) = await lease(journal, now=after(9))
        assert (one.entry.seq, one.attempts, one.due_at) == (1, 0, after(9))
        await settle(journal, one)
        assert states(reader) == [(1, "delivered")]

    async def test_retry_goes_first(self, journal: Journal, reader: Reader) -> None:
        """A dead letter that is tried again goes before what waits, and before what is to be tried again."""
        await append(journal, *life("S1", "log"))
        await kill(journal)
        (two,) = await lease(journal)
        await journal.settle([Settlement(two, DeliveryState.DUE, 1, "timed out", after(1))], NOW)
        (record,) = reader.dead()
        assert retry(reader, record, NOW)
        assert states(reader) == [(1, "due"), (2, "waiting"), (3, "waiting")]
        for seq in (1, 2, 3):
            (one,) = await lease(journal, now=after(60))
            assert one.entry.seq == seq
            await settle(journal, one)

    async def test_retry_while_a_later_one_runs(self, journal: Journal, reader: Reader) -> None:
        """A dead letter that is tried again while a later one runs waits for it, and is then the next."""
        await append(journal, *life("S1", "log"))
        await kill(journal)
        (running,) = await lease(journal)
        (record,) = reader.dead()
        assert retry(reader, record, NOW)
        assert states(reader) == [(1, "waiting"), (2, "running"), (3, "waiting")]
        assert await lease(journal, now=after(59)) == []
        await settle(journal, running)
        assert seqs(await lease(journal)) == [1]
        assert verified(reader) == []

    async def test_retry_of_several(self, journal: Journal, reader: Reader) -> None:
        """Dead letters of one session can be tried again in any order: one is due, and each comes in its turn."""
        await append(journal, *life("S1", "log"))
        for _ in range(3):
            await kill(journal)
        for seq in (2, 1, 3):
            (record,) = reader.dead(seq=seq)
            assert retry(reader, record, NOW)
            assert len(await lease(journal, now=NOW, until=NOW)) == 1
        delivered: list[int] = []
        while leases := await lease(journal, now=after(60)):
            delivered += seqs(leases)
            await settle(journal, *leases)
        assert sorted(delivered) == [1, 2, 3]
        assert verified(reader) == []

    async def test_retry_of_all(self, journal: Journal, reader: Reader) -> None:
        """Dead letters can be tried again while they are being listed, and while the daemon writes."""
        await append(journal, *[draft(f"S{number}", "Invited", "log") for number in range(500)])
        await kill(journal)
        for record in reader.dead():
            await append(journal, other())
            assert retry(reader, record, NOW)
        assert len(await lease(journal, most=1000)) == 500

    async def test_no_dead_letter_any_more(self, journal: Journal, reader: Reader) -> None:
        """A dead letter is tried again or dropped once: a second time says that it is none any more."""
        await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"))
        await kill(journal)
        first, second = reader.dead()
        assert retry(reader, first, NOW)
        assert not retry(reader, first, NOW)
        assert not drop(reader, first, NOW)
        assert drop(reader, second, NOW)
        assert not drop(reader, second, NOW)
        assert not retry(reader, second, NOW)

    async def test_drop(self, journal: Journal, reader: Reader) -> None:
        """A dead letter that is dropped is withdrawn for good, with the reason."""
        await append(journal, draft("S1", "Invited", "log"))
        await kill(journal)
        (record,) = reader.dead()
        assert drop(reader, record, after(9))
        (dropped,) = reader.deliveries()
        assert (dropped.state, dropped.because, dropped.at) == (DeliveryState.WITHDRAWN, "dropped: no use", after(9))
        assert list(reader.dead()) == []
        assert await lease(journal, now=after(3600)) == []

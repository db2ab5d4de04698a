"""Delivering: leases, settlements, order."""

import pytest

from daemon.journal.suite.engine import Part, states
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Settlement
from journal_parts import NOW, after, append, draft, lease, life, seqs, settle

SETTLED = [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.WITHDRAWN]


class Delivering(Part):
    """How deliveries are handed out and settled."""

    async def test_lease(self, journal: Journal) -> None:
        """A lease carries all that a handler's attempt needs."""
        await append(journal, draft("S1", "Invited", "log", "audit"), at=after(-1))
        (one,) = await lease(journal, "log")
        assert (one.handler, one.attempts, one.due_at) == ("log", 0, NOW)
        assert (one.entry.seq, one.entry.received_at, one.entry.session) == (1, after(-1), "S1")
        assert seqs(await lease(journal, "audit")) == [1]

    async def test_nothing_due(self, journal: Journal) -> None:
        """Nothing is handed out for a handler that nothing is due for."""
        await append(journal, draft("S1", "Invited", "log"), draft("S2"))
        assert await lease(journal, "audit") == []

    async def test_due_later(self, journal: Journal) -> None:
        """A delivery that is due later isn't handed out before."""
        await append(journal, draft("S1", "Invited", "log", due_at=after(300)))
        assert await lease(journal, now=after(299.999999)) == []
        assert seqs(await lease(journal, now=after(300))) == [1]

    async def test_longest_due_first(self, journal: Journal) -> None:
        """Of more deliveries than there is room for, those that have been due longest are handed out first."""
        due = [5, 3, 1, 4, 2]
        await append(
            journal, *[draft(f"S{n}", "Invited", "log", due_at=after(seconds)) for n, seconds in enumerate(due)]
        )
        assert seqs(await lease(journal, now=after(9), most=2)) == [3, 5]
        assert seqs(await lease(journal, now=after(9), most=2)) == [2, 4]
        assert seqs(await lease(journal, now=after(9), most=2)) == [1]

    async def test_one_at_a_time(self, journal: Journal) -> None:
        """Of one session's deliveries to one handler only the first is due, however long the others have been."""
        await append(journal, *life("S1", "log"))
        assert seqs(await lease(journal)) == [1]
        assert await lease(journal) == []

    async def test_first_due_later(self, journal: Journal) -> None:
        """What comes after a delivery that is due later waits for it, even if it would be due itself."""
        await append(journal, draft("S1", "Invited", "log", due_at=after(300)), draft("S1", "Chatting", "log"))
        assert await lease(journal, now=after(299)) == []
        assert seqs(await lease(journal, now=after(300))) == [1]

    @pytest.mark.parametrize("state", SETTLED)
    async def test_settled(self, journal: Journal, reader: Reader, state: DeliveryState) -> None:
        """A settled delivery doesn't come again, says how it ended, and the next of its session and handler is due."""
        await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
        (one,) = await lease(journal)
        await journal.settle([Settlement(one, state, 3, "for a reason")], after(7))
        first, second = reader.deliveries()
        assert first == DeliveryRecord(1, "log", "agent1", "S1", "Invited", state, 3, "for a reason", after(7))
        assert second == DeliveryRecord(2, "log", "agent1", "S1", "Chatting", DeliveryState.DUE, 0, None, NOW)
        assert seqs(await lease(journal, now=after(7200))) == [2]

    async def test_clock_behind_another(self, journal: Journal) -> None:
        """A delivery that waited behind another is due when it was to be, not as soon as the other is settled."""
        await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log", due_at=after(300)))
        await settle(journal, *await lease(journal))
        assert await lease(journal, now=after(299)) == []
        assert seqs(await lease(journal, now=after(300))) == [2]

    async def test_side_by_side(self, journal: Journal) -> None:
        """Sessions, agents and handlers don't wait for each other."""
        await append(journal, draft("S1", "Invited", "log", "audit"), draft("S2", "Invited", "log"))
        await append(journal, draft("S1", "Invited", "log"), agent="agent2")
        assert sorted(seqs(await lease(journal, "log"))) == [1, 2, 3]
        assert seqs(await lease(journal, "audit")) == [1]

    async def test_lease_ends(self, journal: Journal) -> None:
        """A delivery that isn't settled comes again when its lease ends, and not before; it cost no attempt."""
        await append(journal, draft("S1", "Invited", "log"))
        await lease(journal, until=after(60))
        assert await lease(journal, now=after(59)) == []
        (again,) = await lease(journal, now=after(60))
        assert (again.entry.seq, again.attempts, again.due_at) == (1, 0, NOW)

    @pytest.mark.parametrize("state", [*SETTLED, DeliveryState.DUE])
    async def test_late_settlement(self, journal: Journal, reader: Reader, state: DeliveryState) -> None:
        """A settlement after the delivery was handed out again has no effect: it is the other's to settle."""
        await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
        (late,) = await lease(journal, until=after(60))
        (one,) = await lease(journal, now=after(60), until=after(120))
        await journal.settle([Settlement(late, state, 1, "late", after(61))], after(61))
        assert states(reader) == [(1, "running"), (2, "waiting")]
        assert await lease(journal, now=after(119)) == []
        await settle(journal, one)
        assert states(reader) == [(1, "delivered"), (2, "due")]

    async def test_settlement_of_an_ended_lease(self, journal: Journal, reader: Reader) -> None:
        """A settlement that comes after its lease ended counts, as long as nobody else has the delivery."""
        await append(journal, draft("S1", "Invited", "log"))
        (one,) = await lease(journal, until=after(60))
        await settle(journal, one, now=after(90))
        assert states(reader) == [(1, "delivered")]

    async def test_settled_twice(self, journal: Journal, reader: Reader) -> None:
        """A second settlement has no effect, in the same call or later."""
        await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
        (one,) = await lease(journal)
        await settle(journal, one, one)
        await settle(journal, one, state=DeliveryState.DEAD)
        assert states(reader) == [(1, "delivered"), (2, "due")]

    async def test_tried_again(self, journal: Journal, reader: Reader) -> None:
        """A failed delivery comes again after its pause, with its attempts and its reason, before all that waits."""
        await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
        (one,) = await lease(journal)
        await journal.settle([Settlement(one, DeliveryState.DUE, 2, "timed out", after(30))], after(1))
        due, waiting = reader.deliveries()
        assert due == DeliveryRecord(1, "log", "agent1", "S1", "Invited", DeliveryState.DUE, 2, "timed out", after(30))
        assert waiting.state is DeliveryState.WAITING
        assert await lease(journal, now=after(29)) == []
        (again,) = await lease(journal, now=after(30))
        assert (again.entry.seq, again.attempts, again.due_at) == (1, 2, NOW)

    async def test_tried_again_at_once(self, journal: Journal) -> None:
        """A failed delivery without a pause is due now."""
        await append(journal, draft("S1", "Invited", "log"))
        (one,) = await lease(journal)
        await journal.settle([Settlement(one, DeliveryState.DUE, 1)], after(1))
        assert await journal.next_due("log") == after(1)

    async def test_release(self, journal: Journal, reader: Reader) -> None:
        """An interrupted delivery is due at once and first; it costs no attempt, and the reason of the last stays."""
        await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
        (one,) = await lease(journal)
        await journal.settle([Settlement(one, DeliveryState.DUE, 1, "timed out", NOW)], NOW)
        await journal.release(await lease(journal), after(5))
        assert next(reader.deliveries()).because == "timed out"
        (again,) = await lease(journal, now=after(5))
        assert (again.entry.seq, again.attempts) == (1, 1)

    async def test_late_release(self, journal: Journal) -> None:
        """A release that comes after the delivery was handed out again has no effect."""
        await append(journal, draft("S1", "Invited", "log"))
        late = await lease(journal, until=after(60))
        await lease(journal, now=after(60), until=after(120))
        await journal.release(late, after(61))
        assert await lease(journal, now=after(119)) == []

    async def test_next_due(self, journal: Journal) -> None:
        """A handler's next delivery is due when the first of them is: at its time, or when a lease ends."""
        assert await journal.next_due("log") is None
        await append(journal, draft("S1", "Invited", "log", due_at=after(300)), draft("S2", "Invited", "audit"))
        assert await journal.next_due("log") == after(300)
        await append(journal, draft("S3", "Invited", "log", due_at=after(-5)))
        assert await journal.next_due("log") == after(-5)
        (one,) = await lease(journal, until=after(60))
        assert await journal.next_due("log") == after(60)
        await settle(journal, one)
        assert await journal.next_due("log") == after(300)

    async def test_wakes(self, journal: Journal) -> None:
        """Who waits for a handler's deliveries is woken by an append and a settlement, of that handler only."""
        log, audit = journal.wakes("log"), journal.wakes("audit")
        assert not log.is_set()
        await append(journal, draft("S1", "Invited", "log"))
        assert log.is_set()
        assert not audit.is_set()
        log.clear()
        leases = await lease(journal)
        assert not log.is_set()
        await journal.release(leases, NOW)
        assert log.is_set()
        assert journal.wakes("log") is log

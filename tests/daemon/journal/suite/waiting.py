"""Waiting: clocks of `for`, throttles, and what a handler doesn't want."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from daemon.journal.suite.engine import Part, states, verified
from fbsessiond.conditions import Throttle
from fbsessiond.handler import Done
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryState, Draft, Entry, NotWanted, Settlement, Wait, Wanted
from fbsessiond.message import Origin
from fbsessiond.operations import Operation
from journal_parts import NOW, after, append, draft, kill, lease, other, repeat, retry, seqs, settle

FIRST = Throttle("1/session/agent1/S1", timedelta(seconds=60), is_last=False)
LAST = Throttle("1/agent/agent1", timedelta(seconds=60), is_last=True)


def clock(session: str = "S1", *handlers: str, seconds: float = 300, before: str | None = None) -> Draft:
    """Return that a session's agent leaves it, wanted when it stays so for some seconds after `NOW`."""
    return draft(session, "LeftChat", *(handlers or ("log",)), before=before, due_at=after(seconds), wait=Wait.FOR)


def completed(*handlers: str, session: str = "S1") -> Draft:
    """Return that a session ends."""
    return draft(session, "Completed", *handlers, before="LeftChat")


def because(reader: Reader, seq: int) -> str:
    """Return why an entry's one delivery is as it is."""
    (record,) = reader.deliveries(seq=seq)
    return record.because or ""


class Waiting(Part):
    """What waits for its time, or is held back."""

    async def test_not_wanted(self, journal: Journal, reader: Reader) -> None:
        """That a handler doesn't want an entry is kept with the reason, and nothing comes of it."""
        await append(journal, draft("S1", "Invited", "log", not_wanted=[NotWanted("audit", "to: was Invited")]))
        refused, wanted = reader.deliveries()
        assert (refused.id, refused.state, refused.because, refused.at) == (
            "1/audit",
            DeliveryState.NOT_WANTED,
            "to: was Invited",
            NOW,
        )
        assert wanted.id == "1/log"
        assert await lease(journal, "audit", now=after(9)) == []
        assert reader.statistics().deliveries == {"not_wanted": 1, "due": 1}
        assert list(reader.dead()) == []

    async def test_clock(self, journal: Journal, reader: Reader) -> None:
        """A clock waits until its time, is handed out as what it is, and ends like any delivery."""
        await append(journal, clock())
        (record,) = reader.deliveries()
        assert (record.state, record.at) == (DeliveryState.WAITING, after(300))
        assert await lease(journal, now=after(299)) == []
        assert await journal.next_due("log") == after(300)
        (one,) = await lease(journal, now=after(310))
        assert (one.wait, one.due_at) == (Wait.FOR, after(300))
        await settle(journal, one, now=after(310))
        assert states(reader) == [(1, "delivered")]

    async def test_left(self, journal: Journal, reader: Reader) -> None:
        """Leaving the state withdraws the session's clocks, of every handler, and says so; others' run on."""
        await append(journal, clock("S1", "log", "audit"), clock("S2"))
        await append(journal, clock("S1"), agent="agent2")
        await append(journal, completed("log"), at=after(290.5))
        assert states(reader) == [(1, "withdrawn"), (1, "withdrawn"), (2, "waiting"), (3, "waiting"), (4, "due")]
        reasons = {record.because for record in reader.deliveries(seq=1)}
        assert reasons == {
            "the session was Completed (entry 4) 9.5 s before the clock's end, 2026-01-01T00:05:00.000000Z"
        }
        assert seqs(await lease(journal, now=after(290.5))) == [4]
        assert verified(reader) == []

    async def test_left_in_the_same_batch(self, journal: Journal, reader: Reader) -> None:
        """A clock that begins and ends in one batch is withdrawn."""
        await append(
            journal,
            draft("S2", "Invited", "log"),
            clock(),
            completed("log"),
            draft("S2", "Chatting", "log", before="Invited"),
        )
        assert states(reader) == [(1, "due"), (2, "withdrawn"), (3, "due"), (4, "waiting")]
        assert verified(reader) == []

    @pytest.mark.parametrize("others", [(), (Wanted("audit", NOW),)], ids=["alone", "beside another"])
    async def test_left_in_the_same_batch_as_begun(
        self, journal: Journal, reader: Reader, others: Sequence[Wanted]
    ) -> None:
        """A clock that ends in the batch in which it began is withdrawn, whoever else wanted its entry."""
        begun = clock()
        await append(journal, replace(begun, wanted=[*begun.wanted, *others]), completed())
        assert states(reader)[-1] == (1, "withdrawn")

    async def test_what_is_no_transition(self, journal: Journal, reader: Reader) -> None:
        """What doesn't change the state leaves the clock running."""
        await append(journal, clock())
        await append(journal, other(), repeat(), at=after(5))
        assert states(reader) == [(1, "waiting")]

    async def test_left_too_late(self, journal: Journal, reader: Reader) -> None:
        """A clock whose time has come stays, though it hasn't run yet: the state lasted long enough."""
        await append(journal, clock())
        await append(journal, completed("log"), at=after(300))
        assert states(reader) == [(1, "waiting"), (2, "waiting")]
        assert seqs(await lease(journal, now=after(301))) == [1]

    async def test_behind_a_clock(self, journal: Journal, reader: Reader) -> None:
        """What waits behind a clock is due once that is withdrawn, since it isn't wanted any more."""
        await append(journal, clock())
        await append(journal, completed("log"), at=after(300))
        await journal.wind("log", [], after(301))
        assert states(reader) == [(1, "withdrawn"), (2, "due")]
        assert verified(reader) == []

    async def test_left_unseen(self, journal: Journal, reader: Reader) -> None:
        """Where a snapshot found the change, nobody knows how long the state lasted: the clock is withdrawn."""
        await append(journal, clock())
        await append(journal, completed(), at=after(900), origin=Origin.SNAPSHOT)
        assert states(reader) == [(1, "withdrawn")]
        assert because(reader, 1) == (
            "the session was Completed (entry 2) when it was seen again: whether it stayed long enough isn't known"
        )

    async def test_left_before_it_was_unseen(self, journal: Journal, reader: Reader) -> None:
        """A clock whose time had come when its session was seen to leave isn't ended by what a snapshot finds later."""
        await append(journal, clock(seconds=5))
        await append(journal, draft("S1", "LeftChat", before="Chatting"), at=after(6))
        await append(journal, completed(), at=after(900), origin=Origin.SNAPSHOT)
        assert states(reader) == [(1, "waiting")]
        assert seqs(await lease(journal, now=after(900))) == [1]

    @pytest.mark.parametrize("failed", [False, True])
    async def test_left_when_it_has_fired(self, journal: Journal, reader: Reader, failed: bool) -> None:
        """A clock that has fired isn't withdrawn: it runs, or is tried again."""
        await append(journal, clock(seconds=5))
        (one,) = await lease(journal, now=after(5))
        if failed:
            await journal.settle([Settlement(one, DeliveryState.DUE, 1, "broke", after(60))], after(6))
        await append(journal, completed(), at=after(6), origin=Origin.SNAPSHOT)
        assert states(reader) == [(1, "due" if failed else "running")]

    async def test_interrupted(self, journal: Journal) -> None:
        """A clock that fired and was handed back is still one that its session's leaving at its time doesn't end."""
        await append(journal, clock(seconds=5))
        await journal.release(await lease(journal, now=after(5)), after(6))
        await append(journal, completed(), at=after(5))
        assert seqs(await lease(journal, now=after(7))) == [1]

    async def test_behind_another(self, journal: Journal, reader: Reader) -> None:
        """A clock behind another delivery is withdrawn as well; what waits behind a withdrawn clock is due."""
        await append(journal, draft("S1", "Chatting", "log"), clock(before="Chatting"))
        await append(journal, completed("log"), at=after(1))
        assert states(reader) == [(1, "due"), (2, "withdrawn"), (3, "waiting")]
        await settle(journal, *await lease(journal))
        assert seqs(await lease(journal, now=after(2))) == [3]

    async def test_revived(self, journal: Journal, reader: Reader) -> None:
        """A clock that became a dead letter and is tried again is a delivery like any other."""
        await append(journal, clock(seconds=5))
        await kill(journal, now=after(5))
        (dead,) = reader.dead()
        assert retry(reader, dead, after(6))
        (one,) = await lease(journal, now=after(6))
        assert one.wait is None

    async def test_standing(self, journal: Journal) -> None:
        """The entries that brought sessions to their states are those of the last transitions, of what isn't over."""
        await append(journal, draft("S1", "Invited"), draft("S1", "Chatting", before="Invited"), clock("S2"))
        await append(journal, draft("S3", "LeftChat"), completed(session="S3"), draft("S1", "Revoked"), agent="agent2")
        assert [(entry.seq, entry.after) for entry in await journal.standing()] == [(2, "Chatting"), (3, "LeftChat")]

    async def test_clocks(self, journal: Journal) -> None:
        """A handler's clocks are those that haven't fired."""
        await append(journal, clock("S1", seconds=5), clock("S2"), clock("S3", "audit"), draft("S4", "LeftChat", "log"))
        assert [entry.session for entry in await journal.clocks("log")] == ["S1", "S2"]
        await lease(journal, now=after(5))
        assert [entry.session for entry in await journal.clocks("log")] == ["S2"]

    async def test_wind(self, journal: Journal, reader: Reader) -> None:
        """Clocks are changed, withdrawn and begun as they are wanted now."""
        no = [NotWanted("log", "to: was LeftChat")]
        await append(journal, clock("S1"), clock("S2"), draft("S3", "LeftChat", not_wanted=no), draft("S4", "LeftChat"))
        one, two, three, four = await entries(journal)
        await journal.wind("log", [(one, after(60)), (three, after(70)), (four, after(-5))], after(10))
        assert [(record.seq, record.state.value, record.at) for record in reader.deliveries()] == [
            (1, "waiting", after(60)),
            (2, "withdrawn", after(10)),
            (3, "waiting", after(70)),
            (4, "waiting", after(-5)),
        ]
        assert because(reader, 2) == "the configuration has no such clock any more"
        assert two.session == "S2"
        assert seqs(await lease(journal, now=after(10))) == [4]
        assert verified(reader) == []

    async def test_wind_nothing(self, journal: Journal, reader: Reader) -> None:
        """Only clocks that haven't fired are withdrawn, and only the handler's own."""
        fired = [clock("S1", seconds=1), clock("S2", seconds=2)]
        await append(journal, *fired, clock("S3"), clock("S4", "audit"), draft("S5", "Invited", "log", due_at=after(9)))
        (one,) = await lease(journal, now=after(1))
        await journal.settle([Settlement(one, DeliveryState.DUE, 1, "broke", after(60))], after(1))
        await lease(journal, now=after(2))
        await journal.wind("log", [], after(3))
        assert states(reader) == [(1, "due"), (2, "running"), (3, "withdrawn"), (4, "waiting"), (5, "due")]

    async def test_wind_each(self, journal: Journal, reader: Reader) -> None:
        """Each clock is set to its own time, which counts when its session leaves the state."""
        await append(journal, clock("S1", "log", "audit"), clock("S2"))
        one, two = await entries(journal)
        await journal.wind("log", [(one, after(60)), (two, after(70))], NOW)
        assert [(record.id, record.at) for record in reader.deliveries()] == [
            ("1/audit", after(300)),
            ("1/log", after(60)),
            ("2/log", after(70)),
        ]
        await append(journal, completed(), at=after(65))
        assert states(reader) == [(1, "withdrawn"), (1, "waiting"), (2, "waiting")]

    async def test_wind_again(self, journal: Journal, reader: Reader) -> None:
        """What was delivered, withdrawn, given up, or runs stays so, however often clocks are wound."""
        await append(
            journal, clock("S1", seconds=1), clock("S2", seconds=2), clock("S3"), draft("S4", "LeftChat", "log")
        )
        await settle(journal, *await lease(journal, now=after(1)))
        await kill(journal, now=after(2))
        await append(journal, completed(session="S3"), clock("S5", seconds=3), at=after(3))
        await lease(journal, now=after(3))
        before = list(reader.deliveries())
        some = [entry for entry in await entries(journal) if entry.after == "LeftChat"]
        for _ in range(2):
            await journal.wind("log", [(entry, after(9)) for entry in some], after(4))
        assert list(reader.deliveries()) == before
        assert verified(reader) == []

    async def test_wind_wakes(self, journal: Journal) -> None:
        """Who waits for a handler's deliveries hears that its clocks were wound."""
        await append(journal, draft("S1", "LeftChat"))
        journal.wakes("log").clear()
        await journal.wind("log", [(entry, NOW) for entry in await journal.standing()], NOW)
        assert journal.wakes("log").is_set()

    async def test_once_within(self, journal: Journal, reader: Reader) -> None:
        """Of transitions that are counted together the first counts, and none for a while after it."""
        for seconds, session in [(0, "S1"), (59.9, "S1"), (60, "S1"), (61, "S2")]:
            await append(journal, draft(session, "LeftChat", "log", throttle=FIRST), at=after(seconds))
        assert await journal.next_due("log") == NOW
        assert states(reader) == [(1, "due"), (2, "not_wanted"), (3, "waiting"), (4, "not_wanted")]
        assert because(reader, 2) == "once_within: entry 1 counted, and for 0.1 s more none does"
        assert because(reader, 4) == "once_within: entry 3 counted, and for 59 s more none does"

    async def test_throttles_apart(self, journal: Journal, reader: Reader) -> None:
        """Handlers and groups count apart."""
        another = Throttle("1/session/agent1/S2", FIRST.pause, is_last=False)
        await append(journal, draft("S1", "LeftChat", "log", "audit", throttle=FIRST))
        await append(journal, draft("S2", "LeftChat", "log", throttle=another))
        assert states(reader) == [(1, "due"), (1, "due"), (2, "due")]

    async def test_once_after(self, journal: Journal, reader: Reader) -> None:
        """Of transitions that are counted together the last counts, when the pause since the first is over."""
        for seconds, session in [(0, "S1"), (20, "S2"), (59.9, "S3"), (60, "S4")]:
            await append(journal, draft(session, "LeftChat", "log", throttle=LAST), at=after(seconds))
        assert states(reader) == [(1, "withdrawn"), (2, "withdrawn"), (3, "waiting"), (4, "waiting")]
        assert because(reader, 1) == "once_after: entry 2 takes its place"
        assert await lease(journal, now=after(59.9)) == []
        (one,) = await lease(journal, now=after(60))
        assert (one.entry.seq, one.wait, one.due_at) == (3, Wait.ONCE_AFTER, after(60))
        await settle(journal, one, now=after(60))
        assert seqs(await lease(journal, now=after(120))) == [4]
        assert verified(reader) == []

    async def test_once_after_apart(self, journal: Journal, reader: Reader) -> None:
        """What takes the place of another leaves other handlers' and other groups' alone, and frees what waits."""
        another = Throttle("1/agent/agent2", LAST.pause, is_last=True)
        await append(journal, draft("S1", "LeftChat", "log", "audit", throttle=LAST), completed("log"))
        await append(journal, draft("S2", "LeftChat", "log", throttle=another))
        await append(journal, draft("S3", "LeftChat", "log", throttle=LAST), at=after(1))
        assert [(record.id, record.state.value) for record in reader.deliveries()] == [
            ("1/audit", "waiting"),
            ("1/log", "withdrawn"),
            ("2/log", "due"),
            ("3/log", "waiting"),
            ("4/log", "waiting"),
        ]
        assert verified(reader) == []

    async def test_once_after_and_the_state(self, journal: Journal, reader: Reader) -> None:
        """What waits for the end of a pause doesn't care whether its session leaves the state."""
        await append(journal, draft("S1", "LeftChat", "log", throttle=LAST))
        await append(journal, completed(), at=after(1))
        assert states(reader) == [(1, "waiting")]

    async def test_throttles_in_one_batch(self, journal: Journal, reader: Reader) -> None:
        """Throttles count what comes in one batch, in its order, among what has none."""
        one = draft("S1", "LeftChat", "log", throttle=FIRST)
        await append(
            journal,
            draft("S1", "Chatting", "log"),
            replace(one, wanted=[*one.wanted, Wanted("audit", NOW)]),
            draft("S1", "Completed", "log", throttle=FIRST),
        )
        assert states(reader) == [(1, "due"), (2, "due"), (2, "waiting"), (3, "not_wanted")]
        assert seqs(await lease(journal)) == [1]

    async def test_throttles_forgotten(self, journal: Journal, reader: Reader) -> None:
        """A throttle whose pause ended long ago is forgotten, and one that counts stays."""
        await append(journal, draft("S1", "LeftChat", "log", throttle=FIRST))
        await journal.prune(after(59), None)
        await append(journal, draft("S1", "Chatting", "log", throttle=FIRST), at=after(59.5))
        await journal.prune(after(61), None)
        await append(journal, draft("S1", "LeftChat", "log", throttle=FIRST), at=after(59.6))
        assert states(reader) == [(1, "due"), (2, "not_wanted"), (3, "waiting")]

    async def test_shift(self, journal: Journal, reader: Reader) -> None:
        """When the machine's time was set, all that is to happen later is as far away as it was."""
        ask = Done(Operation.complete("S3")).follow_ups
        await append(
            journal, clock("S1"), draft("S2", "LeftChat", "log", throttle=LAST), draft("S3", "LeftChat", "ask")
        )
        (asking,) = await lease(journal, "ask")
        await journal.settle([Settlement(asking, DeliveryState.DELIVERED, 1, follow_ups=ask)], NOW)
        await journal.shift(timedelta(hours=1))
        assert await journal.next_due("log") == after(3660)
        assert await journal.next_follow_up_due() == after(3600)
        await append(journal, draft("S4", "LeftChat", "log", throttle=LAST), at=after(3650))
        assert states(reader) == [(1, "waiting"), (2, "withdrawn"), (3, "delivered"), (4, "waiting")]
        await journal.shift(timedelta(hours=-1))
        assert await journal.next_due("log") == after(60)
        assert verified(reader) == []


async def entries(journal: Journal) -> list[Entry]:
    """Return the entries of a journal's transitions."""
    with_reader = journal.reader()
    return list(with_reader.entries())

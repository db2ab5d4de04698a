"""Follow-ups: what handlers asked for, one at a time for each session."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from daemon.journal.suite.engine import Engine, Part, prune, states, verified
from fbsessiond.follow_up import FollowUp, FollowUpState, Progress
from fbsessiond.journal.interface import FOLLOW_UPS, Journal, Reader
from fbsessiond.journal.records import DeliveryState, FollowUpLease, FollowUpRecord, Settlement
from fbsessiond.operations import Operation
from journal_parts import NOW, after, append, draft, drop, lease, other, repeat, retry

ENDED = [state for state in FollowUpState if not state.is_open]
SUCCEEDED = [state for state in ENDED if state.has_succeeded]
NOT_SUCCEEDED = [state for state in ENDED if not state.has_succeeded]

SENT = Progress(FollowUpState.SENT, 1, after(2), 7)
CONFIRMED = Progress(FollowUpState.CONFIRMED, 1, after(2), 7, 35)
BEGUN = [replace(SENT, state=state, again_at=after(5)) for state in (FollowUpState.SENT, FollowUpState.ACCEPTED)]
PARKED = replace(SENT, state=FollowUpState.PARKED, because="in doubt")


async def ask(
    journal: Journal,
    *operations: FollowUp,
    session: str = "S1",
    handler: str = "wrap-up",
    agent: str = "agent1",
    now: datetime = NOW,
) -> int:
    """Let a handler ask for operations at a session's transition; return the entry's number."""
    before = (await journal.known(agent, session) or {}).get("state")
    await append(journal, draft(session, "LeftChat", handler, before=before), agent=agent, at=now)
    (one,) = await lease(journal, handler, now=now)
    await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=operations)], now)
    return one.entry.seq


async def lease_follow_ups(
    journal: Journal, *, now: datetime = NOW, until: datetime | None = None, most: int = 100
) -> Sequence[FollowUpLease]:
    """Lease what is due, for a minute unless told otherwise."""
    return await journal.lease_follow_ups(most, now, until or after(60))


async def end(journal: Journal, progress: Progress = CONFIRMED, *, now: datetime = NOW, most: int = 100) -> list[str]:
    """End all follow-ups that are due, and return which they were."""
    leases = await lease_follow_ups(journal, now=now, most=most)
    for one in leases:
        await journal.record_follow_up(one, progress, now)
    return ids(leases)


async def end_all(journal: Journal, progress: Progress = CONFIRMED, *, now: datetime = NOW) -> list[list[str]]:
    """End follow-ups as they become due, and return which they were each time."""
    ended: list[list[str]] = []
    while due := await end(journal, progress, now=now):
        ended.append(due)
    return ended


def ids(found: Sequence[FollowUpLease | FollowUpRecord]) -> list[str]:
    """Return the names of follow-ups."""
    return [one.id for one in found]


def follow_up_states(reader: Reader) -> list[str]:
    """Return each follow-up's state."""
    return [record.progress.state.value for record in reader.follow_ups()]


def comment(number: int, session: str = "S1") -> Operation:
    """Return an operation that differs from another by its number."""
    return Operation.add_comment(session, f"number {number}")


class FollowUps(Part):
    """How follow-ups are written down, handed out and ended."""

    async def test_follow_up_lease(self, journal: Journal) -> None:
        """A follow-up's lease carries all that is needed to carry it out."""
        operation = Operation.attach_user_data("S1", {"a": {"b": [1, 2.5, None, "ü\u2028\x00"]}, "HUGE": 2**70})
        await ask(journal, operation)
        (one,) = await lease_follow_ups(journal)
        assert (one.seq, one.handler, one.step, one.id) == (1, "wrap-up", 1, "1/wrap-up/1")
        assert (one.agent, one.operation, one.progress) == ("agent1", operation, Progress())

    async def test_follow_ups_of_a_session(self, journal: Journal, reader: Reader) -> None:
        """A session's follow-ups are those that its own entries caused, and those of others that act on it."""
        await ask(journal, comment(1), comment(2, "S2"))
        await ask(journal, comment(3, "S3"), session="S2")
        await ask(journal, comment(4, "S1"), session="S2", agent="agent2")
        await ask(journal, comment(5, "S2"), session="S3", agent="agent3")
        assert ids(list(reader.follow_ups(session="S1"))) == ["1/wrap-up/1", "1/wrap-up/2", "3/wrap-up/1"]
        assert ids(list(reader.follow_ups(session="S2", agent="agent1"))) == ["1/wrap-up/2", "2/wrap-up/1"]
        assert ids(list(reader.follow_ups(session="S2", agent="agent3"))) == ["4/wrap-up/1"]
        assert ids(list(reader.follow_ups(session="S4"))) == []
        assert ids(list(reader.follow_ups(seq=3))) == ["3/wrap-up/1"]

    async def test_no_follow_ups(self, journal: Journal, reader: Reader) -> None:
        """A delivery without follow-ups leaves none."""
        await ask(journal)
        assert await lease_follow_ups(journal) == []
        assert list(reader.follow_ups()) == []

    @pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DUE])
    async def test_settlement_too_late(self, journal: Journal, reader: Reader, state: DeliveryState) -> None:
        """Nothing is asked for by a settlement after the delivery was handed out again, or by one that isn't final."""
        await append(journal, draft("S1", "LeftChat", "wrap-up"))
        (late,) = await lease(journal, "wrap-up", until=after(60))
        (again,) = await lease(journal, "wrap-up", now=after(60), until=after(120))
        settled = late if state is DeliveryState.DELIVERED else again
        await journal.settle([Settlement(settled, state, 1, follow_ups=[comment(1)])], after(61))
        assert list(reader.follow_ups()) == []

    async def test_steps(self, journal: Journal) -> None:
        """Steps come one after the other, each when the one before has ended."""
        await ask(journal, comment(1), comment(2), comment(3))
        (one,) = await lease_follow_ups(journal)
        assert await lease_follow_ups(journal) == []
        await journal.record_follow_up(one, CONFIRMED, after(1))
        assert await journal.next_follow_up_due() == after(1)
        assert await end_all(journal, now=after(1)) == [["1/wrap-up/2"], ["1/wrap-up/3"]]

    async def test_more_than_nine_steps(self, journal: Journal) -> None:
        """Steps are in the order of their numbers, and so are entries."""
        for _ in range(10):
            await ask(journal)
        await ask(journal, *[comment(number) for number in range(11)])
        await ask(journal, comment(1))
        expected = [f"11/wrap-up/{number}" for number in range(1, 12)]
        assert await end_all(journal) == [[each] for each in [*expected, "12/wrap-up/1"]]

    async def test_follow_ups_side_by_side(self, journal: Journal) -> None:
        """Sessions and agents don't wait for each other."""
        await ask(journal, comment(1))
        await ask(journal, comment(1, "S2"), session="S2")
        await ask(journal, comment(1), agent="agent2")
        assert ids(await lease_follow_ups(journal, most=2)) == ["1/wrap-up/1", "2/wrap-up/1"]
        assert ids(await lease_follow_ups(journal)) == ["3/wrap-up/1"]

    async def test_longest_due_follow_up_first(self, journal: Journal) -> None:
        """Of more follow-ups than there is room for, those that have been due longest are handed out first."""
        for seconds in (5, 3, 4):
            await ask(journal, comment(1, f"S{seconds}"), session=f"S{seconds}", now=after(seconds))
        assert ids(await lease_follow_ups(journal, now=after(9), most=2)) == ["2/wrap-up/1", "3/wrap-up/1"]

    async def test_handlers_of_one_session(self, journal: Journal, reader: Reader) -> None:
        """What several handlers ask for on one session goes by entry, handler and step, whoever asked first."""
        await append(
            journal, draft("S1", "Chatting", "log", "audit"), draft("S1", "LeftChat", "wrap-up", before="Chatting")
        )
        for handler in ("wrap-up", "log", "audit"):
            (one,) = await lease(journal, handler)
            asked = [comment(1), comment(2)]
            await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=asked)], NOW)
        assert verified(reader) == []
        assert await end_all(journal) == [
            [f"{delivery}/{step}"] for delivery in ("1/audit", "1/log", "2/wrap-up") for step in (1, 2)
        ]

    @pytest.mark.parametrize("begun", [None, *BEGUN], ids=["running", "in doubt", "passed on"])
    async def test_earlier_one_while_another_has_begun(
        self, journal: Journal, reader: Reader, begun: Progress | None
    ) -> None:
        """What has begun ends before an earlier one goes, though that comes first otherwise."""
        await append(journal, draft("S1", "Chatting", "log"), draft("S1", "LeftChat", "wrap-up", before="Chatting"))
        (earlier,) = await lease(journal, "log")
        (later,) = await lease(journal, "wrap-up")
        await journal.settle([Settlement(later, DeliveryState.DELIVERED, 1, follow_ups=[comment(1)])], NOW)
        (running,) = await lease_follow_ups(journal)
        if begun is not None:
            await journal.record_follow_up(running, begun, NOW)
        await journal.settle([Settlement(earlier, DeliveryState.DELIVERED, 1, follow_ups=[comment(1)])], NOW)
        assert await lease_follow_ups(journal) == []
        assert verified(reader) == []
        if begun is not None:
            (running,) = await lease_follow_ups(journal, now=after(5))
        await journal.record_follow_up(running, CONFIRMED, after(5))
        assert await end_all(journal, now=after(5)) == [["1/log/1"]]

    async def test_other_sessions(self, journal: Journal, reader: Reader) -> None:
        """Steps on several sessions come one after the other, too, and each waits for its own session."""
        await ask(journal, comment(1), comment(2, "S2"), comment(3), comment(4, "S3"))
        await ask(journal, comment(1, "S2"), session="S2")
        assert verified(reader) == []
        assert await end_all(journal) == [[f"1/wrap-up/{step}"] for step in (1, 2)] + [
            ["1/wrap-up/3", "2/wrap-up/1"],
            ["1/wrap-up/4"],
        ]

    @pytest.mark.parametrize("begun", BEGUN, ids=["in doubt", "passed on"])
    async def test_another_session_while_a_step_has_begun(
        self, journal: Journal, reader: Reader, begun: Progress
    ) -> None:
        """A step on another session waits for the one before it however far that is, and what comes after waits too."""
        await ask(journal, comment(1), comment(2, "S2"))
        await end(journal, begun)
        await ask(journal, comment(1, "S2"), session="S2")
        assert await lease_follow_ups(journal) == []
        assert verified(reader) == []
        assert await end_all(journal, now=after(5)) == [["1/wrap-up/1"], ["1/wrap-up/2"], ["2/wrap-up/1"]]

    async def test_other_sessions_crosswise(self, journal: Journal) -> None:
        """Deliveries that ask for something on each other's sessions don't wait for each other for ever."""
        await ask(journal, comment(1), comment(2, "S2"))
        await ask(journal, comment(1, "S2"), comment(2), session="S2")
        assert await end_all(journal) == [["1/wrap-up/1"], ["1/wrap-up/2"], ["2/wrap-up/1"], ["2/wrap-up/2"]]

    async def test_withdrawn_on_another_session(self, journal: Journal, reader: Reader) -> None:
        """Withdrawn steps on other sessions free those, too."""
        await ask(journal, comment(1), comment(2, "S2"))
        await ask(journal, comment(1, "S2"), session="S2")
        assert await end(journal, PARKED) == ["1/wrap-up/1"]
        assert verified(reader) == []
        assert await end_all(journal) == [["2/wrap-up/1"]]

    async def test_follow_up_lease_ends(self, journal: Journal) -> None:
        """A follow-up that isn't recorded comes again when its lease ends, and not before, with its progress."""
        await ask(journal, comment(1))
        (one,) = await lease_follow_ups(journal, until=after(60))
        await journal.record_follow_up(one, SENT, after(2))
        assert await lease_follow_ups(journal, now=after(59)) == []
        assert await journal.next_follow_up_due() == after(60)
        (again,) = await lease_follow_ups(journal, now=after(60))
        assert (again.id, again.progress) == (one.id, SENT)
        assert again.number != one.number

    @pytest.mark.parametrize("state", FollowUpState)
    async def test_late_record(self, journal: Journal, reader: Reader, state: FollowUpState) -> None:
        """What is recorded after the follow-up was handed out again changes nothing: it is the other's."""
        await ask(journal, comment(1), comment(2))
        (late,) = await lease_follow_ups(journal, until=after(60))
        (one,) = await lease_follow_ups(journal, now=after(60), until=after(120))
        before = list(reader.follow_ups())
        await journal.record_follow_up(late, Progress(state, 9, again_at=after(61)), after(61))
        await journal.release_follow_ups([late], after(61))
        assert list(reader.follow_ups()) == before
        assert await lease_follow_ups(journal, now=after(119)) == []
        await journal.record_follow_up(one, CONFIRMED, after(61))
        assert follow_up_states(reader) == ["confirmed", "intended"]

    @pytest.mark.parametrize("state", ENDED)
    async def test_ended_twice(self, journal: Journal, reader: Reader, state: FollowUpState) -> None:
        """What has ended stays as it is."""
        await ask(journal, comment(1))
        (one,) = await lease_follow_ups(journal)
        await journal.record_follow_up(one, Progress(state), NOW)
        before = list(reader.follow_ups())
        await journal.record_follow_up(one, SENT, after(1))
        await journal.release_follow_ups([one], after(1))
        assert list(reader.follow_ups()) == before
        assert await journal.next_follow_up_due() is None

    async def test_again(self, journal: Journal, reader: Reader) -> None:
        """What is to go on later is postponed until then, before all that waits behind it."""
        await ask(journal, comment(1), comment(2))
        (one,) = await lease_follow_ups(journal)
        again = Progress(FollowUpState.INTENDED, 2, because="GWS is busy", again_at=after(90))
        await journal.record_follow_up(one, again, after(3))
        assert await journal.next_follow_up_due() == after(90)
        assert await lease_follow_ups(journal, now=after(89)) == []
        (one,) = await lease_follow_ups(journal, now=after(90), until=after(120))
        assert (one.id, one.progress) == ("1/wrap-up/1", replace(again, again_at=None))
        record, _ = reader.follow_ups()
        assert (record.is_running, record.at) == (True, after(3))

    async def test_follow_up_release(self, journal: Journal, reader: Reader) -> None:
        """What was interrupted is due at once, with its progress."""
        await ask(journal, comment(1), comment(2))
        (one,) = await lease_follow_ups(journal)
        await journal.record_follow_up(one, SENT, NOW)
        await journal.release_follow_ups([one], after(5))
        assert await journal.next_follow_up_due() == after(5)
        assert not next(reader.follow_ups()).is_running
        (again,) = await lease_follow_ups(journal, now=after(5))
        assert (again.id, again.progress) == (one.id, SENT)

    @pytest.mark.parametrize("state", SUCCEEDED)
    async def test_succeeded(self, journal: Journal, reader: Reader, state: FollowUpState) -> None:
        """A step that succeeded frees the next one."""
        await ask(journal, comment(1), comment(2))
        await end(journal, Progress(state, 1))
        assert follow_up_states(reader) == [state.value, "intended"]
        assert ids(await lease_follow_ups(journal)) == ["1/wrap-up/2"]

    @pytest.mark.parametrize("state", NOT_SUCCEEDED)
    async def test_not_succeeded(self, journal: Journal, reader: Reader, state: FollowUpState) -> None:
        """A step that didn't succeed withdraws the steps after it, and nothing else; the session's next one is due."""
        await append(journal, draft("S1", "LeftChat", "audit", "wrap-up"))
        for handler in ("audit", "wrap-up"):
            (one,) = await lease(journal, handler)
            asked = [comment(number) for number in range(3)]
            await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=asked)], NOW)
        await ask(journal, comment(4))
        await end(journal)
        await end(journal, Progress(state, 3), now=after(5))
        assert follow_up_states(reader) == ["confirmed", state.value, "withdrawn", *["intended"] * 4]
        third = list(reader.follow_ups())[2]
        assert (third.progress.because, third.at) == (
            f"step 2, AddComment, ended as {state.value}: a retry takes this up again",
            after(5),
        )
        assert verified(reader) == []
        assert await end_all(journal, now=after(5)) == [[f"1/wrap-up/{step}"] for step in (1, 2, 3)] + [["2/wrap-up/1"]]

    async def test_follow_ups_read(self, journal: Journal, reader: Reader) -> None:
        """Follow-ups can be read in order, all of them, one entry's or one session's."""
        await ask(journal, comment(1), comment(2))
        await ask(journal, comment(1, "S2"), session="S2")
        (one, _) = await lease_follow_ups(journal)
        await journal.record_follow_up(one, SENT, after(2))
        first, second, third = reader.follow_ups()
        assert first == FollowUpRecord(1, "wrap-up", 1, "agent1", comment(1), SENT, is_running=True, at=after(2))
        assert second == FollowUpRecord(1, "wrap-up", 2, "agent1", comment(2), Progress(), is_running=False, at=NOW)
        assert second.id == "1/wrap-up/2"
        assert list(reader.follow_ups(seq=1)) == list(reader.follow_ups(session="S1")) == [first, second]
        assert list(reader.follow_ups(seq=2, session="S2")) == [third]
        assert list(reader.follow_ups(seq=2, session="S1")) == []

    async def test_stuck(self, journal: Journal, reader: Reader) -> None:
        """What a person has to look at is parked or failed."""
        for state in FollowUpState:
            await ask(journal, comment(1, f"S{state}"), session=f"S{state}")
            await end(journal, Progress(state, again_at=after(60) if state.is_open else None))
        stuck = [FollowUpState.PARKED, FollowUpState.FAILED]
        assert [record.progress.state for record in reader.stuck_follow_ups()] == stuck
        (failed,) = reader.stuck_follow_ups(seq=next(reversed(list(reader.stuck_follow_ups()))).seq)
        assert failed.progress.state is FollowUpState.FAILED
        assert list(reader.stuck_follow_ups(seq=1)) == []

    async def test_statistics_of_follow_ups(self, journal: Journal, reader: Reader) -> None:
        """Statistics count follow-ups by state."""
        assert reader.statistics().follow_ups == {}
        await ask(journal, comment(1), comment(2), comment(3))
        await end(journal)
        await end(journal, PARKED)
        assert reader.statistics().follow_ups == {"confirmed": 1, "parked": 1, "withdrawn": 1}

    @pytest.mark.parametrize("state", [FollowUpState.PARKED, FollowUpState.FAILED])
    async def test_retry_of_a_follow_up(self, journal: Journal, reader: Reader, state: FollowUpState) -> None:
        """A stuck one that is tried again is due now, with all its attempts, and so is its withdrawn rest after it."""
        await ask(journal, comment(1), comment(2), comment(3), comment(4))
        await end(journal)
        await end(journal, Progress(state, 3, after(1), because="no"))
        (record,) = reader.stuck_follow_ups()
        assert retry(reader, record, after(9))
        assert follow_up_states(reader) == ["confirmed", "intended", "intended", "intended"]
        revived = list(reader.follow_ups(seq=1))[1:]
        assert [(one.progress.attempts, one.progress.because, one.at) for one in revived] == [(0, None, after(9))] * 3
        assert await journal.next_follow_up_due() == after(9)
        assert verified(reader) == []
        assert await end_all(journal, now=after(9)) == [[f"1/wrap-up/{step}"] for step in (2, 3, 4)]

    async def test_retry_goes_before_what_waits(self, journal: Journal, reader: Reader) -> None:
        """A stuck one that is tried again goes before what hasn't begun; never are two of one session due."""
        await ask(journal, comment(1), comment(2))
        await ask(journal, comment(3))
        await end(journal, PARKED)
        assert await journal.next_follow_up_due() == NOW
        (record,) = reader.stuck_follow_ups()
        assert retry(reader, record, NOW)
        assert verified(reader) == []
        assert await end_all(journal) == [["1/wrap-up/1"], ["1/wrap-up/2"], ["2/wrap-up/1"]]

    async def test_retry_while_another_runs(self, journal: Journal, reader: Reader) -> None:
        """A stuck one that is tried again waits for what runs in its session."""
        await ask(journal, comment(1), comment(2))
        await ask(journal, comment(3))
        await ask(journal, comment(4))
        await end(journal, PARKED)
        (running,) = await lease_follow_ups(journal)
        (record,) = reader.stuck_follow_ups()
        assert retry(reader, record, NOW)
        assert await lease_follow_ups(journal) == []
        assert verified(reader) == []
        await journal.record_follow_up(running, CONFIRMED, NOW)
        assert await end_all(journal) == [["1/wrap-up/1"], ["1/wrap-up/2"], ["3/wrap-up/1"]]

    async def test_retry_of_several_follow_ups(self, journal: Journal, reader: Reader) -> None:
        """Stuck ones of one session can be tried again in any order, while they are listed; each comes in its turn."""
        for _ in range(3):
            await ask(journal, comment(1), comment(2))
        assert await end_all(journal, PARKED) == [["1/wrap-up/1"], ["2/wrap-up/1"], ["3/wrap-up/1"]]
        for record in reader.stuck_follow_ups():
            assert retry(reader, record, NOW)
            assert verified(reader) == []
        expected = [[f"{seq}/wrap-up/{step}"] for seq in (1, 2, 3) for step in (1, 2)]
        assert await end_all(journal) == expected

    @pytest.mark.parametrize("state", [FollowUpState.PARKED, FollowUpState.FAILED])
    async def test_drop_of_a_follow_up(self, journal: Journal, reader: Reader, state: FollowUpState) -> None:
        """A stuck one that is dropped is withdrawn for good, with the reason, and the steps after it stay withdrawn."""
        await ask(journal, comment(1), comment(2))
        await end(journal, replace(PARKED, state=state))
        (record,) = reader.stuck_follow_ups()
        assert drop(reader, record, after(9))
        dropped, rest = reader.follow_ups()
        assert dropped.progress == replace(PARKED, state=FollowUpState.WITHDRAWN, because="dropped: no use")
        assert dropped.at == after(9)
        assert rest.progress.state is FollowUpState.WITHDRAWN
        assert list(reader.stuck_follow_ups()) == []
        assert await journal.next_follow_up_due() is None

    async def test_not_stuck_any_more(self, journal: Journal, reader: Reader) -> None:
        """A stuck one is tried again or dropped once: a second time says that it is stuck no more."""
        for session in ("S1", "S2"):
            await ask(journal, comment(1, session), session=session)
        await end(journal, PARKED)
        first, second = reader.stuck_follow_ups()
        assert retry(reader, first, NOW)
        assert not retry(reader, first, NOW)
        assert not drop(reader, first, NOW)
        assert drop(reader, second, NOW)
        assert not drop(reader, second, NOW)
        assert not retry(reader, second, NOW)

    @pytest.mark.parametrize("most_bytes", [None, 0])
    @pytest.mark.parametrize("state", FollowUpState)
    async def test_retention(
        self, journal: Journal, reader: Reader, state: FollowUpState, most_bytes: int | None
    ) -> None:
        """The entry of a follow-up that is open or stuck stays; any other's goes, and the follow-up with it."""
        await ask(journal, comment(1))
        await append(journal, other(), other())
        await end(journal, Progress(state, again_at=after(60) if state.is_open else None))
        stays = state.is_open or state in {FollowUpState.PARKED, FollowUpState.FAILED}
        assert await prune(journal, after(60), most_bytes) == ([] if stays else [2])
        assert ids(list(reader.follow_ups())) == (["1/wrap-up/1"] if stays else [])
        assert verified(reader) == []

    async def test_retention_of_a_step(self, journal: Journal, reader: Reader) -> None:
        """What waits behind others keeps its entry, too; once the last has ended, all go."""
        await ask(journal, comment(1))
        await ask(journal, comment(2), comment(3))
        await append(journal, other())
        for remaining in (1, 2, 2):
            await prune(journal, after(60))
            assert next(reader.entries()).seq == remaining
            await end(journal)
        assert await prune(journal, after(60)) == [1]
        assert list(reader.follow_ups()) == []
        assert states(reader) == []

    async def test_follow_ups_wake(self, journal: Journal) -> None:
        """Who carries follow-ups out is woken when some are asked for, recorded and handed back."""
        wakes = journal.wakes(FOLLOW_UPS)
        await ask(journal)
        assert not wakes.is_set()
        await ask(journal, comment(1))
        assert wakes.is_set()
        wakes.clear()
        (one,) = await lease_follow_ups(journal)
        assert not wakes.is_set()
        await journal.record_follow_up(one, SENT, NOW)
        assert wakes.is_set()
        wakes.clear()
        await journal.release_follow_ups([one], NOW)
        assert wakes.is_set()

    async def test_arrivals(self, journal: Journal) -> None:
        """Who waits for a session's notifications is told of those alone, as often as there are, and by each agent."""
        with (
            journal.arrivals("agent1", "S1") as arrived,
            journal.arrivals("agent1", "S1") as arrived_too,
            journal.arrivals("agent1", "S2") as another,
            journal.arrivals("agent2", "S1") as another_agent,
        ):
            await append(journal, draft("S3"), other())
            assert not arrived.is_set()
            await append(journal, repeat("S1"), other())
            assert arrived.is_set()
            assert arrived_too.is_set()
            assert not another.is_set()
            assert not another_agent.is_set()
            arrived.clear()
            await append(journal, draft("S1"), draft("S1", "Chatting"))
            assert arrived.is_set()
        arrived.clear()
        await append(journal, draft("S1"))
        assert not arrived.is_set()

    async def test_shown(self, journal: Journal) -> None:
        """Whether a notification showed a session after a place is known at once."""
        await append(journal, draft("S1"), draft("S2"))
        assert [await journal.shown("agent1", "S1", place) for place in (0, 1)] == [True, False]

    async def test_notifications(self, journal: Journal) -> None:
        """A session's notifications after a place come in order, word for word, with their places."""
        assert journal.last_place() == 0
        await append(journal, draft("S1"), draft("S2"), repeat("S1"), other())
        await append(journal, draft("S1"), agent="agent2")
        first, third = await journal.notifications("agent1", "S1", 0)
        assert (first[0], third) == (
            1,
            (3, b'{"messageType": "FacebooksessionStateChangeMessage", "facebooksession": {"id": "S1"}}'),
        )
        assert await journal.notifications("agent1", "S1", 1) == [third]
        assert await journal.notifications("agent1", "S1", 3) == []
        assert await journal.notifications("agent1", "S4", 0) == []
        assert journal.last_place() == 5


class ReopenedFollowUps(Part):
    """What becomes of follow-ups when a journal that outlives its process is opened again."""

    async def test_progress_survives(self, engine: Engine) -> None:
        """Progress is kept word for word; what was leased is due at once, what was postponed stays so."""
        journal = engine.open(NOW)
        progress = Progress(FollowUpState.ACCEPTED, 3, after(2.000001), 7, 35, "in doubt: ü")
        for session in ("S1", "S2"):
            await ask(journal, comment(1, session), comment(2, session), session=session)
        one, two = await lease_follow_ups(journal, until=after(3600))
        await journal.record_follow_up(one, progress, after(2))
        await journal.record_follow_up(two, replace(progress, again_at=after(90)), after(2))
        journal.close()
        journal = engine.open(after(5))
        assert await journal.next_follow_up_due() == after(5)
        (again,) = await lease_follow_ups(journal, now=after(5))
        assert (again.id, again.operation, again.progress) == (one.id, one.operation, progress)
        await journal.release_follow_ups([again], after(5))
        assert [each.progress for each in await lease_follow_ups(journal, now=after(90))] == [progress] * 2
        journal.close()

    async def test_lease_of_an_earlier_process(self, engine: Engine) -> None:
        """What ended before the daemon did isn't due when it starts again."""
        journal = engine.open(NOW)
        await ask(journal, comment(1))
        await end(journal)
        journal.close()
        journal = engine.open(after(5))
        assert await journal.next_follow_up_due() is None
        journal.close()

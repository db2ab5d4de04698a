"""Reading: for a person, and to verify."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from daemon.journal.suite.engine import Engine, Part, verified
from daemon.journal.suite.follow_ups import ask, lease_follow_ups
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import (
    Backlog,
    DeliveryRecord,
    DeliveryState,
    NotWanted,
    RunningClock,
    SessionRecord,
    Wait,
    Wanted,
)
from fbsessiond.operations import Operation
from journal_parts import NOW, after, append, draft, kill, lease, misfit, other, prove, retry, retry_quarantined, settle


class Reading(Part):
    """What a reader sees."""

    async def test_some_entries(self, journal: Journal, reader: Reader) -> None:
        """Entries can be read of one session, of one agent, and from a number on."""
        await append(journal, draft("S1"), draft("S2"), other())
        await append(journal, draft("S1"), agent="agent2")

        def read(**wanted: str | int) -> list[int]:
            return [entry.seq for entry in reader.entries(**wanted)]  # pyright: ignore[reportArgumentType]

        assert read() == [1, 2, 3, 4]
        assert read(session="S1") == [1, 4]
        assert read(session="S1", agent="agent2") == [4]
        assert read(agent="agent1") == [1, 2, 3]
        assert read(after_seq=2) == [3, 4]
        assert read(session="S1", after_seq=1) == [4]
        assert read(session="S3") == []

    async def test_place(self, journal: Journal, reader: Reader) -> None:
        """The place before what was received since a time is found, whatever comes late out of the quarantine."""
        assert reader.place(NOW) == 0
        await append(journal, other(), misfit(), at=after(0))
        await append(journal, other(), other(), at=after(10))
        assert retry_quarantined(reader, 1)
        (taken,) = await journal.take_retries()
        assert await journal.release_quarantined(taken, [draft("S1")], None)
        await append(journal, other(), at=after(20))
        assert [entry.received_at for entry in reader.entries()] == [after(at) for at in (0, 10, 10, 0, 20)]
        assert [reader.place(after(at)) for at in (0, 5, 10, 11, 20, 21)] == [0, 1, 1, 4, 4, 5]

    async def test_settled_since(self, journal: Journal, reader: Reader) -> None:
        """Deliveries can be read by when they were settled: what is pending, or nobody wanted, isn't there."""
        no = [NotWanted("audit", "to: was Invited")]
        await append(journal, draft("S1", "Invited", "log", not_wanted=no), draft("S2", "Invited", "log"))
        await append(journal, draft("S3", "Invited", "log"), draft("S4", "Invited", "log", due_at=after(60)))
        first, second, third = await lease(journal)
        await settle(journal, second, now=after(1))
        await settle(journal, first, state=DeliveryState.DEAD, now=after(2))
        await settle(journal, third, now=after(1))
        assert [(one.id, one.state.value) for one in reader.settled(NOW)] == [
            ("2/log", "delivered"),
            ("3/log", "delivered"),
            ("1/log", "dead"),
        ]
        (dead,) = reader.settled(after(2))
        assert dead == next(reader.dead())
        assert list(reader.settled(after(3))) == []

    async def test_changed_follow_ups(self, journal: Journal, reader: Reader) -> None:
        """Follow-ups can be read by when they were asked for or last changed."""
        await ask(journal, Operation.complete("S1"))
        await ask(journal, Operation.complete("S2"), session="S2")
        first, _ = await lease_follow_ups(journal)
        await journal.record_follow_up(first, Progress(FollowUpState.CONFIRMED, 1), after(5))
        assert [one.id for one in reader.changed_follow_ups(NOW)] == ["2/wrap-up/1", "1/wrap-up/1"]
        (changed,) = reader.changed_follow_ups(after(5))
        assert (changed.id, changed.progress.state, changed.at) == ("1/wrap-up/1", "confirmed", after(5))
        assert list(reader.changed_follow_ups(after(6))) == []

    async def test_deliveries(self, journal: Journal, reader: Reader) -> None:
        """Deliveries can be read in the order of their entries, settled or not, all of them or one entry's."""
        await append(journal, draft("S1", "Invited", "log", "audit"), draft("S1", "Chatting", "log"))
        await settle(journal, *await lease(journal, "audit"))
        await lease(journal, "log", until=after(60))
        assert list(reader.deliveries()) == [
            DeliveryRecord(1, "audit", "agent1", "S1", "Invited", DeliveryState.DELIVERED, 1, None, NOW),
            DeliveryRecord(1, "log", "agent1", "S1", "Invited", DeliveryState.RUNNING, 0, None, after(60)),
            DeliveryRecord(2, "log", "agent1", "S1", "Chatting", DeliveryState.WAITING, 0, None, NOW),
        ]
        assert [(record.seq, record.handler) for record in reader.deliveries(seq=1)] == [(1, "audit"), (1, "log")]

    async def test_deliveries_of_a_session(self, journal: Journal, reader: Reader) -> None:
        """Deliveries can be read of one session, of each agent or of one; what they wait for is told."""
        no = [NotWanted("audit", "to: was Invited")]
        await append(journal, draft("S1", "Invited", "log", not_wanted=no), draft("S2", "Invited", "log"))
        await append(journal, draft("S1", "LeftChat", "log", due_at=after(60), wait=Wait.FOR), agent="agent2")
        found = [(record.id, record.state.value, record.wait) for record in reader.deliveries(session="S1")]
        assert found == [("1/audit", "not_wanted", None), ("1/log", "due", None), ("3/log", "waiting", Wait.FOR)]
        assert [record.id for record in reader.deliveries(session="S1", agent="agent2")] == ["3/log"]
        assert list(reader.deliveries(session="S3")) == []

    async def test_sessions(self, journal: Journal, reader: Reader) -> None:
        """Sessions can be read as last known, the latest first, each with its next clock; or the open ones alone."""
        await append(journal, draft("S1", "Invited"), draft("S2", "Invited"), agent="agent1")
        await append(journal, draft("S1", "Completed", before="Invited"), at=after(5))
        clocks = [Wanted(name, after(minutes * 60), Wait.FOR) for name, minutes in (("late", 9), ("soon", 2))]
        await append(journal, replace(draft("S3", "LeftChat"), wanted=clocks), agent="agent2", at=after(7))
        clock = RunningClock("late", after(540))
        assert list(reader.sessions()) == [
            SessionRecord("agent2", "S3", "LeftChat", after(7), 4, RunningClock("soon", after(120))),
            SessionRecord("agent1", "S1", "Completed", after(5), 3),
            SessionRecord("agent1", "S2", "Invited", NOW, 2),
        ]
        assert sorted(one.session for one in reader.sessions(is_open=True)) == ["S2", "S3"]
        await lease(journal, "soon", now=after(121), until=after(200))
        assert [one.clock for one in reader.sessions()] == [clock, None, None]

    async def test_version(self, journal: Journal, reader: Reader) -> None:
        """A reader's version differs after whatever is written, and stays where nothing is."""
        versions = [reader.version()]
        await append(journal, draft("S1", "Invited", "log"))
        versions.append(reader.version())
        await kill(journal)
        versions.append(reader.version())
        (dead,) = reader.dead()
        assert retry(reader, dead, NOW)
        versions.append(reader.version())
        await prove(journal, "one", 0, 1)
        versions.append(reader.version())
        assert len(set(versions)) == len(versions)
        assert reader.version() == versions[-1]
        list(reader.entries())
        assert reader.version() == versions[-1]

    async def test_statistics(self, journal: Journal, reader: Reader) -> None:
        """Statistics count what there is."""
        empty = reader.statistics()
        assert (empty.entries, empty.first_seq, empty.last_seq) == (0, None, None)
        assert (empty.first_received_at, empty.last_received_at) == (None, None)
        await append(journal, draft("S1", "Invited", "log", "audit"), draft("S1", "Chatting", "log"), misfit())
        await append(journal, other(), draft("S2"), misfit(), at=after(5))
        await settle(journal, *await lease(journal, "audit"))
        await lease(journal, "log")
        full = reader.statistics()
        assert (full.entries, full.first_seq, full.last_seq) == (4, 1, 4)
        assert (full.first_received_at, full.last_received_at) == (NOW, after(5))
        assert full.kinds == {"transition": 3, "other": 1}
        assert full.deliveries == {"delivered": 1, "running": 1, "waiting": 1}
        assert (full.sessions, full.quarantined) == (2, 2)
        assert full.bytes > empty.bytes // 2

    async def test_backlog(self, journal: Journal, reader: Reader) -> None:
        """What is still to be done is counted by handler and state, with how long the oldest has been due."""
        assert reader.backlog([], NOW) == Backlog(bytes=reader.backlog([], NOW).bytes)
        await append(journal, draft("S1", "Invited", "log", "audit"), draft("S1", "Chatting", "log"), misfit())
        await append(journal, draft("S2", "Invited", "log", due_at=after(30)), draft("S3", "Invited", "log"))
        await append(journal, draft("S4", "Invited", "log", due_at=after(2)))
        await kill(journal, "audit")
        (first, _) = await lease(journal, "log", until=after(60))
        backlog = reader.backlog(["log", "audit"], after(5))
        assert first.entry.session == "S1"
        waiting, due, running = DeliveryState.WAITING, DeliveryState.DUE, DeliveryState.RUNNING
        assert backlog.deliveries == {
            "log": {waiting: 2, due: 1, running: 2},
            "audit": {waiting: 0, due: 0, running: 0},
        }
        assert backlog.due_for == {"log": timedelta(seconds=3), "audit": timedelta()}
        assert reader.backlog(["log"], after(1)).due_for == {"log": timedelta()}
        assert backlog.dead == {"audit": 1}
        assert (backlog.quarantined, backlog.follow_ups, backlog.follow_ups_due_for) == (1, {}, timedelta())
        assert backlog.bytes > 0

    async def test_backlog_of_follow_ups(self, journal: Journal, reader: Reader) -> None:
        """Follow-ups are counted by state as long as they are open, and when they are left to a person."""
        for session in ("S1", "S2", "S3", "S4"):
            await ask(journal, Operation.leave(session), session=session)
        leases = await lease_follow_ups(journal)
        for one, state in zip(leases, (FollowUpState.PARKED, FollowUpState.CONFIRMED), strict=False):
            await journal.record_follow_up(one, Progress(state), NOW)
        await journal.release_follow_ups(leases[2:], NOW)
        backlog = reader.backlog([], after(7))
        assert backlog.follow_ups == {FollowUpState.PARKED: 1, FollowUpState.INTENDED: 2}
        assert backlog.follow_ups_due_for == timedelta(seconds=7)

    async def test_verify(self, journal: Journal, reader: Reader) -> None:
        """Nothing is wrong in a healthy journal; who verifies it is told how far that got."""
        await append(journal, draft("S1"), draft("S1", "Chatting", "log", before="Invited"), misfit(), other())
        await append(journal, draft("S1", "Completed", before="Chatting"), draft("S1", before="Completed"))
        await append(journal, *[other() for _ in range(1_500)])
        progress: list[tuple[int, int]] = []
        assert list(reader.verify(lambda done, count: progress.append((done, count)))) == []
        assert progress[-1] == (1505, 1505)
        assert all(one < another for one, another in pairwise(progress))

    async def test_missing_predecessor(self, journal: Journal, reader: Reader) -> None:
        """Verifying finds a transition that doesn't begin where the one before it ended, or that has none before it."""
        await append(journal, draft("S1"), draft("S1", "LeftChat", before="Chatting"))
        await append(journal, draft("S1", "Chatting", before="Invited"), agent="agent2")
        assert [finding.where for finding in verified(reader)] == ["entry 2", "entry 3"]

    async def test_redaction_key(self, journal: Journal, engine: Engine, reader: Reader) -> None:
        """A journal's key stays the same and is a secret of its own."""
        assert len(reader.redaction_key()) == 32
        another = engine.read(journal)
        assert another.redaction_key() == reader.redaction_key()
        another.close()

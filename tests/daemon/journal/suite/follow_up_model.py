"""Follow-ups in a journal against a model of them, through histories that hypothesis makes up."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.journal.suite.engine import Engine, verified
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.journal.records import DeliveryState, FollowUpLease, Lease, Settlement
from fbsessiond.operations import Operation
from journal_parts import NOW, append, draft, drop, lease, retry

T = TypeVar("T")

AGENTS = ["agent1", "agent2"]
SESSIONS = ["S1", "S2"]
HANDLERS = ["log", "wrap-up"]
SECONDS = st.integers(0, 90)
STUCK = {FollowUpState.PARKED, FollowUpState.FAILED}

Key: TypeAlias = tuple[int, str, int]
"""Entry, handler and step."""


@dataclass
class Asked:
    """A follow-up."""

    key: Key
    agent: str
    session: str
    progress: Progress = field(default_factory=Progress)
    due_at: datetime | None = None
    lease: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether more is to come."""
        return self.progress.state.is_open

    @property
    def has_begun(self) -> bool:
        """Whether it is being carried out, or was tried."""
        return self.lease is not None or self.progress.attempts > 0

    def is_step_of(self, key: Key) -> bool:
        """Whether it is of the same delivery."""
        return self.key[:2] == key[:2]


class FollowUpHistories(RuleBasedStateMachine):
    """Does the same to a journal and to the model, and compares them after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.asked: dict[Key, Asked] = {}
        self.entries: dict[int, datetime] = {}
        self.deliveries: list[Lease] = []
        self.leases: list[FollowUpLease] = []
        self.runner = asyncio.Runner()
        self.engine = self.make_engine()
        self.open()

    def make_engine(self) -> Engine:
        """Return an engine with a new journal."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close everything."""
        self.reader.close()
        self.journal.close()
        self.runner.close()

    @rule(agent=st.sampled_from(AGENTS), handlers=st.sets(st.sampled_from(HANDLERS), min_size=1))
    def append(self, agent: str, handlers: set[str]) -> None:
        """Append a transition, and hand out its deliveries, to be settled in any order."""
        seq = self.journal.last_place() + 1
        self._run(append(self.journal, draft(f"D{seq}", "LeftChat", *handlers), agent=agent, at=self.now))
        self.entries[seq] = self.now
        for handler in handlers:
            until = self.now + timedelta(days=365)
            self.deliveries += self._run(lease(self.journal, handler, now=self.now, until=until, most=1))

    @precondition(lambda self: self.deliveries)
    @rule(choice=st.integers(0, 99), sessions=st.lists(st.sampled_from(SESSIONS), max_size=4))
    def ask(self, choice: int, sessions: list[str]) -> None:
        """Settle a delivery with what its handler asks for, on whichever sessions."""
        lease = self.deliveries.pop(choice % len(self.deliveries))
        follow_ups = [Operation.leave(session) for session in sessions]
        settlement = Settlement(lease, DeliveryState.DELIVERED, 1, follow_ups=follow_ups)
        self._run(self.journal.settle([settlement], self.now))
        for step, session in enumerate(sessions, 1):
            key = lease.entry.seq, lease.handler, step
            self.asked[key] = Asked(key, lease.entry.agent, session)
        self._order((lease.entry.seq, lease.handler, 1))

    @rule(most=st.integers(1, 4), seconds=st.integers(1, 90))
    def lease(self, most: int, seconds: int) -> None:
        """Lease what is due: as many as there are, no more than asked for, the longest due first."""
        until = self.now + timedelta(seconds=seconds)
        leases = self._run(self.journal.lease_follow_ups(most, self.now, until))
        due = sorted(one.due_at for one in self.asked.values() if one.due_at is not None and one.due_at <= self.now)
        taken = [self.asked[lease.seq, lease.handler, lease.step] for lease in leases]
        assert [one.due_at for one in taken] == due[:most]
        assert [given.progress for given in leases] == [one.progress for one in taken]
        for one, given in zip(taken, leases, strict=True):
            assert not any(before.is_open for before in self._delivery(one.key) if before.key < one.key)
            one.due_at, one.lease = until, given.number
        self.leases += leases

    @precondition(lambda self: self.leases)
    @rule(choice=st.integers(0, 99), state=st.sampled_from(FollowUpState), pause=st.none() | SECONDS)
    def record(self, choice: int, state: FollowUpState, pause: int | None) -> None:
        """Record progress, by a lease that may have gone to another or have been used."""
        lease = self.leases[choice % len(self.leases)]
        again_at = self.now + timedelta(seconds=pause) if pause is not None and state.is_open else None
        progress = Progress(state, lease.progress.attempts + 1, self.now, lease.seq, 35, "because", again_at)
        self._run(self.journal.record_follow_up(lease, progress, self.now))
        if (one := self._held(lease)) is None:
            return
        one.progress = replace(progress, again_at=None)
        if again_at is not None:
            one.due_at, one.lease = again_at, None
        if one.is_open:
            return
        one.due_at, one.lease = None, None
        if not state.has_succeeded:
            for after in self._delivery(one.key):
                if after.key > one.key:
                    because = f"step {lease.step}, Leave, ended as {state}: a retry takes this up again"
                    after.progress = replace(after.progress, state=FollowUpState.WITHDRAWN, because=because)
        self._order(one.key)

    @precondition(lambda self: self.leases)
    @rule(choice=st.integers(0, 99))
    def release(self, choice: int) -> None:
        """Hand a follow-up back, by any lease there ever was."""
        lease = self.leases[choice % len(self.leases)]
        self._run(self.journal.release_follow_ups([lease], self.now))
        if (one := self._held(lease)) is not None:
            one.due_at, one.lease = self.now, None

    @precondition(lambda self: any(one.progress.state in STUCK for one in self.asked.values()))
    @rule(choice=st.integers(0, 99), for_good=st.booleans())
    def revive(self, choice: int, for_good: bool) -> None:
        """Try a stuck one again, with what was withdrawn because of it. Or drop it."""
        stuck = list(self.reader.stuck_follow_ups())
        found = [self.asked[record.seq, record.handler, record.step] for record in stuck]
        assert len(found) == sum(one.progress.state in STUCK for one in self.asked.values())
        record, one = stuck[choice % len(stuck)], found[choice % len(stuck)]
        if for_good:
            assert drop(self.reader, record, self.now)
            one.progress = replace(one.progress, state=FollowUpState.WITHDRAWN, because="dropped: no use")
            return
        assert retry(self.reader, record, self.now)
        for step in self._delivery(one.key):
            if step.key >= one.key:
                step.progress = replace(step.progress, state=FollowUpState.INTENDED, attempts=0, because=None)
        self._order(one.key)

    @rule(age=SECONDS, by_size=st.booleans())
    def prune(self, age: int, by_size: bool) -> None:
        """Forget what is old, or all that may be forgotten."""
        before = self.now - timedelta(seconds=age)
        forgotten = 0
        while bite := self._run(self.journal.prune(before, 0 if by_size else None)):
            forgotten += bite
        stay = [self.journal.last_place(), *(lease.entry.seq for lease in self.deliveries)]
        stay += [one.key[0] for one in self.asked.values() if one.is_open or one.progress.state in STUCK]
        if not by_size:
            stay += [seq for seq, at in self.entries.items() if at >= before]
        gone = [seq for seq in self.entries if seq < min(stay)]
        assert forgotten == len(gone)
        self.entries = {seq: at for seq, at in self.entries.items() if seq not in gone}
        self.asked = {key: one for key, one in self.asked.items() if key[0] not in gone}

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @invariant()
    def is_the_same(self) -> None:
        """The journal holds what the model holds."""
        records = list(self.reader.follow_ups())
        assert [(record.seq, record.handler, record.step) for record in records] == sorted(self.asked)
        for record in records:
            one = self.asked[record.seq, record.handler, record.step]
            assert (record.progress, record.is_running) == (one.progress, one.lease is not None)
        due = (one.due_at for one in self.asked.values() if one.due_at is not None)
        assert self._run(self.journal.next_follow_up_due()) == min(due, default=None)

    @invariant()
    def is_in_order(self) -> None:
        """Of each session one is due at most: the first, or one that has begun; some are, while any is open."""
        still_open = [one for one in self.asked.values() if one.is_open]
        assert any(one.due_at is not None for one in still_open) == bool(still_open)
        for agent, session in {(one.agent, one.session) for one in still_open}:
            queue = [one for one in still_open if (one.agent, one.session) == (agent, session)]
            due = [one for one in queue if one.due_at is not None]
            assert len(due) <= 1
            assert all(one.has_begun or one.key == min(each.key for each in queue) for one in due)
        assert verified(self.reader) == []

    def open(self) -> None:
        """Open the journal and a reader of it."""
        self.journal = self.engine.open(self.now)
        self.reader = self.engine.read(self.journal)

    def _order(self, key: Key) -> None:
        """Make those due that are to be, of the sessions of a step and of those after it."""
        for agent, session in {(one.agent, one.session) for one in self._delivery(key) if one.key >= key}:
            queue = [one for one in self.asked.values() if (one.agent, one.session) == (agent, session) and one.is_open]
            for one in queue:
                if one.key > key and not one.has_begun:
                    one.due_at = None
            first = min(queue, key=lambda one: one.key, default=None)
            if first is None or any(one.due_at is not None for one in queue):
                continue
            if not any(before.is_open for before in self._delivery(first.key) if before.key < first.key):
                first.due_at = self.now

    def _delivery(self, key: Key) -> list[Asked]:
        return [one for one in self.asked.values() if one.is_step_of(key)]

    def _held(self, lease: FollowUpLease) -> Asked | None:
        return next((one for one in self.asked.values() if one.lease == lease.number), None)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)


class DurableFollowUpHistories(FollowUpHistories):
    """The same for a journal that outlives its process."""

    @rule()
    def reopen(self) -> None:
        """End the daemon and start it again: all leases end, and deliveries are handed out again."""
        self.reader.close()
        self.journal.close()
        self.leases.clear()
        self.open()
        for one in self.asked.values():
            if one.lease is not None and one.due_at is not None:
                one.due_at, one.lease = min(one.due_at, self.now), None
        self.deliveries.clear()
        for handler in HANDLERS:
            until = self.now + timedelta(days=365)
            self.deliveries += self._run(lease(self.journal, handler, now=self.now, until=until))

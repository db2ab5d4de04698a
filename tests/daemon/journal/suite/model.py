"""The journal against a model of it made of plain dicts and lists, through histories that hypothesis makes up."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.journal.suite.engine import Engine, verified
from fbsessiond.journal.records import DeliveryState, Lease, Settlement
from fbsessiond.notification import Document
from journal_parts import NOW, append, draft, drop, lease, misfit, quarantined, retry, retry_quarantined

T = TypeVar("T")

AGENTS = ["agent1", "agent2"]
SESSIONS = ["S1", "S2", "S3"]
STATES = ["Invited", "Chatting", "LeftChat", "Completed"]
HANDLERS = ["log", "audit"]
SECONDS = st.integers(0, 90)

Key = tuple[str, str, str]
"""Handler, agent and session."""


@dataclass
class Pending:
    """A delivery that isn't settled."""

    seq: int
    wanted_at: datetime
    due_at: datetime | None
    attempts: int = 0
    lease: int | None = None


@dataclass
class Kept:
    """A message in the quarantine."""

    at: datetime
    error: str
    is_asked_for: bool = False
    has_left: bool = False


@dataclass
class Model:
    """What a journal holds."""

    last_seq: int = 0
    entries: dict[int, datetime] = field(default_factory=dict[int, datetime])
    known: dict[tuple[str, str], tuple[int, Document]] = field(
        default_factory=dict[tuple[str, str], tuple[int, Document]]
    )
    pending: defaultdict[Key, list[Pending]] = field(default_factory=lambda: defaultdict[Key, list[Pending]](list))
    settled: dict[tuple[int, str], DeliveryState] = field(default_factory=dict[tuple[int, str], DeliveryState])
    quarantine: dict[int, Kept] = field(default_factory=dict[int, Kept])
    """By its own numbers; what became entries stays, unseen, until it is forgotten."""
    last_quarantined: int = 0

    def find(self, lease: Lease) -> tuple[list[Pending], Pending] | None:
        """Return the queue and the delivery that a lease is of, unless another has it now."""
        queue = self.pending[key_of(lease)]
        return next(((queue, one) for one in queue if one.lease == lease.number), None)

    def deliveries(self) -> set[tuple[int, str, str, int]]:
        """Return all deliveries as a reader shows them: entry, handler, state, failed attempts of what is pending."""
        settled = {(seq, handler, state.value, 0) for (seq, handler), state in self.settled.items()}
        return settled | {
            (one.seq, handler, state_of(one), one.attempts)
            for (handler, _, _), queue in self.pending.items()
            for one in queue
        }

    def next_due(self, handler: str) -> datetime | None:
        """Return when the handler's first delivery is due."""
        return min((one.due_at for one in self.of(handler) if one.due_at is not None), default=None)

    def of(self, handler: str) -> list[Pending]:
        """Return a handler's pending deliveries."""
        return [one for (name, _, _), queue in self.pending.items() if name == handler for one in queue]


def key_of(lease: Lease) -> Key:
    """Return which queue a lease is of."""
    assert lease.entry.session is not None
    return lease.handler, lease.entry.agent, lease.entry.session


def state_of(one: Pending) -> str:
    """Return what a reader calls a pending delivery."""
    if one.lease is not None:
        return "running"
    return "waiting" if one.due_at is None else "due"


class Histories(RuleBasedStateMachine):
    """Does the same to a journal and to the model, and compares them after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.model = Model()
        self.leases: list[Lease] = []
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

    @rule(
        agent=st.sampled_from(AGENTS),
        parts=st.lists(
            st.tuples(st.sampled_from(SESSIONS), st.sampled_from(STATES), st.sets(st.sampled_from(HANDLERS)), SECONDS),
            max_size=4,
        ),
        merged=st.booleans(),
        misfits=st.integers(0, 1),
    )
    def append(self, agent: str, parts: list[tuple[str, str, set[str], int]], merged: bool, misfits: int) -> None:
        """Append a batch in which sessions go from whatever state they are in to any other."""
        drafts = []
        for session, state, handlers, pause in parts:
            self.model.last_seq += 1
            seq, due_at = self.model.last_seq, self.now + timedelta(seconds=pause)
            before = self.model.known.get((agent, session), (0, {}))[1].get("state")
            document = {"id": session, "state": state} | ({"comment": str(seq)} if merged else {})
            drafts.append(
                draft(session, state, *handlers, before=before, due_at=due_at, merged=document if merged else None)
            )
            self.model.entries[seq] = self.now
            self.model.known[agent, session] = seq, document
            for handler in handlers:
                queue = self.model.pending[handler, agent, session]
                queue.append(Pending(seq, due_at, None if queue else due_at))
        self._run(append(self.journal, *drafts, *[misfit()] * misfits, agent=agent, at=self.now))
        for _ in range(misfits):
            self.model.last_quarantined += 1
            self.model.quarantine[self.model.last_quarantined] = Kept(self.now, misfit().error)

    @rule(handler=st.sampled_from(HANDLERS), most=st.integers(1, 4), seconds=st.integers(1, 90))
    def lease(self, handler: str, most: int, seconds: int) -> None:
        """Lease what is due: as many as there are, no more than asked for, the longest due first."""
        until = self.now + timedelta(seconds=seconds)
        leases = self._run(lease(self.journal, handler, now=self.now, until=until, most=most))
        due = sorted(one.due_at for one in self.model.of(handler) if one.due_at is not None and one.due_at <= self.now)
        taken = [self._pending(given) for given in leases]
        assert [one.due_at for one in taken] == due[:most]
        assert [given.attempts for given in leases] == [one.attempts for one in taken]
        assert [given.due_at for given in leases] == [one.wanted_at for one in taken]
        for one, given in zip(taken, leases, strict=True):
            one.due_at, one.lease = until, given.number
        self.leases += leases

    @precondition(lambda self: self.leases)
    @rule(
        choice=st.integers(0, 99),
        state=st.sampled_from([DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.WITHDRAWN]),
    )
    def settle(self, choice: int, state: DeliveryState) -> None:
        """Settle a delivery for good, by a lease that may have gone to another or have been used."""
        lease = self.leases[choice % len(self.leases)]
        self._run(self.journal.settle([Settlement(lease, state, 0)], self.now))
        if (found := self.model.find(lease)) is not None:
            queue, one = found
            queue.remove(one)
            self.model.settled[one.seq, lease.handler] = state
            if queue and queue[0].due_at is None:
                queue[0].due_at = queue[0].wanted_at

    @precondition(lambda self: self.leases)
    @rule(choice=st.integers(0, 99), pause=SECONDS)
    def try_again(self, choice: int, pause: int) -> None:
        """Settle an attempt that failed, by any lease there ever was."""
        lease = self.leases[choice % len(self.leases)]
        due_at = self.now + timedelta(seconds=pause)
        self._run(self.journal.settle([Settlement(lease, DeliveryState.DUE, 3, "broke", due_at)], self.now))
        if (found := self.model.find(lease)) is not None:
            found[1].due_at, found[1].lease, found[1].attempts = due_at, None, 3

    @precondition(lambda self: self.leases)
    @rule(choice=st.integers(0, 99))
    def release(self, choice: int) -> None:
        """Hand a delivery back, by any lease there ever was."""
        lease = self.leases[choice % len(self.leases)]
        self._run(self.journal.release([lease], self.now))
        if (found := self.model.find(lease)) is not None:
            found[1].due_at, found[1].lease, found[1].attempts = self.now, None, lease.attempts

    @precondition(lambda self: DeliveryState.DEAD in self.model.settled.values())
    @rule(choice=st.integers(0, 99), for_good=st.booleans())
    def revive(self, choice: int, for_good: bool) -> None:
        """Try a dead letter again: before what waits, but not while another runs. Or drop it."""
        dead = list(self.reader.dead())
        assert [self.model.settled[record.seq, record.handler] for record in dead] == [DeliveryState.DEAD] * len(dead)
        record = dead[choice % len(dead)]
        if for_good:
            assert drop(self.reader, record, self.now)
            self.model.settled[record.seq, record.handler] = DeliveryState.WITHDRAWN
            return
        assert retry(self.reader, record, self.now)
        del self.model.settled[record.seq, record.handler]
        queue = self.model.pending[record.handler, record.agent, record.session]
        for one in queue:
            if one.seq > record.seq and one.lease is None:
                one.due_at = None
        is_first = all(one.due_at is None for one in queue)
        queue.append(Pending(record.seq, self.now, self.now if is_first else None))
        queue.sort(key=lambda one: one.seq)

    @precondition(lambda self: self.model.quarantine)
    @rule(choice=st.integers(0, 99))
    def ask_for_misfit(self, choice: int) -> None:
        """Let a person ask that a message in the quarantine be read again; it may have become entries meanwhile."""
        seq = sorted(self.model.quarantine)[choice % len(self.model.quarantine)]
        kept = self.model.quarantine[seq]
        assert retry_quarantined(self.reader, seq) != kept.has_left
        kept.is_asked_for = not kept.has_left

    @precondition(lambda self: self.model.quarantine)
    @rule(choice=st.integers(0, 99))
    def drop_misfit(self, choice: int) -> None:
        """Let a person drop a message in the quarantine; it may have left meanwhile."""
        seq = sorted(self.model.quarantine)[choice % len(self.model.quarantine)]
        kept = self.model.quarantine[seq]
        assert drop(self.reader, quarantined(seq), self.now) != kept.has_left
        kept.is_asked_for, kept.has_left = False, True

    @rule(session=st.none() | st.sampled_from(SESSIONS), state=st.sampled_from(STATES))
    def read_misfits_again(self, session: str | None, state: str) -> None:
        """Read again what is asked for: each becomes an entry of a session, received when it was, or stays."""
        taken = self._run(self.journal.take_retries())
        assert [one.seq for one in taken] == [seq for seq, kept in self.model.quarantine.items() if kept.is_asked_for]
        for one in taken:
            kept = self.model.quarantine[one.seq]
            kept.is_asked_for, kept.has_left = False, session is not None
            if session is None:
                kept.error = f"still isn't: {one.seq}"
                self._run(self.journal.release_quarantined(one, (), kept.error))
                continue
            self.model.last_seq += 1
            before = self.model.known.get((one.agent, session), (0, {}))[1].get("state")
            self._run(self.journal.release_quarantined(one, [draft(session, state, before=before)], None))
            self.model.entries[self.model.last_seq] = kept.at
            self.model.known[one.agent, session] = self.model.last_seq, {"id": session, "state": state}

    @rule(age=SECONDS, by_size=st.booleans())
    def prune(self, age: int, by_size: bool) -> None:
        """Forget what is old, or all that may be forgotten."""
        before = self.now - timedelta(seconds=age)
        forgotten = 0
        while bite := self._run(self.journal.prune(before, 0 if by_size else None)):
            forgotten += bite
        pending = (one.seq for queue in self.model.pending.values() for one in queue)
        bound = min([self.model.last_seq, *pending, *self.needed()])
        if not by_size:
            bound = min([bound, *(seq for seq, at in self.model.entries.items() if at >= before)])
        gone = [seq for seq in self.model.entries if seq < bound]
        assert forgotten == len(gone)
        for seq in gone:
            del self.model.entries[seq]
        for seq, handler in [(seq, handler) for seq, handler in self.model.settled if seq < bound]:
            del self.model.settled[seq, handler]
        for key, (seq, document) in list(self.model.known.items()):
            if seq < bound and document["state"] == "Completed":
                del self.model.known[key]
        for seq, kept in list(self.model.quarantine.items()):
            if kept.at < before and seq < self.model.last_quarantined:
                del self.model.quarantine[seq]
        self.forgotten(before, bound)

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @invariant()
    def is_the_same(self) -> None:
        """The journal holds what the model holds."""
        assert [(entry.seq, entry.received_at) for entry in self.reader.entries()] == sorted(self.model.entries.items())
        assert [(one.seq, one.received_at, one.error, one.raw) for one in self.reader.quarantined()] == [
            (seq, kept.at, kept.error, misfit().message.raw)
            for seq, kept in self.model.quarantine.items()
            if not kept.has_left
        ]
        assert self.model.deliveries() == {
            (record.seq, record.handler, record.state.value, record.attempts) for record in self.reader.deliveries()
        }
        for handler in HANDLERS:
            assert self._run(self.journal.next_due(handler)) == self.model.next_due(handler)
        for agent in AGENTS:
            for session in SESSIONS:
                _, document = self.model.known.get((agent, session), (0, None))
                assert self._run(self.journal.known(agent, session)) == document

    @invariant()
    def is_in_order(self) -> None:
        """One delivery of each session and handler is due or runs, and nothing is wrong in the journal."""
        for queue in self.model.pending.values():
            assert sum(one.due_at is not None for one in queue) == bool(queue)
        assert verified(self.reader) == []

    def needed(self) -> Iterable[int]:
        """Return the entries that something else needs than their deliveries; a larger model has some."""
        return ()

    def forgotten(self, before: datetime, bound: int) -> None:
        """Note that the entries below a number are forgotten, and what else ended before a point in time."""

    def open(self) -> None:
        """Open the journal and a reader of it."""
        self.journal = self.engine.open(self.now)
        self.reader = self.engine.read(self.journal)

    def _pending(self, lease: Lease) -> Pending:
        return next(one for one in self.model.pending[key_of(lease)] if one.seq == lease.entry.seq)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)


class DurableHistories(Histories):
    """The same for a journal that outlives its process."""

    @rule()
    def reopen(self) -> None:
        """End the daemon and start it again: all leases end."""
        self.reader.close()
        self.journal.close()
        self.leases.clear()
        self.open()
        for queue in self.model.pending.values():
            for one in queue:
                if one.lease is not None and one.due_at is not None:
                    one.due_at, one.lease = min(one.due_at, self.now), None

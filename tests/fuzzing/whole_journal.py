"""All that a journal does, in one history: deliveries, follow-ups, quarantine, proofs and gaps, retention, crashes.

What each part does alone, its own model in the engines' suite says to the last detail. Here they share one journal:
what one of them needs, no other may forget, and a crash at any time loses nothing of any.
"""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from daemon.journal.sqlite.test_engine import HistoriesInFile, HistoriesInMemory, InFile
from daemon.journal.suite.engine import Engine
from daemon.journal.suite.gap_model import AGENTS, GapHistories
from daemon.journal.suite.model import SESSIONS, Histories
from fbsessiond.follow_up import FollowUpState
from fbsessiond.gap import GapCause
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryState, FollowUpLease, Settlement
from fbsessiond.operations import Operation

SHORT = st.integers(0, 30)
STUCK = {FollowUpState.PARKED, FollowUpState.FAILED}


class Shared(Engine):
    """An engine whose journal is open already."""

    def __init__(self, journal: Journal, reader: Reader) -> None:
        self._journal = journal
        self._reader = reader

    def open(self, now: datetime) -> Journal:
        """Return the journal."""
        del now
        return self._journal

    def read(self, journal: Journal) -> Reader:
        """Return the one reader of it."""
        del journal
        return self._reader


class Ledger(GapHistories):
    """The ledger's part of a journal that others use, too."""

    def __init__(self, journal: Journal, reader: Reader) -> None:
        self._shared = Shared(journal, reader)
        super().__init__()

    def make_engine(self) -> Engine:
        """Return the engine of the journal that is open."""
        return self._shared


class Whole(Histories):
    """Deliveries and quarantine as they are, with follow-ups and the ledger in the same journal."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(self.journal, self.reader)
        self.asked: dict[tuple[int, str, int], FollowUpState] = {}
        self.held: dict[tuple[int, str, int], FollowUpLease] = {}
        self.follow_up_leases: list[FollowUpLease] = []

    def teardown(self) -> None:
        """Close everything."""
        self.ledger.runner.close()
        super().teardown()

    # Follow-ups: which there are, and how far each has come.

    @precondition(lambda self: self.leases)
    @rule(choice=st.integers(0, 99), sessions=st.lists(st.sampled_from(SESSIONS), min_size=1, max_size=3))
    def ask(self, choice: int, sessions: list[str]) -> None:
        """Settle a delivery with what its handler asks for; a lease that is another's by now asks for nothing."""
        lease = self.leases[choice % len(self.leases)]
        found = self.model.find(lease)
        follow_ups = [Operation.leave(session) for session in sessions]
        settlement = Settlement(lease, DeliveryState.DELIVERED, 0, follow_ups=follow_ups)
        self._run(self.journal.settle([settlement], self.now))
        if found is None:
            return
        queue, one = found
        queue.remove(one)
        self.model.settled[one.seq, lease.handler] = DeliveryState.DELIVERED
        if queue and queue[0].due_at is None:
            queue[0].due_at = queue[0].wanted_at
        for step, _ in enumerate(sessions, 1):
            self.asked[one.seq, lease.handler, step] = FollowUpState.INTENDED

    @rule(most=st.integers(1, 4), seconds=st.integers(1, 90))
    def lease_follow_ups(self, most: int, seconds: int) -> None:
        """Hand out some that are open, each as far as it has come."""
        leases = self._run(self.journal.lease_follow_ups(most, self.now, self.now + timedelta(seconds=seconds)))
        for lease in leases:
            key = lease.seq, lease.handler, lease.step
            assert self.asked[key] is lease.progress.state
            assert lease.progress.state.is_open
            self.held[key] = lease
        self.follow_up_leases += leases

    @precondition(lambda self: self.follow_up_leases)
    @rule(choice=st.integers(0, 99), state=st.sampled_from(FollowUpState))
    def record(self, choice: int, state: FollowUpState) -> None:
        """Write down how far one has come; where it doesn't succeed, the steps after it are withdrawn."""
        lease = self.follow_up_leases[choice % len(self.follow_up_leases)]
        key = lease.seq, lease.handler, lease.step
        progress = replace(lease.progress, state=state, attempts=lease.progress.attempts + 1)
        self._run(self.journal.record_follow_up(lease, progress, self.now))
        if self.held.get(key) is not lease:
            return
        self.asked[key] = state
        if state.is_open:
            return
        del self.held[key]
        for each in [each for each in self.asked if each[:2] == key[:2] and each > key]:
            if not state.has_succeeded and self.asked[each] is FollowUpState.INTENDED:
                self.asked[each] = FollowUpState.WITHDRAWN

    @precondition(lambda self: self.follow_up_leases)
    @rule(choice=st.integers(0, 99))
    def release_follow_up(self, choice: int) -> None:
        """Hand one back, by any lease there ever was."""
        lease = self.follow_up_leases[choice % len(self.follow_up_leases)]
        self._run(self.journal.release_follow_ups([lease], self.now))
        if self.held.get(key := (lease.seq, lease.handler, lease.step)) is lease:
            del self.held[key]

    @invariant()
    def has_its_follow_ups(self) -> None:
        """Each that was asked for is there, as far as it has come; no other is."""
        found = {(one.seq, one.handler, one.step): one.progress.state for one in self.reader.follow_ups()}
        assert found == self.asked

    def needed(self) -> Iterable[int]:
        """Return the entries whose follow-ups are open or wait for a person."""
        return [seq for (seq, _, _), state in self.asked.items() if state.is_open or state in STUCK]

    def forgotten(self, before: datetime, bound: int) -> None:
        """Forget what belonged to forgotten entries, and count the time from there."""
        self.asked = {key: state for key, state in self.asked.items() if key[0] >= bound}
        for one in self.ledger.model.values():
            one.observed_since = max(one.observed_since, min(before, one.proven_until))

    # The ledger, by its own model.

    @rule(agent=AGENTS, does=st.sampled_from(["restart", "begin", "go on", "break", "agree", "doubt"]), seconds=SHORT)
    def listen(self, agent: str, does: str, seconds: int) -> None:
        """Let the source of an agent do something, or the one who compares."""
        self.ledger.now = self.now
        match does:
            case "restart":
                self.ledger.watch(agent)
            case "begin":
                self.ledger.begin_anew(agent, seconds, seconds)
            case "go on":
                self.ledger.prove(agent, seconds)
            case "break":
                self.ledger.break_off(agent, GapCause.NETWORK, seconds or None)
            case "agree":
                self.ledger.agree(agent, seconds % 4)
            case _:
                self.ledger.doubt(agent)
        self.now = self.ledger.now

    @invariant()
    def has_its_ledger(self) -> None:
        """What is proved and what isn't is as the ledger's model says: no gap overlaps, and nothing is in neither."""
        self.ledger.now = self.now
        self.ledger.is_known()
        self.ledger.is_one_or_the_other()


class WholeInFile(Whole, HistoriesInFile):
    """The same for a journal in a file, which outlives its process: that may end at any time, without a farewell."""

    def reopen(self) -> None:
        """End the daemon and start it again, in the same folder."""
        super().reopen()
        self.ledger.journal, self.ledger.reader = self.journal, self.reader
        self.held.clear()
        self.follow_up_leases.clear()

    @rule()
    def stop(self) -> None:
        """End the daemon as it should end."""
        self.reopen()

    @rule()
    def crash(self) -> None:
        """Go on with the files as they are at this moment: nobody closed them, nor put them in order."""
        folder = Path(tempfile.mkdtemp(dir=self.folder.name))
        assert isinstance(self.engine, InFile)
        for path in self.engine.path.parent.glob("journal.db*"):
            shutil.copy(path, folder)
        self.engine = InFile(folder)
        self.reopen()


class WholeInMemory(Whole, HistoriesInMemory):
    """The same for a journal in memory."""


ENGINES = {"memory": WholeInMemory, "file": WholeInFile}
"""A journal's whole history, over every engine."""

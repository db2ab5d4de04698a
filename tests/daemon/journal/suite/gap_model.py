"""The ledger of gaps against a list of what was proved, through histories that hypothesis makes up."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.journal.suite.engine import Engine, verified
from fbsessiond.gap import Break, GapCause, Proof, coverage_of
from fbsessiond.journal.interface import gaps_of
from fbsessiond.message import Batch, Origin
from journal_parts import NOW

T = TypeVar("T")

AGENTS = st.sampled_from(["agent1", "agent2"])
SECONDS = st.integers(0, 30)
NOTHING = timedelta()


@dataclass
class Stretch:
    """A span of time without a gap: what one chain proved."""

    begin: datetime
    end: datetime


@dataclass
class Listening:
    """How it was listened for one agent."""

    observed_since: datetime
    since: datetime
    """When the chain began with which the agent's source goes on."""
    chain: int = 1
    """Its number."""
    held: int | None = None
    """The chain that proved something last, unless that is doubted."""
    doubted: int | None = None
    is_broken: bool = True
    compared_at: datetime | None = None
    proven: list[Stretch] = field(default_factory=list[Stretch])

    @property
    def proven_until(self) -> datetime:
        """Return the last proof that counts."""
        return self.proven[-1].end if self.proven else self.observed_since

    def take_back(self, since: datetime) -> None:
        """Take back what the last chain proved, as far as it is counted."""
        last = self.proven[-1]
        last.end = min(last.end, max(last.begin, self.observed_since, since))


class GapHistories(RuleBasedStateMachine):
    """Does the same to a journal and to the list, and compares them after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.model: dict[str, Listening] = {}
        self.runner = asyncio.Runner()
        self.engine = self.make_engine()
        self.open()
        self.watch("agent1")

    def make_engine(self) -> Engine:
        """Return an engine with a new journal."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close everything."""
        self.reader.close()
        self.journal.close()
        self.runner.close()

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @rule(agent=AGENTS)
    def restart(self, agent: str) -> None:
        """Begin to listen, or go on after a stop."""
        self.watch(agent)

    @rule(agent=AGENTS, seconds=SECONDS, later=SECONDS)
    def begin_anew(self, agent: str, seconds: int, later: int) -> None:
        """Let the source begin another chain, which proves something at once, or later."""
        self.now += timedelta(seconds=seconds)
        if (one := self.model.get(agent)) is not None:
            one.chain, one.since = one.chain + 1, self.now
        if later:
            self.prove(agent, later)

    @rule(agent=AGENTS, seconds=SECONDS)
    def go_on(self, agent: str, seconds: int) -> None:
        """Prove that nothing was missed since the source's chain began."""
        self.prove(agent, seconds)

    @rule(agent=AGENTS, cause=st.sampled_from(GapCause), age=st.none() | SECONDS)
    def break_off(self, agent: str, cause: GapCause, age: int | None) -> None:
        """Let the source say that it can't prove anything now, or couldn't for some time."""
        since = None if age is None else self.now - timedelta(seconds=age)
        self._append(agent, Break(cause, since))
        if (one := self.model.get(agent)) is not None:
            one.is_broken = True
            if since is not None and one.proven:
                one.take_back(since)

    @rule(agent=AGENTS, seconds=st.integers(0, 3))
    def agree(self, agent: str, seconds: int) -> None:
        """Compare what is known with a list that was asked for some seconds ago, but after the last comparison."""
        if (one := self.model.get(agent)) is not None:
            one.compared_at = max(one.compared_at or one.observed_since, self.now - timedelta(seconds=seconds))
            self._run(self.journal.agree(agent, one.compared_at))

    @rule(agent=AGENTS)
    def doubt(self, agent: str) -> None:
        """Find a change that wasn't notified, at any time."""
        self._run(self.journal.doubt(agent))
        one = self.model.get(agent)
        if one is not None and one.held is not None:
            one.take_back(one.compared_at or one.observed_since)
            one.doubted, one.held, one.is_broken = one.held, None, True

    @rule(age=st.integers(0, 90))
    def prune(self, age: int) -> None:
        """Forget what is old: it isn't counted any more."""
        before = self.now - timedelta(seconds=age)
        self._run(self.journal.prune(before, None))
        for one in self.model.values():
            one.observed_since = max(one.observed_since, min(before, one.proven_until))

    @invariant()
    def is_known(self) -> None:
        """What the journal knows is what was proved, broken and compared."""
        assert [
            (one.agent, one.observed_since, one.proven_until, one.broken is not None, one.compared_at)
            for one in self.reader.watched()
        ] == [
            (agent, one.observed_since, one.proven_until, one.is_broken, one.compared_at)
            for agent, one in sorted(self.model.items())
        ]
        assert verified(self.reader) == []

    @invariant()
    def is_one_or_the_other(self) -> None:
        """Each moment that is counted is proved, or in one gap, and never in both; a gap is closed by comparing."""
        for watched in self.reader.watched():
            one = self.model[watched.agent]
            ended = list(self.reader.gaps(agent=watched.agent))
            gaps = [*ended, *([watched.open_gap] if watched.open_gap is not None else [])]
            assert watched.gaps == tuple(gap for gap in ended if gap.closed_by is None)
            assert all(gap.end is not None and (one.compared_at or NOW) >= gap.end for gap in ended if gap.closed_by)
            missing = [Stretch(gap.begin, gap.end or self.now) for gap in gaps]
            for each, following in pairwise(missing):
                assert each.begin <= each.end <= following.begin
            assert all(min(a.end, b.end) <= max(a.begin, b.begin) for a in missing for b in one.proven)
            coverage = coverage_of(watched, gaps, self.now)
            assert coverage.covered == self._counted(one, one.proven)
            assert coverage.observed == coverage.covered + self._counted(one, missing)

    def watch(self, agent: str) -> None:
        """Say that it is listened for an agent now."""
        self._run(self.journal.watch(agent, self.now))
        self.model.setdefault(agent, Listening(self.now, self.now)).is_broken = True

    def prove(self, agent: str, seconds: int) -> None:
        """Append a proof, some seconds from now: a new chain's ends a gap, and a doubted one's is none."""
        self.now += timedelta(seconds=seconds)
        if (one := self.model.get(agent)) is None:
            return
        wake = self.journal.wakes(gaps_of(agent))
        wake.clear()
        self._append(agent, Proof(f"chain {one.chain}", one.since, self.now))
        assert wake.is_set() == (one.chain not in {one.held, one.doubted})
        if one.chain == one.doubted:
            return
        if one.chain != one.held:
            one.proven.append(Stretch(max(one.since, one.proven_until), self.now))
        one.proven[-1].end = self.now
        one.held, one.is_broken = one.chain, False

    def open(self) -> None:
        """Open the journal and a reader of it."""
        self.journal = self.engine.open(self.now)
        self.reader = self.engine.read(self.journal)

    def _counted(self, one: Listening, stretches: list[Stretch]) -> timedelta:
        lengths = (each.end - max(each.begin, one.observed_since) for each in stretches)
        return sum((max(length, NOTHING) for length in lengths), NOTHING)

    def _append(self, agent: str, proof: Proof | Break) -> None:
        self._run(self.journal.append(Batch(agent, Origin.LIVE, self.now, (), proof), (), ()))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)


class DurableGapHistories(GapHistories):
    """The same for a journal that outlives its process."""

    @rule()
    def reopen(self) -> None:
        """End the daemon, and open its journal again: that alone says nothing of what was missed."""
        self.reader.close()
        self.journal.close()
        self.open()

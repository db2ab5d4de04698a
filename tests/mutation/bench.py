"""Where mutants of one file are judged: a run of pytest that has come to its first test, and forks for each mutant."""

import gc
import signal
import time  # noqa: TID251  how long tests take
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from mutation.forks import forked, noted
from mutation.in_place import Place, Watch
from mutation.mutant import Mutant
from mutation.verdict import Fate, Verdict

PATIENCE: Final = 4.0
"""How much more of the processor than without a mutant a test may take,"""
SLACK_SECONDS: Final = 6.0
"""and what it gets on top of that."""
PATIENCE_TO_WAIT: Final = 10.0
"""How much longer it may last: longer than that, as other work on the machine makes it last, too."""
SLACK_TO_WAIT_SECONDS: Final = 20.0
LONGEST_SECONDS: Final = 3600.0
HISTORIES_SHARE: Final = 8
"""One in so many of the histories that hypothesis tells is enough here."""


class Shortened:
    """A plug-in of pytest: of the histories that hypothesis tells, a few are enough here."""

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Let each class of histories have fewer of them."""
        for each in {item.getparent(pytest.Class) for item in items}:
            if each is not None and hasattr(each.obj, "settings"):
                told = each.obj.settings
                each.obj.settings = settings(told, max_examples=max(1, told.max_examples // HISTORIES_SHARE))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a test takes without a mutant."""

    cpu_seconds: float
    seconds: float


UNKNOWN: Final = Cost(LONGEST_SECONDS, LONGEST_SECONDS)


@dataclass
class Bench(Shortened):
    """A plug-in of pytest: instead of all tests once it runs, for each mutant, those that use what it changes."""

    file: Path
    mutants: Sequence[Mutant]
    tell: Callable[[Verdict], None]
    failing: str | None = "the collection of tests"
    """The test that fails without any mutant, if one does."""
    left: list[Mutant] = field(default_factory=list[Mutant])
    """Those that need a new import."""
    _costs: dict[str, Cost] = field(default_factory=dict[str, Cost])

    def __post_init__(self) -> None:
        self._place = Place(self.file)
        self._watch = Watch(self._place)
        self._watch.start()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge all mutants."""
        self._watch.stop()
        self._place.look_up()
        self.failing, self._costs, used = noted(lambda: self._without_mutant(session), LONGEST_SECONDS)
        self._place.used.update(used)
        gc.freeze()  # what is here by now need not be looked through again and again
        if self.failing is None:
            for mutant in self.mutants:
                self._judge(mutant, session)
        return True

    def _without_mutant(self, session: pytest.Session) -> tuple[str | None, dict[str, Cost], dict[str, set[int | str]]]:
        """Run all tests; return which fails, what each takes, and what it uses."""
        self._watch.start()
        for item in session.items:
            self._watch.begin(item.nodeid)
            began, cpu = time.monotonic(), time.process_time()
            if not all_pass(session, [item], {}):
                return item.nodeid, {}, {}
            self._costs[item.nodeid] = Cost(time.process_time() - cpu, time.monotonic() - began)
        self._watch.stop()
        return None, self._costs, self._place.used

    def _judge(self, mutant: Mutant, session: pytest.Session) -> None:
        if (placed := self._place.put(mutant)) is None:
            self.left.append(mutant)
            return
        put, names = placed
        items = sorted((each for each in session.items if each.nodeid in names), key=self._how_long)
        with mutant.on_disk():
            self.tell(Verdict(mutant.key, fate_of(lambda: put() or all_pass(session, items, self._costs))))

    def _how_long(self, item: pytest.Item) -> float:
        return self._costs[item.nodeid].seconds


def all_pass(session: pytest.Session, items: Sequence[pytest.Item], costs: Mapping[str, Cost]) -> bool:
    """Run tests, up to the first that fails; what takes far more than it took ends this process."""
    for item, after in zip(items, [*items[1:], None], strict=True):
        cost = costs.get(item.nodeid, UNKNOWN)
        signal.setitimer(signal.ITIMER_PROF, SLACK_SECONDS + PATIENCE * cost.cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, SLACK_TO_WAIT_SECONDS + PATIENCE_TO_WAIT * cost.seconds)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return False
    return True


def fate_of(passes: Callable[[], bool], limit_seconds: float = LONGEST_SECONDS) -> Fate:
    """Say what becomes of a mutant for which these tests pass, or don't."""
    status = forked(lambda: 0 if passes() else 1, limit_seconds)
    if status in {None, -signal.SIGALRM, -signal.SIGPROF}:
        return Fate.TIMED_OUT
    return Fate.KILLED if status else Fate.SURVIVED

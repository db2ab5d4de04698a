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
"""How much longer than without a mutant tests may take,"""
SLACK_SECONDS: Final = 8.0
"""and what they get on top of that."""
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
    _seconds: dict[str, float] = field(default_factory=dict[str, float])
    """How long each test takes."""

    def __post_init__(self) -> None:
        self._place = Place(self.file)
        self._watch = Watch(self._place)
        self._watch.start()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge all mutants."""
        self._watch.stop()
        self._place.look_up()
        self.failing, self._seconds, used = noted(lambda: self._without_mutant(session), LONGEST_SECONDS)
        self._place.used.update(used)
        gc.freeze()  # what is here by now need not be looked through again and again
        if self.failing is None:
            for mutant in self.mutants:
                self._judge(mutant, session)
        return True

    def _without_mutant(
        self, session: pytest.Session
    ) -> tuple[str | None, dict[str, float], dict[str, set[int | str]]]:
        """Run all tests; return which fails, how long each takes, and what it uses."""
        self._watch.start()
        for item in session.items:
            self._watch.begin(item.nodeid)
            began = time.monotonic()
            if not all_pass(session, [item], {}):
                return item.nodeid, {}, {}
            self._seconds[item.nodeid] = time.monotonic() - began
        self._watch.stop()
        return None, self._seconds, self._place.used

    def _judge(self, mutant: Mutant, session: pytest.Session) -> None:
        if (placed := self._place.put(mutant)) is None:
            self.left.append(mutant)
            return
        put, names = placed
        items = sorted((each for each in session.items if each.nodeid in names), key=self._how_long)
        with mutant.on_disk():
            self.tell(Verdict(mutant.key, fate_of(lambda: put() or all_pass(session, items, self._seconds))))

    def _how_long(self, item: pytest.Item) -> float:
        return self._seconds[item.nodeid]


def all_pass(session: pytest.Session, items: Sequence[pytest.Item], seconds: Mapping[str, float]) -> bool:
    """Run tests, up to the first that fails; what takes far longer than it took ends this process."""
    for item, after in zip(items, [*items[1:], None], strict=True):
        signal.setitimer(signal.ITIMER_REAL, SLACK_SECONDS + PATIENCE * seconds.get(item.nodeid, LONGEST_SECONDS))
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return False
    return True


def fate_of(passes: Callable[[], bool], limit_seconds: float = LONGEST_SECONDS) -> Fate:
    """Say what becomes of a mutant for which these tests pass, or don't."""
    status = forked(lambda: 0 if passes() else 1, limit_seconds)
    if status in {None, -signal.SIGALRM}:
        return Fate.TIMED_OUT
    return Fate.KILLED if status else Fate.SURVIVED

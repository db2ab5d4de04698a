"""The difference in effects: which follow-ups two runs have in common, and which one has alone."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fbsessiond.follow_up import FollowUp

Kind: TypeAlias = Literal["same", "added", "removed", "changed"]
KINDS: tuple[Kind, ...] = ("same", "added", "removed", "changed")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a handler asked for at an entry."""

    seq: int
    handler: str
    step: int
    follow_up: FollowUp

    @property
    def effect(self) -> str:
        """What it does, whoever asked for it."""
        return json.dumps([self.follow_up.name, self.follow_up.parameters], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """A follow-up in both runs, or in one."""

    kind: Kind
    before: Asked | None
    after: Asked | None

    @property
    def asked(self) -> Asked:
        """The one that there is, the later one of two."""
        asked = self.after or self.before
        assert asked is not None, "there is one at least"  # noqa: S101  by `compare`
        return asked


_PAIRINGS: Sequence[tuple[Kind, Callable[[Asked], object]]] = (
    ("same", lambda one: one.effect),
    ("changed", lambda one: (one.handler, one.step)),
    ("changed", lambda one: one.follow_up.name),
)
"""What two have in common that belong together, the surest first."""


def compare(before: Iterable[Asked], after: Iterable[Asked]) -> Iterator[Difference]:
    """Yield the differences, entry by entry.

    Of one entry the same effect is the same, whichever handler asks for it. What is left is changed where the same step
    of the same handler asks for something else, or the same operation has other parameters.
    """
    old, new = _by_entry(before), _by_entry(after)
    for seq in sorted(old.keys() | new.keys()):
        yield from _compare_entry(old[seq], new[seq])


def _compare_entry(old: list[Asked], new: list[Asked]) -> Iterator[Difference]:
    for kind, key in _PAIRINGS:
        if not old or not new:
            break
        keys = [key(other) for other in new]
        for one in list(old):
            if (wanted := key(one)) in keys:
                at = keys.index(wanted)
                del keys[at]
                old.remove(one)
                yield Difference(kind, one, new.pop(at))
    yield from (Difference("removed", one, None) for one in old)
    yield from (Difference("added", None, one) for one in new)


def count(differences: Sequence[Difference]) -> dict[str, int]:
    """Return how many there are of each kind."""
    counts = Counter(one.kind for one in differences)
    return {kind: counts[kind] for kind in KINDS}


def _by_entry(asked: Iterable[Asked]) -> defaultdict[int, list[Asked]]:
    found: defaultdict[int, list[Asked]] = defaultdict(list)
    for one in asked:
        found[one.seq].append(one)
    return found

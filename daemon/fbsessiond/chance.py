"""The one place where randomness comes in."""

import random  # noqa: TID251  the one place
import secrets  # noqa: TID251  the one place
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Chance(Protocol):
    """What the daemon asks for a random number: jitter, nothing that must be secret."""

    def between(self, least: float, most: float) -> float:
        """Return a number from `least` to `most`, each as likely as any other."""
        ...


class SeededChance:
    """Chance that repeats itself: the same seed gives the same numbers. Without a seed: no repeat."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  jitter, nothing secret

    def between(self, least: float, most: float) -> float:
        """Return a number from `least` to `most`, each as likely as any other."""
        return self._random.uniform(least, most)


def happens(chance: Chance, probability: float) -> bool:
    """Say whether something happens that does with this probability: never with 0, always with 1."""
    return probability > 0 and (probability >= 1 or chance.between(0, 1) < probability)


def choose(chance: Chance, options: Sequence[T]) -> T:
    """Return one of some options, each as likely as any other."""
    return options[min(int(chance.between(0, len(options))), len(options) - 1)]


def offshoot(chance: Chance) -> SeededChance:
    """Return a chance of its own: as repeatable as the one it comes from, and undisturbed by who else asks that."""
    return SeededChance(int(chance.between(0, 2**53)))


def new_identity() -> str:
    """Return 32 hexadecimal digits that nobody else has: the name of a new journal."""
    return secrets.token_hex(16)


def new_key() -> bytes:
    """Return 32 secret bytes: a key for the tokens that stand for customer data."""
    return secrets.token_bytes(32)

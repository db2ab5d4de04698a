"""A mutant: one file of the sources with one small change in it that a test should notice."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MOST_CHARACTERS = 200
"""How much of a change names it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What stands in a file from one byte to another, and what could stand there instead."""

    begin: int
    end: int
    instead: str
    place: str
    """The function, class or query around it."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What names a mutant for as long as its line stays as it is, wherever that moves."""

    file: str
    place: str
    change: str
    """`before → after`."""
    nth: int = 1
    """Which one it is, where the same could be done several times in one place."""

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.change}" + (f" ({self.nth})" if self.nth > 1 else "")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed file."""

    key: Key
    text: bytes
    """All of the file."""

    @contextmanager
    def on_disk(self) -> Generator[None]:
        """Let it stand in the file for a while."""
        file = Path(self.key.file)
        before = file.read_bytes()
        file.write_bytes(self.text)
        try:
            yield
        finally:
            file.write_bytes(before)


def mutants_of(file: str, source: bytes, edits: Iterable[Edit]) -> Iterator[Mutant]:
    """Make a mutant of each edit."""
    seen: Counter[tuple[str, str]] = Counter()
    for edit in edits:
        before = source[edit.begin : edit.end].decode()
        change = " ".join(f"{before} → {edit.instead}".split())[:MOST_CHARACTERS]
        seen[edit.place, change] += 1
        key = Key(file, edit.place, change, seen[edit.place, change])
        yield Mutant(key, source[: edit.begin] + edit.instead.encode() + source[edit.end :])

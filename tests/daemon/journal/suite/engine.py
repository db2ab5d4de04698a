"""What the suite asks of an engine, and what all its parts share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime

import pytest

from fbsessiond.finding import Finding
from fbsessiond.journal.interface import Journal, Reader
from journal_parts import NOW


class Engine(ABC):
    """What the suite asks of an engine: the same journal each time that it is opened."""

    @abstractmethod
    def open(self, now: datetime) -> Journal:
        """Open the journal to write it."""

    @abstractmethod
    def read(self, journal: Journal) -> Reader:
        """Open a reader of an open journal, or, of one that outlives its process, of a closed one."""


class Part:
    """A part of the suite: tests that take an engine, or its open journal and a reader of that."""

    @pytest.fixture
    def engine(self) -> Engine:
        """Return the engine that the suite runs over: whoever runs it says which."""
        raise NotImplementedError

    @pytest.fixture
    def journal(self, engine: Engine) -> Iterator[Journal]:
        """Open the engine's journal."""
        journal = engine.open(NOW)
        yield journal
        journal.close()

    @pytest.fixture
    def reader(self, engine: Engine, journal: Journal) -> Iterator[Reader]:
        """Read what the journal writes."""
        reader = engine.read(journal)
        yield reader
        reader.close()


def verified(reader: Reader) -> list[Finding]:
    """Return all that is wrong in a journal."""
    return list(reader.verify(lambda _done, _count: None))


def states(reader: Reader) -> list[tuple[int, str]]:
    """Return each delivery's entry and state."""
    return [(record.seq, record.state.value) for record in reader.deliveries()]


async def prune(journal: Journal, before: datetime, most_bytes: int | None = None) -> list[int]:
    """Prune until there is nothing more to forget, and return how many entries each bite took."""
    bites: list[int] = []
    while (forgotten := await journal.prune(before, most_bytes)) > 0:
        bites.append(forgotten)
    return bites

"""fbsessiond.proofs: what empty connects prove is written once a second, and never behind what came later."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.gap import Break, GapCause, Proof, Watched
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.proofs import WRITE_SECONDS, Proofs
from fbsessiond.service import Pipeline
from fbsessiond.testing import VirtualClock, run_virtual
from journal_parts import NOW, after, gap, message, watched

SOON = WRITE_SECONDS / 10
"""How long after each other connects are answered here: several within a turn."""


@pytest.fixture
def journal() -> Generator[SqliteJournal]:
    """Open a journal in memory."""
    journal = SqliteJournal(MEMORY, NOW)
    yield journal
    journal.close()


class Connects:
    """A source that yields its batches, each soon after the one before, and then waits until it is closed."""

    def __init__(self, *batches: Batch) -> None:
        self._batches = list(batches)
        self._closed = asyncio.Event()

    def __aiter__(self) -> "Connects":
        return self

    async def __anext__(self) -> Batch:
        if not self._batches:
            await self._closed.wait()
            raise StopAsyncIteration
        await asyncio.sleep(SOON)
        return self._batches.pop(0)

    async def aclose(self) -> None:
        """End."""
        self._closed.set()


def proven(until: float, *messages: Message, chain: str = "c/0", since: float = 0, agent: str = "agent1") -> Batch:
    """Return a batch that proves a chain up to some seconds after `NOW`."""
    proof = Proof(chain, after(since), after(until), b"%d" % until)
    return Batch(agent, Origin.LIVE, after(until), messages, proof)


def broken(*, since: float | None = None) -> Batch:
    """Return a batch that says that the chain may be broken."""
    return Batch("agent1", Origin.LIVE, NOW, (), Break(GapCause.NETWORK, None if since is None else after(since)))


def taken(journal: SqliteJournal, *sources: tuple[Batch, ...], seconds: float) -> list[Watched]:
    """Take what sources yield, look after some seconds what the journal knows of their agents, and stop."""

    async def main() -> list[Watched]:
        proofs = Proofs(journal)
        pipeline = Pipeline(journal, [], VirtualClock(), SeededChance(1), proofs=proofs)
        parts = [pipeline.take_all(Connects(*batches)) for batches in sources]
        tasks = [asyncio.create_task(part) for part in (*parts, proofs.run())]
        await asyncio.sleep(seconds)
        found = list(journal.reader().watched())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return found

    return run_virtual(main())


def test_turns(journal: SqliteJournal) -> None:
    """The first proof of a chain is written at once; what only goes on with it, of all agents, once a second."""
    commits = []

    @contextmanager
    def counted(step: str) -> Generator[None]:
        commits.append(step)
        yield

    journal.time_with(counted)
    sources = [tuple(proven(each, agent=f"agent{number}") for each in (1, 2, 3)) for number in (1, 2, 3)]
    found = taken(journal, *sources, seconds=WRITE_SECONDS + SOON)
    assert [(one.proven_until, one.position) for one in found] == [(after(3), b"3")] * 3
    assert commits == ["commit", "commit"]


def test_lost_in_a_crash(journal: SqliteJournal) -> None:
    """Before its turn a proof isn't on disk: what a crash leaves is the proof before, with its own position."""
    (found,) = taken(journal, (proven(1), proven(2)), seconds=WRITE_SECONDS - SOON)
    assert (found.proven_until, found.position) == (after(1), b"1")


def test_written_at_a_stop(journal: SqliteJournal) -> None:
    """Nothing waits any more when the daemon has stopped."""
    taken(journal, (proven(1), proven(2)), seconds=WRITE_SECONDS - SOON)
    (found,) = journal.reader().watched()
    assert (found.proven_until, found.position) == (after(2), b"2")


START = gap(0, 0, GapCause.START)


@pytest.mark.parametrize(
    ("later", "known"),
    [
        (proven(3, message()), watched(3, START, position=b"3")),
        (broken(), watched(2, START, broken=GapCause.NETWORK, position=b"2")),
        (broken(since=1.5), watched(1.5, START, broken=GapCause.NETWORK, position=b"2")),
        (proven(5, chain="d/0", since=4), watched(5, START, gap(2, 4, GapCause.SESSION_LOST), position=b"5")),
        (Batch("agent1", Origin.LIVE, NOW, (message(),)), watched(2, START, position=b"2")),
    ],
    ids=["notifications", "break", "doubt", "another chain", "no proof"],
)
@pytest.mark.parametrize("seconds", [WRITE_SECONDS - SOON, WRITE_SECONDS + SOON], ids=["at once", "after a turn"])
def test_in_order(journal: SqliteJournal, later: Batch, known: Watched, seconds: float) -> None:
    """Whatever else comes is written at once, after the proofs that waited; their turn changes nothing of it."""
    assert taken(journal, (proven(1), proven(2), later), seconds=seconds) == [known]


def test_a_chain_goes_on_after_a_break(journal: SqliteJournal) -> None:
    """The first proof after a break isn't kept waiting: it says that nothing was missed."""
    found = taken(journal, (proven(1), broken(), proven(3)), seconds=WRITE_SECONDS - SOON)
    assert found == [watched(3, START, position=b"3")]

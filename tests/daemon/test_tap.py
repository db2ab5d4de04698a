from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.journal.suite.follow_ups import PARKED, ask, comment, end
from fbsessiond.gap import Gap, GapCause
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import Act, DeliveryRecord, Entry, FollowUpRecord, NotWanted
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.tap import OVERLAP, Happening, Tap, happened_at
from fbsessiond.testing import VirtualClock
from journal_parts import (
    NOW,
    after,
    append,
    break_chain,
    draft,
    drop,
    kill,
    lease,
    misfit,
    other,
    prove,
    quarantined,
    retry,
    settle,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """Open a journal."""
    journal = SqliteJournal(tmp_path / "j.db", NOW)
    yield journal
    journal.close()


@pytest.fixture
def reader(tmp_path: Path, journal: Journal) -> Iterator[Reader]:
    """Read it beside the daemon."""
    del journal
    reader = open_reader("sqlite:j.db", tmp_path)
    yield reader
    reader.close()


def named(happening: Happening) -> str:
    """Return what happened in a word or two."""
    match happening:
        case Entry():
            return f"entry {happening.seq}"
        case DeliveryRecord():
            return f"{happening.id} {happening.state}"
        case FollowUpRecord():
            return f"{happening.id} {happening.progress.state}"
        case Gap():
            end = "open" if happening.end is None else f"{(happening.end - NOW).total_seconds():g}"
            return f"gap {happening.cause} {end} {happening.closed_by}"
        case Act():
            return f"{happening.subject} {happening.kind}"
        case _:
            return happening.id


def seen(tap: Tap) -> list[str]:
    """Return what is new."""
    return [named(one) for one in tap.look()]


async def test_new(journal: Journal, reader: Reader) -> None:
    """What is new is seen once, by time: entries and what becomes of them, but not what nobody wants."""
    await append(journal, draft("old", "Invited", "log"))
    await settle(journal, *await lease(journal))
    tap = Tap(reader, after(1), VirtualClock())
    assert seen(tap) == []
    no = [NotWanted("audit", "to: was Invited")]
    await append(journal, draft("S1", "Invited", "log", not_wanted=no), other(), at=after(2))
    await settle(journal, *await lease(journal), now=after(3))
    assert seen(tap) == ["entry 2", "entry 3", "2/log delivered"]
    assert seen(tap) == []
    await append(journal, draft("S2", "Invited", "log"), at=after(4))
    assert seen(tap) == ["entry 4"]
    await kill(journal, now=after(4))
    assert seen(tap) == ["4/log dead"]


async def test_order(journal: Journal, reader: Reader) -> None:
    """What came in between two looks is told by its time."""
    tap = Tap(reader, NOW, VirtualClock())
    for at in (1, 3, 5):
        await append(journal, draft(f"S{at}", "Invited", "log"), at=after(at))
        await settle(journal, *await lease(journal), now=after(at + 1))
    assert seen(tap) == ["entry 1", "1/log delivered", "entry 2", "2/log delivered", "entry 3", "3/log delivered"]


async def test_since(journal: Journal, reader: Reader) -> None:
    """It can begin with what happened since a time, of each kind."""
    for at in (1, 5):
        await append(journal, draft(f"S{at}", "Invited", "log"), misfit(), at=after(at))
        await settle(journal, *await lease(journal), now=after(at))
    assert seen(Tap(reader, after(2), VirtualClock())) == ["entry 2", "2/log delivered", "quarantine/2"]
    assert len(seen(Tap(reader, NOW, VirtualClock()))) == 6


async def test_follow_ups(journal: Journal, reader: Reader) -> None:
    """A follow-up is told each time that it has come further, as far as it came by the next look."""
    tap = Tap(reader, NOW, VirtualClock())
    await ask(journal, comment(1))
    assert seen(tap) == ["entry 1", "1/wrap-up/1 intended", "1/wrap-up delivered"]
    await end(journal, PARKED)
    assert seen(tap) == ["1/wrap-up/1 parked"]
    assert seen(tap) == []


async def test_gaps(journal: Journal, reader: Reader) -> None:
    """A gap is told when it begins, ends, and is closed; one from before isn't."""
    await prove(journal, "one", 0, 10)
    await break_chain(journal)
    tap = Tap(reader, after(20), VirtualClock())
    assert seen(tap) == []
    await prove(journal, "two", 30, 40)
    assert seen(tap) == ["gap network 30 None"]
    await break_chain(journal, GapCause.REFUSED)
    assert seen(tap) == ["gap refused open None"]
    await prove(journal, "three", 50, 60)
    await journal.agree("agent1", after(60))
    assert seen(tap) == ["gap start 0 snapshot", "gap network 30 snapshot", "gap refused 50 snapshot"]


async def test_persons(journal: Journal, reader: Reader) -> None:
    """What goes to the quarantine, and what a person does, is told."""
    tap = Tap(reader, NOW, VirtualClock())
    await append(journal, misfit(), at=after(1))
    assert seen(tap) == ["quarantine/1"]
    assert retry(reader, quarantined(1), after(2))
    assert seen(tap) == ["quarantine/1 retry"]
    assert drop(reader, quarantined(1), after(2))
    assert seen(tap) == ["quarantine/1 drop"]


async def test_late_commit(journal: Journal, reader: Reader) -> None:
    """What is written a little later than what has a later time is told all the same."""
    await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"))
    first, second = await lease(journal)
    tap = Tap(reader, after(1), VirtualClock())
    await settle(journal, second, now=after(5))
    assert seen(tap) == ["2/log delivered"]
    await settle(journal, first, now=after(5) - OVERLAP)
    assert seen(tap) == ["1/log delivered"]
    assert seen(tap) == []


async def test_settled_again(journal: Journal, reader: Reader) -> None:
    """A delivery that is retried and settled again is told again."""
    await append(journal, draft("S1", "Invited", "log"))
    tap = Tap(reader, NOW, VirtualClock())
    await kill(journal, now=after(1))
    assert seen(tap) == ["entry 1", "1/log dead"]
    (dead,) = reader.dead()
    assert retry(reader, dead, after(2))
    await settle(journal, *await lease(journal, now=after(2)), now=after(2))
    assert seen(tap) == ["1/log retry", "1/log delivered"]


async def test_time_set_back(journal: Journal, reader: Reader) -> None:
    """Where the machine's time is set back nothing is missed, and what was told isn't told again."""
    clock = VirtualClock()
    begin = clock.now()
    await append(journal, *(draft(f"S{number}", "Invited", "log") for number in range(3)), at=begin)
    first, second, third = await lease(journal)
    tap = Tap(reader, begin, clock)
    await settle(journal, first, now=begin + timedelta(minutes=1))
    assert "1/log delivered" in seen(tap)
    clock.step(timedelta(hours=-1))
    assert seen(tap) == []
    await settle(journal, second, now=begin - timedelta(minutes=59))
    assert seen(tap) == ["2/log delivered"]
    clock.step(timedelta(hours=1))
    await settle(journal, third, now=begin + timedelta(minutes=2))
    assert seen(tap) == ["3/log delivered"]
    assert seen(tap) == []


async def test_little_is_remembered(journal: Journal, reader: Reader) -> None:
    """However much was told, only the last of it is remembered."""
    await append(journal, *(draft(f"S{number}", "Invited", "log") for number in range(20)))
    tap = Tap(reader, NOW, VirtualClock())
    for seconds, one in enumerate(await lease(journal)):
        await settle(journal, one, now=after(seconds))
    assert len(seen(tap)) == 40
    assert [(at - NOW).total_seconds() for at in tap.deliveries.told.values()] == [17, 18, 19]


async def test_when(journal: Journal, reader: Reader) -> None:
    """Everything has a time: a gap its end, or, while it goes on, its beginning."""
    await append(journal, misfit(), at=after(1))
    (one,) = Tap(reader, NOW, VirtualClock()).look()
    assert happened_at(one) == after(1)
    assert happened_at(Gap("a", after(1), after(2), GapCause.NETWORK)) == after(2)
    assert happened_at(Gap("a", after(1), None, GapCause.NETWORK)) == after(1)
    assert journal.last_place() == 0


@pytest.mark.parametrize("chunk", [1, 2, 3, 500])
async def test_chunks(journal: Journal, reader: Reader, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """However little is read at once, all of it is told, once, and in its order."""
    monkeypatch.setattr("fbsessiond.tap.CHUNK", chunk)
    tap = Tap(reader, NOW, VirtualClock())
    await append(journal, *(draft(f"S{number}", "Invited", "log") for number in range(3)), misfit(), misfit())
    await settle(journal, *await lease(journal), now=after(1))
    told = ["entry 1", "entry 2", "entry 3", "quarantine/1", "quarantine/2"]
    assert seen(tap) == [*told, "1/log delivered", "2/log delivered", "3/log delivered"]
    assert seen(tap) == []


async def test_slow_reader(journal: SqliteJournal, reader: Reader) -> None:
    """Whoever reads slowly doesn't hold up the journal: its log can be moved meanwhile."""
    tap = Tap(reader, NOW, VirtualClock())
    await append(journal, *(draft(f"S{number}", "Invited", "log") for number in range(3)), misfit(), misfit())
    await settle(journal, *await lease(journal), now=after(1))
    look = tap.look()
    assert named(next(look)) == "entry 1"
    (is_busy, *_) = journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not is_busy
    assert len(list(look)) == 7

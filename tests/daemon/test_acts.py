import asyncio
import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from fbsessiond.acts import act_record, act_told, acts_shown
from fbsessiond.dates import iso
from fbsessiond.journal.engines import open_journal, open_reader
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, ActKind
from journal_parts import NOW, after, append, draft, kill, misfit, retry

CANARY = "Vitaliy Onv-4711"
"""A customer's value."""


@pytest.fixture
def reader(tmp_path: Path) -> Generator[Reader, None, None]:
    """Return a look at a journal in which a person retried a delivery and dropped a message."""
    asyncio.run(fill(tmp_path))
    with closing(open_reader("sqlite:j.db", tmp_path)) as reader:
        yield reader


async def fill(folder: Path) -> None:
    """Make the journal."""
    with closing(open_journal("sqlite:j.db", folder, NOW)) as journal:
        await append(journal, draft("S1", "Completed", "log", comment=CANARY), draft("S2"), misfit())
        await kill(journal)
        reader = journal.reader()
        (dead,), (quarantined,) = reader.dead(), reader.quarantined()
        assert reader.act(dead, ActKind.RETRY, by="alice", at=after(1), because=f"{CANARY} is known now")
        assert reader.act(quarantined, ActKind.DROP, by="bob", at=after(2), because="a test")
        await kill(journal, now=after(1))
        assert retry(reader, dead, after(3))
        await kill(journal, now=after(3))


def test_shown(reader: Reader) -> None:
    """Acts are shown in their order, with a token for what a customer said; all of them, or those with one subject."""
    first, second, third = acts_shown(reader)
    assert re.fullmatch(r"\[free-text:[0-9a-f]{8}\] is known now", first.because or "")
    assert (second.because, third.because) == ("a test", None)
    assert list(acts_shown(reader, "1/log")) == [first, third]
    assert list(acts_shown(reader, "2/log")) == []


def test_revealed(reader: Reader) -> None:
    """Asked for by name, a reason is as it was given."""
    assert [act.because for act in acts_shown(reader, reveal=True)] == [f"{CANARY} is known now", "a test", None]


async def test_forgotten(reader: Reader, tmp_path: Path) -> None:
    """Where the entry is forgotten, what its customer said can't be known: the first line is shown."""
    with closing(open_journal("sqlite:j.db", tmp_path, after(4))) as journal:
        (dead,) = reader.dead()
        assert reader.act(dead, ActKind.DROP, by="alice", at=after(4), because=f"no use\n{CANARY}")
        await journal.prune(after(1), None)
    assert [act.because for act in acts_shown(reader, "1/log")][-1] == "no use"


def test_told() -> None:
    """An act is told as a sentence."""
    act = Act("1/log", ActKind.RETRY, NOW, "alice (uid 1000)", "the receiver is back")
    assert act_told(act) == f"retried by alice (uid 1000) at {iso(NOW)}: the receiver is back"
    assert act_told(Act("1/log", ActKind.DROP, NOW, "bob")) == f"dropped by bob at {iso(NOW)}"


def test_record() -> None:
    """An act is a line of JSON."""
    assert act_record(Act("quarantine/1", ActKind.DROP, NOW, "bob", "a test")) == {
        "subject": "quarantine/1",
        "act": "drop",
        "at": iso(NOW),
        "by": "bob",
        "because": "a test",
    }

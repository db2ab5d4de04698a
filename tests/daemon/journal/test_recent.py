"""The last entries in memory."""

from fbsessiond.journal.documents import entry_of
from fbsessiond.journal.recent import RecentEntries
from fbsessiond.journal.records import Entry
from fbsessiond.message import Batch, Origin
from journal_parts import NOW, draft


def entry(seq: int) -> Entry:
    """Return an entry of some bytes."""
    one = draft("S1", "Invited")
    return entry_of(seq, Batch("agent1", Origin.LIVE, NOW, (one.message,)), one)


def test_recent() -> None:
    """The last ones that fit are kept, and no others."""
    size = len(entry(1).notification)
    recent = RecentEntries(most_bytes=3 * size)
    for seq in range(1, 6):
        recent.add(entry(seq))
    assert [seq for seq in range(1, 9) if recent.get(seq) is not None] == [3, 4, 5]
    assert recent.get(4) == entry(4)


def test_large() -> None:
    """One that is larger than all that is kept isn't."""
    recent = RecentEntries(most_bytes=1)
    recent.add(entry(1))
    assert recent.get(1) is None

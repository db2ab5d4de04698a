"""The quarantine: kept word for word until it is read again."""

import pytest

from daemon.journal.suite.engine import Part, verified
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.message import Origin
from journal_parts import (
    CHANNEL,
    after,
    append,
    draft,
    drop,
    lease,
    misfit,
    quarantined,
    repeat,
    retry_quarantined,
    seqs,
)


class Quarantining(Part):
    """How the quarantine is kept and left."""

    async def test_quarantined(self, journal: Journal, reader: Reader) -> None:
        """A message that doesn't validate is kept word for word, with where it came from and what is wrong."""
        raw = bytes(range(256)) * 10
        await append(journal, misfit(raw, "isn't JSON"), misfit(b"", "nothing"), at=after(3), origin=Origin.REPLAY)
        one, two = reader.quarantined()
        assert (one.seq, one.received_at, one.origin, one.agent) == (1, after(3), Origin.REPLAY, "agent1")
        assert (one.channel, one.error, one.raw) == (CHANNEL, "isn't JSON", raw)
        assert two.raw == b""
        assert list(reader.quarantined(seq=2)) == [two]
        assert list(reader.quarantined(after_seq=1)) == [two]
        assert list(reader.quarantined(after_seq=2)) == []

    async def test_retries(self, journal: Journal, reader: Reader) -> None:
        """A quarantined message that a person asks for is read again, word for word; the others aren't."""
        await append(journal, misfit(b"one"), misfit(b"two"))
        assert await journal.take_retries() == []
        assert retry_quarantined(reader, 2)
        assert not retry_quarantined(reader, 3)
        (taken,) = await journal.take_retries()
        assert [taken] == list(reader.quarantined(seq=2))
        assert reader.statistics().quarantined == 2

    async def test_released(self, journal: Journal, reader: Reader) -> None:
        """A quarantined message that validates now becomes entries, and leaves, in one commit; deliveries included."""
        await append(journal, draft("S1"), misfit(), at=after(3), origin=Origin.REPLAY, agent="agent2")
        assert retry_quarantined(reader, 1)
        (taken,) = await journal.take_retries()
        assert await journal.release_quarantined(taken, [draft("S2", "Invited", "log"), repeat("S2")], None)
        assert list(reader.quarantined()) == []
        assert await journal.take_retries() == []
        assert not retry_quarantined(reader, 1)
        released = list(reader.entries(after_seq=1))
        assert [(entry.seq, entry.session) for entry in released] == [(2, "S2"), (3, "S2")]
        assert (released[0].received_at, released[0].origin, released[0].agent) == (after(3), Origin.REPLAY, "agent2")
        assert await journal.known("agent2", "S2") == {"id": "S2", "state": "Invited"}
        assert journal.wakes("log").is_set()
        assert seqs(await lease(journal)) == [2]

    async def test_dropped(self, journal: Journal, reader: Reader) -> None:
        """A quarantined message that a person drops is in the quarantine no more, and can't be read again."""
        await append(journal, misfit(b"one"), misfit(b"two"))
        assert retry_quarantined(reader, 1)
        assert drop(reader, quarantined(1))
        assert [one.seq for one in reader.quarantined()] == [2]
        assert reader.statistics().quarantined == 1
        assert await journal.take_retries() == []
        assert not drop(reader, quarantined(1))
        assert not retry_quarantined(reader, 1)
        assert verified(reader) == []

    @pytest.mark.parametrize("error", [None, "still unfit"])
    async def test_dropped_meanwhile(self, journal: Journal, reader: Reader, error: str | None) -> None:
        """One that is dropped while it is read again stays dropped: nothing is written of it."""
        await append(journal, misfit())
        assert retry_quarantined(reader, 1)
        (taken,) = await journal.take_retries()
        assert drop(reader, quarantined(1))
        drafts = [draft("S1", "Invited", "log")] if error is None else []
        assert not await journal.release_quarantined(taken, drafts, error)
        assert list(reader.quarantined()) == []
        assert list(reader.entries()) == []
        assert await append(journal, draft("S1")) == 1

    async def test_still_unfit(self, journal: Journal, reader: Reader) -> None:
        """A quarantined message that still doesn't validate stays, with the new error, and can be tried again."""
        await append(journal, misfit(b"raw", "old"))
        assert retry_quarantined(reader, 1)
        (taken,) = await journal.take_retries()
        assert await journal.release_quarantined(taken, (), "new")
        assert await journal.take_retries() == []
        (kept,) = reader.quarantined()
        assert (kept.error, kept.raw) == ("new", b"raw")
        assert retry_quarantined(reader, 1)
        assert verified(reader) == []

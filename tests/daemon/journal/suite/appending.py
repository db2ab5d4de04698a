"""Appending: entries, their numbers, and what is known of a session."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from daemon.journal.suite.engine import Part
from fbsessiond.journal.documents import document_of
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import Draft
from fbsessiond.message import Message, Origin
from fbsessiond.transition import Change, Kind
from journal_parts import CHANNEL, after, append, draft, lease, message, misfit, other, repeat


class Appending(Part):
    """What a journal keeps of what is appended."""

    async def test_entries(self, journal: Journal, reader: Reader) -> None:
        """An entry says all that was appended: where it came from, what it means, its notification word for word."""
        first = draft("S1", "Invited", userData={"Name": "Zoë\u2028\U0001fae9\x00"})
        second = draft("S1", "Chatting", before="Invited", merged={"id": "S1", "state": "Chatting", "comment": "hm"})
        await append(journal, first, second, at=after(0.123456), origin=Origin.SNAPSHOT)
        one, two = reader.entries()
        assert (one.seq, one.received_at, one.origin, one.agent) == (1, after(0.123456), Origin.SNAPSHOT, "agent1")
        assert (one.channel, one.session, one.kind, one.before, one.after) == (
            CHANNEL,
            "S1",
            Kind.TRANSITION,
            None,
            "Invited",
        )
        assert one.notification == first.message.data
        assert one.document is None
        assert (two.seq, two.before, two.after, two.document) == (2, "Invited", "Chatting", second.document)
        assert document_of(two)["comment"] == "hm"

    async def test_first_number(self, journal: Journal) -> None:
        """Who appends is told the number of the first entry, or of the next one where there was none to append."""
        assert await append(journal, draft("S1"), draft("S2")) == 1
        assert await append(journal, misfit()) == 3
        assert await asyncio.gather(append(journal, draft("S3"), draft("S4")), append(journal, draft("S5"))) == [3, 5]

    async def test_timed(self, journal: Journal) -> None:
        """Each commit is timed by whoever wants to know how long it takes, whatever is in it."""
        steps: list[str] = []

        @contextmanager
        def timed(step: str) -> Generator[None, None, None]:
            steps.append(step)
            yield

        await append(journal, draft("S1"))
        journal.time_with(timed)
        await asyncio.gather(append(journal, draft("S2")), append(journal, draft("S3")))
        await append(journal, draft("S4"))
        assert steps == ["commit", "commit"]

    async def test_entries_of_no_session(self, journal: Journal, reader: Reader) -> None:
        """What is about no session is an entry too, and so is a message without a channel."""
        await append(journal, other(), Draft(Message(b"{}", None, b"{}"), Change(Kind.OTHER)))
        one, two = reader.entries()
        assert (one.kind, one.session, one.before, one.after, one.channel) == (Kind.OTHER, None, None, None, CHANNEL)
        assert two.channel is None

    async def test_numbers(self, journal: Journal, reader: Reader) -> None:
        """Entries are numbered from 1 without a gap, whoever appends, and whatever goes to the quarantine."""
        await append(journal, draft("S1"), misfit(), draft("S2"))
        await append(journal, misfit())
        await append(journal)
        await asyncio.gather(append(journal, draft("S1"), agent="agent2"), append(journal, draft("S3")))
        assert [entry.seq for entry in reader.entries()] == [1, 2, 3, 4]
        assert [quarantined.seq for quarantined in reader.quarantined()] == [1, 2]

    async def test_large_batch(self, journal: Journal, reader: Reader) -> None:
        """A batch can have as many messages as a source may put into one, and each can be megabytes long."""
        large = draft("S0", comment="x" * 4_000_000)
        await append(journal, large, *[draft(f"S{number}", "Invited", "log") for number in range(1, 10_000)])
        assert reader.statistics().entries == 10_000
        assert next(reader.entries()).notification == large.message.data
        assert len(await lease(journal, most=10_000)) == 9_999

    async def test_cancelled_append(self, journal: Journal, reader: Reader) -> None:
        """A caller that is cancelled doesn't take its write back, and who waits for a delivery hears of it."""
        task = asyncio.create_task(append(journal, draft("S1", "Invited", "log")))
        await asyncio.sleep(0)
        task.cancel()
        await append(journal, draft("S2"))
        assert task.cancelled()
        assert [entry.session for entry in reader.entries()] == ["S1", "S2"]
        assert journal.wakes("log").is_set()

    async def test_unknown_session(self, journal: Journal) -> None:
        """Nothing is known of a session before its first sight, nor of another agent's."""
        assert await journal.known("agent1", "S1") is None
        await append(journal, draft("S1"), agent="agent2")
        assert await journal.known("agent1", "S1") is None

    async def test_known_from_notification(self, journal: Journal) -> None:
        """What is known of a session is its notification's own part, where that says it all."""
        await append(journal, draft("S1", "Invited", userData={"CASE": 12.50, "HUGE": 2**70, "NONE": None}))
        assert await journal.known("agent1", "S1") == {
            "id": "S1",
            "state": "Invited",
            "userData": {"CASE": 12.5, "HUGE": 2**70, "NONE": None},
        }

    async def test_known_merged(self, journal: Journal) -> None:
        """What is known of a session is the merged document, where the notification says only a part."""
        merged = {"id": "S1", "state": "Chatting", "comment": "from before"}
        await append(journal, draft("S1"), draft("S1", "Chatting", before="Invited", merged=merged))
        assert await journal.known("agent1", "S1") == merged

    async def test_known_stays(self, journal: Journal) -> None:
        """An entry that changes nothing leaves what is known of its session."""
        await append(journal, draft("S1", "Chatting"))
        await append(journal, repeat("S1"), Draft(message(), Change(Kind.MESSAGES, "S1")))
        assert await journal.known("agent1", "S1") == {"id": "S1", "state": "Chatting"}

    async def test_known_without_state(self, journal: Journal) -> None:
        """A session can be known before its state is."""
        document = {"id": "S1", "comment": "hm"}
        await append(journal, Draft(message(document), Change(Kind.PROPERTIES, "S1", document=document)))
        assert await journal.known("agent1", "S1") == document

    async def test_known_per_agent(self, journal: Journal) -> None:
        """Two agents' sessions of one id are two."""
        await append(journal, draft("S1", "Invited"), agent="agent1")
        await append(journal, draft("S1", "Chatting"), agent="agent2")
        assert await journal.known("agent1", "S1") == {"id": "S1", "state": "Invited"}
        assert await journal.known("agent2", "S1") == {"id": "S1", "state": "Chatting"}

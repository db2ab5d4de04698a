"""What arrives: bytes that a server calls messages, and files of them. Each is an entry, or in the quarantine."""

import tempfile
from collections import Counter
from pathlib import Path

from structlog.testing import capture_logs

from fbsessiond.envelope import open_envelope
from fbsessiond.fixtures import SUFFIXES, Fixture, FixtureSource, UnreadableFile, read_file
from fbsessiond.intake import Intake
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual
from fuzzing.journals import check_journal, emptied
from journal_parts import retry_quarantined


def take_messages(data: bytes) -> None:
    """Take each line as a message of one batch: whatever it is, it is kept, and what can't be read is kept so twice."""
    batch = Batch("agent1", Origin.LIVE, EPOCH, tuple(map(open_envelope, data.split(b"\n"))))
    with emptied() as (journal, reader):
        run_quietly(journal, [batch])
        check_kept(reader, batch.messages)
        check_journal(reader)
        quarantined = list(reader.quarantined())
        for one in quarantined:
            assert retry_quarantined(reader, one.seq)
        run_quietly(journal, [])
        assert list(reader.quarantined()) == quarantined


def replay_file(data: bytes) -> None:
    """Replay a file, whose first byte says which suffix it has: what was read is kept, or its place is told."""
    with tempfile.TemporaryDirectory() as folder, emptied() as (journal, reader):
        path = Path(folder) / f"file{SUFFIXES[data[0] % len(SUFFIXES) if data else 0]}"
        path.write_bytes(data[1:])
        found = list(read_file(path))
        fixtures = [one for one in found if isinstance(one, Fixture)]
        problems = [one.problem for one in found if isinstance(one, UnreadableFile)]
        assert len(problems) <= 1
        assert all(problem and "\n" not in problem for problem in problems)
        run_quietly(journal, fixtures)
        check_kept(reader, [one.message for one in fixtures])
        check_journal(reader)


def run_quietly(journal: SqliteJournal, parts: list[Batch] | list[Fixture]) -> None:
    """Let intake take batches, or replay fixtures, and read again what is in the quarantine and asked for."""

    async def main() -> None:
        intake = Intake(journal, (), VirtualClock())
        fixtures = [part for part in parts if isinstance(part, Fixture)]
        batches = [part for part in parts if isinstance(part, Batch)]
        for batch in [*batches, *[one async for one in FixtureSource(fixtures, VirtualClock())]]:
            await intake.take(batch)
        await intake.retry_quarantined()

    with capture_logs():
        run_virtual(main())


def check_kept(reader: Reader, messages: tuple[Message, ...] | list[Message]) -> None:
    """Check that each message is in the quarantine, word for word, or is an entry; and never both."""
    came = Counter(message.raw for message in messages)
    quarantined = Counter(one.raw for one in reader.quarantined())
    kept = {entry.notification for entry in reader.entries()}
    assert quarantined.keys() <= came.keys()
    for message in messages:
        if message.raw in quarantined:
            assert quarantined[message.raw] == came[message.raw]
        else:
            assert message.data in kept

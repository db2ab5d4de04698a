"""Journals for the targets: an empty one that is quickly had again, and checks that hold whatever was written."""

import functools
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from daemon.journal.suite.engine import verified
from fbsessiond.cli.export import to_record
from fbsessiond.journal.documents import document_of
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.printable import printable_json
from fbsessiond.session import session_from
from fbsessiond.testing import EPOCH
from fbsessiond.transition import Kind

TABLES = ("entries", "sessions", "agents", "gaps", "pending", "settled", "quarantine", "follow_ups")
"""All that a journal fills."""

KEY = bytes(32)
"""A key for tokens."""


@contextmanager
def emptied() -> Generator[tuple[SqliteJournal, Reader], None, None]:
    """Lend the one journal in memory of this process, with nothing in it, and a reader of it."""
    journal, reader = _journal()
    for table in TABLES:
        journal.connection.execute(f"DELETE FROM {table}")  # noqa: S608  one of our tables
    yield journal, reader


def check_journal(reader: Reader) -> None:
    """Check that nothing is wrong in a journal, and that each entry can be shown, redacted, and worked with."""
    findings = verified(reader)
    assert findings == [], findings
    for entry in reader.entries():
        for key in (None, KEY):
            line = printable_json(msgspec.json.encode(to_record(entry, key)).decode())
            assert "\n" not in line
            assert msgspec.json.decode(line)["seq"] == entry.seq
        if entry.kind is Kind.TRANSITION:
            assert session_from(document_of(entry), entry.agent).state == entry.after


@functools.cache
def _journal() -> tuple[SqliteJournal, Reader]:
    journal = SqliteJournal(MEMORY, EPOCH)
    return journal, journal.reader()

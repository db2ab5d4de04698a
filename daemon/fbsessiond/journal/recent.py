"""The last entries, in memory: what is delivered at once isn't read from disk again."""

from fbsessiond.journal.records import Entry

MOST_BYTES = 8 << 20
"""How much of notifications and documents is kept."""


class RecentEntries:
    """Entries by their numbers; what was kept first goes first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Take how many bytes of notifications and documents are kept."""
        self._most_bytes = most_bytes
        self._bytes = 0
        self._entries: dict[int, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Keep one that isn't here."""
        self._entries[entry.seq] = entry
        self._bytes += _size(entry)
        while self._bytes > self._most_bytes:
            self._bytes -= _size(self._entries.pop(next(iter(self._entries))))

    def get(self, seq: int) -> Entry | None:
        """Return one, if it is still here."""
        return self._entries.get(seq)


def _size(entry: Entry) -> int:
    return len(entry.notification) + len(entry.document or b"")

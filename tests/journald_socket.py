"""What listens in journald's place, and reads entries by the rules of its protocol."""

import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fbsessiond.journald import SEALS

Entry = list[tuple[str, bytes]]


class JournaldSocket:
    """A socket of datagrams at a path of a test's."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.in_memory = 0
        """How many entries came as memory, not as a datagram."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.address)

    def entries(self) -> list[Entry]:
        """Return the entries since the last look, each a list of fields with their values."""
        entries: list[Entry] = []
        with suppress(BlockingIOError):
            while True:
                data, descriptors, *_ = socket.recv_fds(self._socket, 1_000_000, 1)
                for descriptor in descriptors:
                    data = self._memory(descriptor)
                entries.append(parsed(data))
        return entries

    def _memory(self, descriptor: int) -> bytes:
        self.in_memory += 1
        assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == SEALS
        with os.fdopen(descriptor, "rb") as memory:
            memory.seek(0)
            return memory.read()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextmanager
def listening(path: Path) -> Generator[JournaldSocket, None, None]:
    """Listen for a while."""
    ear = JournaldSocket(path)
    try:
        yield ear
    finally:
        ear.close()


def parsed(data: bytes) -> Entry:
    """Read an entry: `NAME=value`, or the name alone, then the length of the value and the value."""
    fields: Entry = []
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, end, rest = rest[8 : 8 + length], rest[8 + length : 9 + length], rest[9 + length :]
            assert end == b"\n"
        fields.append((name.decode(), value))
        data = rest
    return fields

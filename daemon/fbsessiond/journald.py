"""systemd's journal, spoken to in its own protocol, so that a log line has fields that can be searched for.

A library for it that is maintained and plain Python, logging-journald, sends names of fields that nobody has checked.
[systemd: Native Journal Protocol]
"""

import array
import errno
import fcntl
import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

ADDRESS = "/run/systemd/journal/socket"

TOO_LONG = {errno.EMSGSIZE, errno.ENOBUFS}
"""How a socket says that a datagram is too long for it."""

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
"""What journald demands of memory that it is to read: nobody can change it any more."""

FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
"""What a field may be called: journald passes over all others, and trusts those that begin with an underscore."""


def is_read_by_journald(stream: TextIO, said: str | None) -> bool:
    """Say whether a stream ends in the journal; `said` is $JOURNAL_STREAM, a device and a file's number there.

    The variable alone says little: a child inherits it, with whatever its standard error is. [systemd.exec(5)]
    """
    with suppress(OSError, ValueError):  # a stream that isn't a file
        status = os.fstat(stream.fileno())
        return said == f"{status.st_dev}:{status.st_ino}"
    return False


class JournaldStream:
    """Where lines of JSON are written, each an object of fields; what journald doesn't take goes to standard error."""

    def __init__(self, address: str) -> None:
        self._address = address

    def write(self, line: str) -> None:
        """Send an entry."""
        try:
            send(json.loads(line), self._address)
        except OSError:
            sys.stderr.write(line)


def send(fields: Mapping[str, str], address: str) -> None:
    """Send an entry, however long. Raises `OSError` where nobody listens."""
    data = datagram(fields)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        try:
            sending.sendto(data, address)
        except OSError as error:
            if error.errno not in TOO_LONG:
                raise
            with os.fdopen(os.memfd_create("fbsessiond-log", os.MFD_ALLOW_SEALING), "wb") as memory:
                memory.write(data)
                memory.flush()
                fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
                descriptors = array.array("i", [memory.fileno()])
                sending.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)], 0, address)


def datagram(fields: Mapping[str, str]) -> bytes:
    """Return an entry as it is sent: each value with its length before it, so that none can end early.

    A field that can't be called so is left out. Halves of characters are escaped.
    """
    parts: list[bytes] = []
    for name, value in fields.items():
        if FIELD.fullmatch(name):
            text = value.encode(errors="backslashreplace")
            parts += [name.encode(), b"\n", len(text).to_bytes(8, "little"), text, b"\n"]
    return b"".join(parts)

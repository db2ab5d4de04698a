"""A process that may look, and not act: from here on it opens no socket, starts no program and writes no file.

Python tells an audit hook of each of these before it happens [PEP 578], whoever asks for it, and the hook refuses. It
can't be taken away again, so that a process that is confined stays so to its end. What goes past Python, such as a
library in C that opens a file by itself, isn't noticed.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

FORBIDDEN: Final = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.getnameinfo",
    "socket.__new__",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.setxattr",
    "os.removexattr",
    "os.putenv",
    "shutil.",
    "tempfile.",
    "sqlite3.connect",
    "ctypes.dlopen",
)
"""Beginnings of the names of what is refused. [Python 3.11, Audit events table]"""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ConfinedError(BaseException):
    """Something that isn't allowed here was tried. Not an `Exception`, so that nobody passes over it by chance."""


def confine(tried: Callable[[str], None]) -> None:
    """Confine this process from here on, to its end. `tried` is told what is refused, in the context of who tries."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if path == os.devnull or not (flags & _WRITING or (isinstance(mode, str) and mode.strip("rbtU"))):
                return
        elif not event.startswith(FORBIDDEN):
            return
        what = "writing a file" if event == "open" else event
        tried(what)
        raise ConfinedError(f"{what} isn't allowed here")

    sys.addaudithook(hook)

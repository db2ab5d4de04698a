"""A terminal, for what looks different on one."""

import os
import sys
from collections.abc import Callable

import pytest


def shown_on_terminal(stream: str, write: Callable[[], None]) -> str:
    """Return what a terminal of 40 columns is sent while standard output, or standard error, goes to it."""
    ours, theirs = os.openpty()
    with pytest.MonkeyPatch.context() as monkeypatch, os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setenv("COLUMNS", "40")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, stream, terminal)
        write()
    shown = b"".join(_chunks(ours)).decode()
    os.close(ours)
    return shown.replace("\r\n", "\n")


def _chunks(descriptor: int) -> list[bytes]:
    """Read what was sent: a terminal gives it in pieces, and an error at its end."""
    chunks: list[bytes] = []
    while True:
        try:
            chunks.append(os.read(descriptor, 65_536))
        except OSError:
            return chunks

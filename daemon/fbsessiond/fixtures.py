"""The source of a replay: files of notifications.

A file holds one message or many: JSON, JSON Lines, an array, several JSON texts one after the other; plain or gzip. A
message stands there as GWS sends it, `{"channel": …, "data": …}`, as the documentation prints it, without that
wrapper, or as `fbsessiond export` writes it, with the time at which it was received.
"""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated

import msgspec

from fbsessiond import limits
from fbsessiond.clock import Clock
from fbsessiond.envelope import open_envelope
from fbsessiond.message import Batch, Message, Origin

AGENT = "replay"
"""Whose sessions the replayed ones are, unless the file says so."""

SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
"""What is taken from a folder."""

BATCH = 100
"""How many messages without times of their own are journaled in one commit."""

_BLANK = re.compile(r"[ \t\r\n]*")

_NOT_JSON = (("None", "null"), ("True", "true"), ("False", "false"), ("u'", '"'), ('u"', '"'), ("'", '"'))
"""What Python prints, and how JSON writes it."""

_CONTROL_CHARACTER = "Invalid control character at"
_NO_END = "Unterminated string starting at"


@dataclass(frozen=True, slots=True)
class Fixture:
    """One message of a file."""

    message: Message
    agent: str = AGENT
    received_at: datetime | None = None
    """When it was received, if the file says so."""


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file, or the rest of one, that can't be read."""

    path: Path
    problem: str


class _Exported(msgspec.Struct):
    received_at: Annotated[datetime, msgspec.Meta(tz=True)]
    notification: msgspec.Raw
    agent: str = AGENT
    channel: str | None = None


_decode_exported = msgspec.json.Decoder(_Exported).decode


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield files as they are named, and those with a known suffix below folders, by name.

    A folder that has none is yielded itself: it can't be read, and that is told in its place.
    """
    for path in paths:
        found = [file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES)]
        yield from sorted(found) or [path]


def read_file(path: Path) -> Iterator[Fixture | UnreadableFile]:
    """Yield the messages of a file; where it isn't JSON, the place and what is wrong there, and no more of it."""
    if path.is_dir():
        yield UnreadableFile(path, f"has no files of notifications: their names end in {', '.join(SUFFIXES)}")
        return
    try:
        content = _content(path)
    except (OSError, EOFError, zlib.error) as error:
        yield UnreadableFile(path, f"can't be read: {getattr(error, 'strerror', None) or error}")
        return
    if len(content) > limits.FIXTURE_BYTES:
        yield UnreadableFile(path, f"is longer than {limits.FIXTURE_BYTES} bytes")
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        yield UnreadableFile(path, f"line {line}: isn't UTF-8: byte {error.start} is {content[error.start]:#04x}")
        return
    yield from _read_text(path, text)


class FixtureSource:
    """Replays messages, as batches."""

    def __init__(self, fixtures: Iterable[Fixture], clock: Clock, speed: float | None = None) -> None:
        """Replay as fast as it goes; or, with a speed of N, N times as fast as the messages were received.

        Messages that don't say when they were received count as one a second.
        """
        self._fixtures = fixtures
        self._clock = clock
        self._speed = speed

    async def __aiter__(self) -> AsyncGenerator[Batch, None]:
        """Yield a batch for messages that follow each other of one agent, received at one time."""
        last: datetime | None = None
        is_first = True
        most = BATCH if self._speed is None else 1
        for (agent, received_at), group in groupby(self._fixtures, lambda one: (one.agent, one.received_at)):
            while messages := tuple(fixture.message for fixture in islice(group, most)):
                if self._speed is not None and not is_first:
                    await asyncio.sleep(_pause(last, received_at) / self._speed)
                is_first, last = False, received_at
                yield Batch(agent, Origin.REPLAY, received_at or self._clock.now(), messages)


def _pause(last: datetime | None, received_at: datetime | None) -> float:
    """Return the seconds between two messages."""
    if last is None or received_at is None:
        return 1.0
    return max(0.0, (received_at - last).total_seconds())


def _read_text(path: Path, text: str) -> Iterator[Fixture | UnreadableFile]:
    if ".jsonl" in path.suffixes or ".ndjson" in path.suffixes:
        lines = (line.strip() for line in text.split("\n"))  # a text in JSON may hold other kinds of line breaks
        yield from (_to_fixture(part) for line in lines for part in _split_line(line))
        return
    try:
        yield from (_to_fixture(part) for part in _split(text))
    except json.JSONDecodeError as error:
        yield UnreadableFile(path, f"line {error.lineno}, column {error.colno}: {_what_is_wrong(error)}")
    except RecursionError:
        yield UnreadableFile(path, "is nested too deeply")


def _split_line(line: str) -> Iterator[str]:
    """Yield the JSON texts of a line: its items where it is an array, as a captured response is, else itself.

    A line that isn't JSON is yielded too: it goes to the quarantine, and the lines after it are read.
    """
    try:
        yield from list(_split(line)) if line.startswith("[") else filter(None, [line])
    except (json.JSONDecodeError, RecursionError):
        yield line


def _split(text: str) -> Iterator[str]:
    """Yield the text of each JSON value that stands in a text one after the other; of an array, that of its items."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)  # only the ends count; and no number is too long
    at = _skip(text, 0)
    while at < len(text):
        in_array = text[at] == "["
        at = _skip(text, at + 1) if in_array else at
        while not (in_array and text[at : at + 1] == "]"):
            _, end = decoder.raw_decode(text, at)
            yield text[at:end]
            at = _skip(text, end)
            if not in_array:
                break
            if text[at : at + 1] not in {",", "]"}:
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at = _skip(text, at + 1) if text[at] == "," else at
        at = _skip(text, at + 1) if in_array else at


def _skip(text: str, at: int) -> int:
    """Return where the next value begins, past blanks."""
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _to_fixture(text: str) -> Fixture:
    raw = text.encode()
    try:
        exported = _decode_exported(raw)
        received_at = exported.received_at.astimezone(UTC)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):  # the last: beyond the calendar
        return Fixture(open_envelope(raw))
    data = bytes(exported.notification)
    raw = msgspec.json.encode({"channel": exported.channel, "data": msgspec.Raw(data)})
    return Fixture(Message(raw, exported.channel, data), exported.agent, received_at)


def _what_is_wrong(error: json.JSONDecodeError) -> str:
    """Say what stands at an error's place, where that explains it: documentation likes to print Python's `None`."""
    rest = error.doc[error.pos :]
    for wrong, right in _NOT_JSON:
        if rest.startswith(wrong):
            return f"{wrong!r} isn't JSON; it is written {right!r} there"
    if error.msg == _NO_END:
        return "the text that begins here has no end"
    if error.msg == _CONTROL_CHARACTER and rest[:1] in "\r\n":
        return "the line ends inside a text; JSON writes a line break there as '\\n'"
    if error.msg == _CONTROL_CHARACTER:
        return f"a control character stands inside a text; JSON writes it as {json.dumps(rest[:1])[1:-1]!r}"
    return f"{error.msg[:1].lower()}{error.msg[1:]}, but there is {rest[:1]!r}" if rest else "the file ends too early"


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        if file.peek(2)[:2] == b"\x1f\x8b":
            with gzip.open(file) as unpacked:
                return unpacked.read(limits.FIXTURE_BYTES + 1)
        return file.read(limits.FIXTURE_BYTES + 1)

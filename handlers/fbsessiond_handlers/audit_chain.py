"""The audit file's chain: each line carries the hash of the line before it.

A line is one JSON object. Its last field is `hash`, the SHA-256 of the line's text up to there (everything before
`,"hash":`); `previous` is the hash of the line before, also where that is the last one of an older file; `line` is its
number within its file. Whoever changes, removes, inserts or swaps lines breaks the chain at that place. What a chain
alone can't show is that its newest lines are missing: keep the last hash elsewhere, or compare it with the journal.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

FIRST = "0" * 64
"""What stands in `previous` of the very first line."""

_HASH_FIELD = b',"hash":"'
_END = b'"}\n'


@dataclass(frozen=True, slots=True)
class Break:
    """A place where a chain is broken."""

    path: Path
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Link:
    """A line whose hash fits."""

    line: int
    key: str
    hash: str


class _Record(msgspec.Struct):
    line: int
    key: str
    previous: str


_decode = msgspec.json.Decoder(_Record).decode


def forge(record: Mapping[str, Any], line: int, previous: str) -> tuple[bytes, str]:
    """Return a record's line, with its line break, and its hash."""
    body = msgspec.json.encode({**record, "line": line, "previous": previous})[:-1]
    digest = hashlib.sha256(body).hexdigest()
    return body + _HASH_FIELD + digest.encode() + _END, digest


def files_of(path: Path) -> list[Path]:
    """Return the files of an audit trail, the oldest first: `audit.jsonl.000001`, …, and `audit.jsonl` last."""
    numbered = re.compile(re.escape(path.name) + r"\.\d{6,}")
    old = [candidate for candidate in path.parent.iterdir() if numbered.fullmatch(candidate.name)]
    return [*sorted(old, key=number_of), *([path] if path.exists() else [])]


def number_of(old: Path) -> int:
    """Return the number of a file that was put aside."""
    return int(old.suffix[1:])


def walk(path: Path, previous: str | None = None) -> Iterator[Link | Break]:
    """Yield each line of a file whose hash fits as a link, and before it, or in its place, what is wrong as a break.

    `previous` is the hash of the line before the file's first; None: whatever that line says. After a break the walk
    goes on from the line that is there, so that one changed line is one break.
    """
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            found = _read(text)
            if isinstance(found, str):
                yield Break(path, number, found)
                previous = None
                continue
            record, digest = found
            if previous is not None and record.previous != previous:
                yield Break(path, number, "doesn't follow the line before it: lines were removed, inserted or swapped")
            elif number == 1 and record.line != 1:
                yield Break(path, number, f"was line {record.line}: the lines before it are missing")
            yield Link(number, record.key, digest)
            previous = digest


def _read(text: bytes) -> tuple[_Record, str] | str:
    """Return what a line says and its hash; or what is wrong with it."""
    if not text.endswith(b"\n"):
        return "isn't complete: it was cut while it was written"
    body, field, rest = text.rpartition(_HASH_FIELD)
    digest = hashlib.sha256(body).hexdigest()
    if not field:
        return "isn't a line of an audit file"
    if rest != digest.encode() + _END:
        return "was changed: its hash doesn't fit"
    try:
        return _decode(body + b"}"), digest
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "isn't a line of an audit file, though its hash fits"

"""The audit file's chain: each line carries the hash of the line before it.

A line is one JSON object; its last field is `hash`, the SHA-256 of the line's text up to there (everything before
`,"hash":`), and `previous` is the hash of the line before. Whoever changes, removes, inserts or swaps lines breaks the
chain from there on. What a chain alone can't show is that lines are missing at its end: keep its last hash elsewhere,
or compare it with the journal.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

FIRST = "0" * 64
"""What stands in `previous` of the very first line."""

_HASH_FIELD = b',"hash":"'


@dataclass(frozen=True, slots=True)
class Break:
    """A place where a chain is broken."""

    path: Path
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Link:
    """A line that fits."""

    key: str | None
    hash: str


def forge(record: Mapping[str, Any], previous: str) -> tuple[bytes, str]:
    """Return a record's line, with its line break, and its hash."""
    body = msgspec.json.encode({**record, "previous": previous})[:-1]
    digest = hashlib.sha256(body).hexdigest()
    return body + _HASH_FIELD + digest.encode() + b'"}\n', digest


def files_of(path: Path) -> list[Path]:
    """Return the files of an audit trail, the oldest first: `audit.jsonl.000001`, …, and `audit.jsonl` last."""
    numbered = re.compile(re.escape(path.name) + r"\.(\d{6,})")
    old = [candidate for candidate in path.parent.glob(f"{path.name}.*") if numbered.fullmatch(candidate.name)]
    return [*sorted(old, key=lambda file: int(file.suffix[1:])), *([path] if path.exists() else [])]


def walk(path: Path, previous: str | None = None) -> Iterator[Link | Break]:
    """Yield each line of a file: as a link that fits, or as a break.

    `previous` is the hash of the line before the file's first; None: whatever that line says. After a break the walk
    goes on from the line that is there, so that one changed line is one break.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                yield Break(path, number, "the line isn't complete: it was cut while it was written")
                return
            found = _read(line)
            if isinstance(found, str):
                yield Break(path, number, found)
                previous = None
                continue
            link, says_previous = found
            if previous is not None and says_previous != previous:
                yield Break(path, number, "doesn't follow the line before it: lines were removed, inserted or swapped")
            else:
                yield link
            previous = link.hash


def _read(line: bytes) -> tuple[Link, str] | str:
    body, field, rest = line.rpartition(_HASH_FIELD)
    digest = rest.removesuffix(b'"}\n').decode(errors="replace")
    if not field:
        return "isn't a line of an audit file"
    if hashlib.sha256(body).hexdigest() != digest:
        return "was changed: its hash doesn't fit"
    record = json.loads(body + b"}")
    return Link(record.get("key"), digest), record["previous"]

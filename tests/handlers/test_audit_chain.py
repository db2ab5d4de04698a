import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fbsessiond_handlers.audit_chain import FIRST, Break, Link, files_of, forge, number_of, walk

LINES = 8


def chain(count: int = LINES, previous: str = FIRST) -> list[bytes]:
    """Return the lines of one file."""
    lines: list[bytes] = []
    for number in range(1, count + 1):
        line, previous = forge({"seq": number, "text": f"Zoë {number}", "key": f"k{number}"}, number, previous)
        lines.append(line)
    return lines


def found(path: Path, lines: list[bytes] | bytes, previous: str | None = None) -> list[Link | Break]:
    """Return what walking over these lines finds."""
    path.write_bytes(lines if isinstance(lines, bytes) else b"".join(lines))
    return list(walk(path, previous))


def breaks(path: Path, lines: list[bytes] | bytes, previous: str | None = None) -> list[int]:
    """Return the lines at which the chain is broken."""
    return [one.line for one in found(path, lines, previous) if isinstance(one, Break)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is."""
    return tmp_path / "audit.jsonl"


def test_line() -> None:
    """A line is one JSON object, its hash last: the SHA-256 of its text up to there."""
    text, digest = forge({"seq": 1, "text": "Zoë\n", "key": "k"}, 3, "a" * 64)
    record = json.loads(text)
    assert list(record) == ["seq", "text", "key", "line", "previous", "hash"]
    assert (record["line"], record["previous"], record["hash"]) == (3, "a" * 64, digest)
    assert text.count(b"\n") == 1
    body, _, _ = text.partition(b',"hash":')
    assert hashlib.sha256(body).hexdigest() == digest


def test_anybody_can_check() -> None:
    """The chain can be checked with a few lines in any language."""
    previous = FIRST
    for line in chain():
        body, _, digest = line.decode().removesuffix('"}\n').rpartition(',"hash":"')
        assert hashlib.sha256(body.encode()).hexdigest() == digest
        assert json.loads(body + "}")["previous"] == previous
        previous = digest


def test_whole(path: Path) -> None:
    """A whole chain is links alone, each with its number, key and hash."""
    links = found(path, chain(3))
    assert [(link.line, link.key) for link in links if isinstance(link, Link)] == [(1, "k1"), (2, "k2"), (3, "k3")]
    assert len(links) == 3
    assert found(path, []) == []


def test_previous_file(path: Path) -> None:
    """A file's first line has to follow the last of the file before, where that is known."""
    *_, last = [json.loads(line)["hash"] for line in chain(3)]
    assert breaks(path, chain(3, previous=last), last) == []
    assert breaks(path, chain(3, previous=last)) == []
    assert breaks(path, chain(3, previous="b" * 64), last) == [1]


@pytest.mark.parametrize("number", range(1, LINES))
def test_removed(path: Path, number: int) -> None:
    """A line that was removed shows at the one that stood after it."""
    lines = chain()
    del lines[number]
    assert breaks(path, lines) == ([number + 1] if number < LINES - 1 else [])


@pytest.mark.parametrize("count", range(1, LINES))
def test_removed_at_the_beginning(path: Path, count: int) -> None:
    """Lines removed at the very beginning show, too."""
    (first, *others) = found(path, chain()[count:])
    assert first == Break(path, 1, f"was line {count + 1}: the lines before it are missing")
    assert all(isinstance(other, Link) for other in others)


@pytest.mark.parametrize("number", range(LINES + 1))
def test_inserted(path: Path, number: int) -> None:
    """A line that was inserted shows, even one whose own hash fits."""
    lines = chain()
    lines.insert(number, forge({"seq": 99, "key": "k99"}, number + 1, "c" * 64)[0])
    expected = [number + 1, number + 2] if 0 < number < LINES else [2] if number == 0 else [LINES + 1]
    assert breaks(path, lines) == expected


@pytest.mark.parametrize("number", range(LINES - 1))
def test_swapped(path: Path, number: int) -> None:
    """Two lines that were swapped show."""
    lines = chain()
    lines[number], lines[number + 1] = lines[number + 1], lines[number]
    assert number + 1 in breaks(path, lines)


@pytest.mark.parametrize("number", range(LINES))
def test_changed(path: Path, number: int) -> None:
    """A line that was changed is one break, at that line, and the lines after it are links."""
    lines = chain()
    lines[number] = lines[number].replace(b"Zo", b"Jo")
    results = found(path, lines)
    assert [one.line for one in results if isinstance(one, Break)] == [number + 1]
    assert results[number] == Break(path, number + 1, "was changed: its hash doesn't fit")
    assert len(results) == LINES


def test_changed_with_its_hash(path: Path) -> None:
    """Who changes a line and its hash, too, breaks the chain at the next line."""
    lines = chain()
    previous = json.loads(lines[3])["previous"]
    lines[3] = forge({"seq": 4, "text": "nothing happened", "key": "k4"}, 4, previous)[0]
    assert breaks(path, lines) == [5]


def test_torn(path: Path) -> None:
    """A last line without its end is a break, and no link."""
    *whole, last = chain()
    results = found(path, [*whole, last[:-1]])
    assert results[-1] == Break(path, LINES, "isn't complete: it was cut while it was written")


def body_with_hash(body: bytes) -> bytes:
    """Return a line whose hash fits, whatever it says."""
    return body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"\n", "isn't a line of an audit file"),
        (b'{"seq":1}\n', "isn't a line of an audit file"),
        (b'"hash"\n', "isn't a line of an audit file"),
        (b',"hash":"\n', "was changed: its hash doesn't fit"),
        (b'\xff\x00,"hash":"\xff"}\n', "was changed: its hash doesn't fit"),
        (body_with_hash(b"not JSON"), "isn't a line of an audit file, though its hash fits"),
        (body_with_hash(b'{"a":1'), "isn't a line of an audit file, though its hash fits"),
        (body_with_hash(b'{"line":1,"key":"k","previous":null'), "isn't a line of an audit file, though its hash fits"),
        (
            body_with_hash(b'{"line":1,"previous":"","key":"\xff"'),
            "isn't a line of an audit file, though its hash fits",
        ),
        (body_with_hash(b'{"a":' + b"[" * 100_000), "isn't a line of an audit file, though its hash fits"),
    ],
)
def test_anything_else(path: Path, line: bytes, what: str) -> None:
    """What is no line of an audit file is said to be none, and the walk goes on after it."""
    first, *others = chain(3)
    results = found(path, [first, line, *others])
    assert results[1] == Break(path, 2, what)
    assert [type(one) for one in results] == [Link, Break, Link, Link]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tampering(path: Path, data: st.DataObject) -> None:
    """Whatever is done to the bytes of a file: unless its end alone is missing, it shows."""
    original = b"".join(chain())
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 600)))
    put = data.draw(st.binary(max_size=30) | st.sampled_from([b"", *chain(), original]))
    tampered = original[:start] + put + original[end:]
    lines = chain()
    assume(tampered not in [b"".join(lines[:count]) for count in range(LINES + 1)])
    assert breaks(path, tampered) != []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, LINES - 1), max_size=LINES + 2))
def test_any_selection(path: Path, order: list[int]) -> None:
    """Whatever lines are left, in whatever order: unless its end alone is missing, it shows."""
    lines = chain()
    assume(order != list(range(len(order))))
    assert breaks(path, [lines[number] for number in order]) != []


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_record(record: dict[str, Any]) -> None:
    """Whatever stands in a record, its line can be read again, and its hash is found."""
    record = {"notification": record, "key": "k"}
    text, digest = forge(record, 1, FIRST)
    assert msgspec.json.decode(text) == {**record, "line": 1, "previous": FIRST, "hash": digest}


def test_files(path: Path) -> None:
    """The files of a trail are told by their numbers, the newest last; other files don't belong to it."""
    folder = path.parent
    names = ["audit.jsonl.000002", "audit.jsonl.1000000", "audit.jsonl.000010", "audit.jsonl.000001"]
    for name in (
        *names,
        "audit.jsonl",
        "audit.jsonl.gz",
        "audit.jsonl.000001.gz",
        "audit.jsonl.1",
        "xaudit.jsonl",
        "audit_jsonl.000003",
    ):
        (folder / name).touch()
    files = files_of(path)
    assert [file.name for file in files] == [
        "audit.jsonl.000001",
        "audit.jsonl.000002",
        "audit.jsonl.000010",
        "audit.jsonl.1000000",
        "audit.jsonl",
    ]
    assert all(number_of(one) < number_of(two) for one, two in pairwise(files[:-1]))
    path.unlink()
    assert path not in files_of(path)

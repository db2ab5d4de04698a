import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fbsessiond import limits
from fbsessiond.fixtures import (
    AGENT,
    BATCH,
    Fixture,
    FixtureSource,
    UnreadableFile,
    find_files,
    read_file,
)
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual

SAMPLES = Path(__file__).parents[1] / "fixtures"
LEAVE = SAMPLES / "documented" / "leave-leftchat.json"
AS_PRINTED = SAMPLES / "broken" / "leave-as-printed.txt"

ONE = '{"channel": "/v2/me/calls", "data": {"n": 1}}'
TWO = '{"channel": "/v2/me/calls", "data": {"n": 2}}'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Return how to write a file."""

    def write_(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_


def numbers(path: Path) -> list[int]:
    """Return the numbers in a file's notifications, each of which was read."""
    found = list(read_file(path))
    assert all(isinstance(one, Fixture) for one in found)
    return [json.loads(one.message.data or b"")["n"] for one in found if isinstance(one, Fixture)]


def trouble(path: Path) -> str:
    """Return why a file, or the rest of it, can't be read."""
    *_, last = read_file(path)
    assert isinstance(last, UnreadableFile)
    assert last.path == path
    return last.problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one.json", ONE),
        ("two.json", f"{ONE}{TWO}"),
        ("two.json", f"\n\n{ONE}\n\n{TWO}\n"),
        ("two.json", f"[{ONE}, {TWO}]"),
        ("two.json", f"[\n{ONE}\n,\n{TWO}\n]\n"),
        ("three.json", f"{ONE} [{TWO}] []"),
        ("two.json", f"[{ONE}][{TWO}]"),
        ("two.jsonl", f"{ONE}\n{TWO}"),
        ("two.jsonl", f"{ONE}\n\n  {TWO}  \n\n"),
        ("two.ndjson", f"{ONE}\r\n{TWO}\r\n"),
        ("two.jsonl", f"[{ONE}, {TWO}]\n[]\n"),
        ("two.txt", f"{ONE}\n{TWO}\n"),
        ("two.json", f"\ufeff{ONE}\r\n{TWO}\r\n"),
        ("two.jsonl", f"\ufeff{ONE}\r\n{TWO}\r\n"),
        ("bare.json", '{"n": 1}'),
        ("bare.jsonl", '{"n": 1}\n{"n": 2}\n'),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_forms(write: Callable[[str, str | bytes], Path], name: str, text: str, is_packed: bool) -> None:
    """A file is JSON, several JSON texts, arrays or JSON Lines; plain or packed, of any system; wrapped or not."""
    content = gzip.compress(text.encode()) if is_packed else text
    assert numbers(write(f"{name}.gz" if is_packed else name, content)) == ([1, 2] if "2}" in text else [1])


@pytest.mark.parametrize("name", ["empty.json", "empty.jsonl", "empty.json.gz"])
@pytest.mark.parametrize("content", [b"", b" \r\n\n", b"\xef\xbb\xbf", gzip.compress(b""), b"[]"])
def test_empty(write: Callable[[str, str | bytes], Path], name: str, content: bytes) -> None:
    """An empty file has no messages, which is no mistake: so is the export of an empty journal."""
    assert numbers(write(name, content)) == []


def test_word_for_word() -> None:
    """A sample's message is kept as it stands in the file; its data too, in the file's own spelling."""
    (one,) = read_file(LEAVE)
    assert isinstance(one, Fixture)
    assert one.message.raw == LEAVE.read_bytes().strip()
    assert one.message.data is not None
    assert one.message.data in one.message.raw
    assert (one.agent, one.received_at, one.message.channel) == (AGENT, None, "/v2/me/facebooksession")


def test_exported(write: Callable[[str, str | bytes], Path]) -> None:
    """A line that `export --json` wrote is its notification again, of its agent, at its time."""
    line = {"seq": 7, "received_at": "2026-01-01T10:00:00.000001Z", "origin": "live", "agent": "agent1"}
    rest = {"channel": "/v2/me/calls", "session": None, "kind": "other", "before": None, "after": None}
    notification = '{"n": 1, "x":1.0e1}'
    path = write("journal.jsonl", json.dumps({**line, **rest})[:-1] + f', "notification": {notification}}}\n')
    (one,) = read_file(path)
    raw = b'{"channel":"/v2/me/calls","data":%s}' % notification.encode()
    at = datetime(2026, 1, 1, 10, 0, 0, 1, UTC)
    assert one == Fixture(Message(raw, "/v2/me/calls", notification.encode()), "agent1", at)


@pytest.mark.parametrize(
    "line", [{"received_at": "2026-01-01T10:00:00"}, {"received_at": "yesterday"}, {"received_at": 5}]
)
def test_exported_without_a_point_in_time(write: Callable[[str, str | bytes], Path], line: dict[str, Any]) -> None:
    """A line whose time names no point in time is no exported line: it is a notification as it stands."""
    text = json.dumps({**line, "notification": {}})
    (one,) = read_file(write("journal.jsonl", text))
    assert one == Fixture(Message(text.encode(), None, text.encode()))


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_exported_beyond_the_calendar(write: Callable[[str, str | bytes], Path], at: str) -> None:
    """A line whose time isn't in the calendar in UTC is no exported line either: the journal couldn't show it."""
    text = json.dumps({"received_at": at, "notification": {}})
    (one,) = read_file(write("journal.jsonl", text))
    assert one == Fixture(Message(text.encode(), None, text.encode()))


def test_exported_elsewhere(write: Callable[[str, str | bytes], Path]) -> None:
    """A time of another zone is the same point in time, in UTC."""
    (one,) = read_file(write("j.jsonl", '{"received_at": "2026-01-01T10:00:00+02:00", "notification": {}}'))
    assert isinstance(one, Fixture)
    assert str(one.received_at) == "2026-01-01 08:00:00+00:00"


@pytest.mark.parametrize("form", ["%s", '{"n": %s}', "[%s]", '{"n": -%s.5e9}'])
@pytest.mark.parametrize("name", ["some.json", "some.jsonl"])
def test_long_number(write: Callable[[str, str | bytes], Path], name: str, form: str) -> None:
    """A number of more digits than Python turns into one is a part of its message, as any other."""
    text = form % ("9" * 5_000)
    (one,) = read_file(write(name, text))
    assert isinstance(one, Fixture)
    assert one.message.raw == text.strip("[]").encode()


@pytest.mark.parametrize("bad", ["{", "None", '{"a": 1}}', "[{", "[" * 100_000, "x" * 100])
def test_bad_line(write: Callable[[str, str | bytes], Path], bad: str) -> None:
    """A line of JSON Lines that isn't JSON is a message that can't be understood; the lines after it are read."""
    one, misfit, two = read_file(write("some.jsonl", f"{ONE}\n{bad}\n{TWO}\n"))
    assert isinstance(misfit, Fixture)
    assert misfit.message == Message(bad.encode(), None, None)
    assert [part.message.raw for part in (one, two) if isinstance(part, Fixture)] == [ONE.encode(), TWO.encode()]


def test_line_breaks_in_texts(write: Callable[[str, str | bytes], Path]) -> None:
    """Only a line feed ends a line: the other line breaks of Unicode may stand in a text."""
    text = '{"n": 1, "text": "a\u2028b\u2029c\x85d"}'
    assert numbers(write("some.jsonl", f"{text}\n{TWO}")) == [1, 2]


def test_as_printed() -> None:
    """The documentation's sample, as it is printed, is told with the place where a text is broken over two lines."""
    problem = trouble(AS_PRINTED)
    assert problem == "line 53, column 71: the line ends inside a text; JSON writes a line break there as '\\n'"
    lines = AS_PRINTED.read_text().split("\n")
    assert lines[52].startswith('"_facebookPMInboxUrl"')
    assert len(lines[52]) == 70


def test_as_printed_but_for_line_breaks(write: Callable[[str, str | bytes], Path]) -> None:
    """With its lines put together, the next thing told is a Python word; with that put right, it is read."""
    text = AS_PRINTED.read_text().replace("-\n\n...", "-...")
    path = write("leave.txt", text)
    assert trouble(path) == "line 56, column 21: 'None' isn't JSON; it is written 'null' there"
    assert text.split("\n")[55] == '"RRequestedSkills": None,'
    (one,) = read_file(write("leave.txt", text.replace("None", "null")))
    assert isinstance(one, Fixture)
    assert json.loads(one.message.data or b"")["facebooksession"]["state"] == "LeftChat"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a":', "line 1, column 6: the file ends too early"),
        (f"[{ONE},", f"line 1, column {len(ONE) + 3}: the file ends too early"),
        (f"[{ONE}", f"line 1, column {len(ONE) + 2}: the file ends too early"),
        ('{"a": "b', "line 1, column 7: the text that begins here has no end"),
        ('{"a": True}', "line 1, column 7: 'True' isn't JSON; it is written 'true' there"),
        ('{"a": False}', "line 1, column 7: 'False' isn't JSON; it is written 'false' there"),
        ("{'a': 1}", "line 1, column 2: \"'\" isn't JSON; it is written '\"' there"),
        ("[u'a']", "line 1, column 2: \"u'\" isn't JSON; it is written '\"' there"),
        ('{"a":\n  x}', "line 2, column 3: expecting value, but there is 'x'"),
        ('{"a" 1}', "line 1, column 6: expecting ':' delimiter, but there is '1'"),
        ("[{} {}]", "line 1, column 5: expecting ',' delimiter, but there is '{'"),
        ("{}]", "line 1, column 3: expecting value, but there is ']'"),
        ('{"a": "b\tc"}', "line 1, column 9: a control character stands inside a text; JSON writes it as '\\\\t'"),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_not_json(write: Callable[[str, str | bytes], Path], text: str, problem: str) -> None:
    """Where a file isn't JSON, the line, the column and what is wrong there are told."""
    assert trouble(write("some.json", text)) == problem


def test_up_to_the_mistake(write: Callable[[str, str | bytes], Path]) -> None:
    """The messages before a mistake are read."""
    one, problem = read_file(write("some.json", f"{ONE}\n{TWO[:-1]}\n"))
    assert isinstance(one, Fixture)
    assert isinstance(problem, UnreadableFile)


def test_not_utf8(write: Callable[[str, str | bytes], Path]) -> None:
    """A file in another encoding is told with the line and the byte."""
    assert trouble(write("some.json", b'{"a":\n"\xe9"}')) == "line 2: isn't UTF-8: byte 7 is 0xe9"
    assert trouble(write("some.json", ONE.encode("utf-16"))) == "line 1: isn't UTF-8: byte 0 is 0xff"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(ONE.encode())[:-10], "can't be read: Compressed file ended before the end-of-stream marker"),
        (gzip.compress(ONE.encode())[:-6] + b"abcdef", "can't be read: CRC check failed"),
        (b"\x1f\x8bnot gzip at all", "can't be read: Unknown compression method"),
        (gzip.compress(ONE.encode())[:10] + b"\xff" * 20, "can't be read: Error -3 while decompressing"),
    ],
)
def test_broken_gzip(write: Callable[[str, str | bytes], Path], content: bytes, problem: str) -> None:
    """A packed file that was cut or changed is told, and nothing of it is read."""
    assert trouble(write("some.json.gz", content)).startswith(problem)
    assert len(list(read_file(write("some.json.gz", content)))) == 1


def test_missing(tmp_path: Path) -> None:
    """A file that isn't there, or can't be opened, is told in the system's words."""
    assert trouble(tmp_path / "nowhere.json") == "can't be read: No such file or directory"
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert trouble(tmp_path / "loop.json") == "can't be read: Too many levels of symbolic links"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_unreadable(write: Callable[[str, str | bytes], Path]) -> None:
    """A file that may not be read is told in the system's words."""
    path = write("secret.json", ONE)
    path.chmod(0)
    assert trouble(path) == "can't be read: Permission denied"


def test_too_long(write: Callable[[str, str | bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is longer than the limit, also once it is unpacked, isn't read."""
    monkeypatch.setattr(limits, "FIXTURE_BYTES", 100)
    assert trouble(write("long.json", ONE + " " * 100)) == "is longer than 100 bytes"
    assert trouble(write("long.json.gz", gzip.compress(ONE.encode() + b" " * 100))) == "is longer than 100 bytes"
    assert numbers(write("short.json", ONE)) == [1]


def test_find_files(write: Callable[[str, str | bytes], Path], tmp_path: Path) -> None:
    """Below a folder each file with a known suffix is found, by name; one that is named is taken whatever its name."""
    names = ["b.json", "a.jsonl", "deep/er/c.ndjson", "d.json.gz", "e.jsonl.gz", "f.ndjson.gz"]
    for name in (*names, "g.txt", "h.json.bak"):
        write(f"folder/{name}", ONE)
    (tmp_path / "folder" / "dir.json").mkdir()
    named = write("i.txt", ONE)
    folder = tmp_path / "folder"
    assert list(find_files([named, folder])) == [named, *sorted(folder / name for name in names)]


def test_folder_without_files(write: Callable[[str, str | bytes], Path], tmp_path: Path) -> None:
    """A folder that has none is told: it is no success to have replayed nothing of what was asked for."""
    write("folder/g.txt", ONE)
    (path,) = find_files([tmp_path / "folder"])
    assert trouble(path).startswith("has no files of notifications: their names end in .json, .jsonl, ")


def fixture(seconds: float | None = None, agent: str = AGENT) -> Fixture:
    """Return a message, received so many seconds into the next day, or nobody knows when."""
    at = None if seconds is None else EPOCH + timedelta(days=1, seconds=seconds)
    return Fixture(Message(ONE.encode(), None, ONE.encode()), agent, at)


def replayed(fixtures: list[Fixture], speed: float | None = None) -> list[tuple[float, Batch]]:
    """Return the batches of a replay, each with the virtual time at which it came."""

    async def replay() -> list[tuple[float, Batch]]:
        clock = VirtualClock()
        return [(clock.monotonic(), batch) async for batch in FixtureSource(iter(fixtures), clock, speed)]

    return run_virtual(replay())


def test_at_once() -> None:
    """Without a speed all comes at once, in batches of what was received together, in order."""
    fixtures = [fixture(), fixture(), fixture(5), fixture(5), fixture(9), fixture(9, "agent2"), fixture()]
    batches = replayed(fixtures)
    assert [at for at, _ in batches] == [0.0] * 5
    seen = [(len(batch.messages), batch.agent, (batch.received_at - EPOCH).total_seconds()) for _, batch in batches]
    day = 86_400
    assert seen == [(2, AGENT, 0), (2, AGENT, day + 5), (1, AGENT, day + 9), (1, "agent2", day + 9), (1, AGENT, 0)]
    assert {batch.origin for _, batch in batches} == {Origin.REPLAY}


def test_batches() -> None:
    """Many messages that came together are more than one batch, so that no commit is long."""
    assert [len(batch.messages) for _, batch in replayed([fixture()] * (2 * BATCH + 1))] == [BATCH, BATCH, 1]


@pytest.mark.parametrize(
    ("speed", "times"),
    [(1, [0, 5, 5, 3_605, 3_605]), (10, [0, 0.5, 0.5, 360.5, 360.5]), (0.5, [0, 10, 10, 7_210, 7_210])],
)
def test_speed(speed: float, times: list[float]) -> None:
    """With a speed the pauses between messages are as they were, so many times shorter; the first comes at once.

    One that was received before the one ahead of it, by a clock that was set back, follows at once, too.
    """
    fixtures = [fixture(0), fixture(5), fixture(5), fixture(3_605), fixture(3_000)]
    assert [at for at, _ in replayed(fixtures, speed)] == pytest.approx(times)


@pytest.mark.parametrize(("speed", "times"), [(1, [0, 1, 2, 3, 4]), (4, [0, 0.25, 0.5, 0.75, 1])])
def test_speed_without_times(speed: float, times: list[float]) -> None:
    """Messages that don't say when they were received come one a second, so many times faster."""
    fixtures = [fixture(), fixture(), fixture(5), fixture(), fixture()]
    assert [at for at, _ in replayed(fixtures, speed)] == pytest.approx(times)


def test_nothing() -> None:
    """No messages are no batches."""
    assert replayed([], 1) == []

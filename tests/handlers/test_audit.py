# ruff: noqa: ASYNC240  these tests look at files, which the handler writes from the loop, too
import asyncio
import errno
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ByteSize, ValidationError
from structlog.testing import capture_logs

from fbsessiond import Delivery, DiskError, Done, Finding, Reveal
from fbsessiond.handler import STATE_DIRECTORY
from fbsessiond.testing import EPOCH, make_delivery, make_transition
from fbsessiond_handlers import audit as auditing
from fbsessiond_handlers.audit import Audit
from fbsessiond_handlers.audit_chain import FIRST, files_of

SMALLEST = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is."""
    return tmp_path / "audit.jsonl"


def delivery(number: int = 1, *, size_bytes: int = 0, journal: str = "j") -> Delivery:
    """Return the delivery of an entry's transition, with a notification of some size."""
    return make_delivery(
        make_transition("LeftChat", before="Chatting", seq=number, comment="x" * size_bytes), journal=journal
    )


@asynccontextmanager
async def auditing_to(path: Path, *, rotate_bytes: int | None = None) -> AsyncGenerator[Audit, None]:
    """Run the handler."""
    handler = Audit(path=path) if rotate_bytes is None else Audit(path=path, rotate_bytes=ByteSize(rotate_bytes))
    async with handler.running():
        yield handler


async def write(path: Path, *numbers: int, rotate_bytes: int | None = None, size_bytes: int = 0) -> None:
    """Run the handler for some deliveries, one after the other."""
    async with auditing_to(path, rotate_bytes=rotate_bytes) as handler:
        for number in numbers:
            assert await handler.handle(delivery(number, size_bytes=size_bytes)) == Done()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return all lines of a trail, over all files."""
    return [json.loads(line) for file in files_of(path) for line in file.read_bytes().splitlines()]


def seqs(path: Path) -> list[int]:
    """Return the entries that the lines are of."""
    return [line["seq"] for line in lines(path)]


def findings(path: Path) -> list[Finding]:
    """Return what is wrong with a trail."""
    return list(Audit(path=path).verify())


def where(path: Path) -> list[tuple[str, int]]:
    """Return the file and the line of what is wrong with a trail."""
    found = [finding.where.rpartition(": line ") for finding in findings(path)]
    return [(Path(file).name, int(line)) for file, _, line in found]


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each sync by the file's size then."""
    sizes: list[int] = []
    fdatasync = os.fdatasync

    def counting(file: int) -> None:
        sizes.append(os.fstat(file).st_size)
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", counting)
    return sizes


@contextmanager
def broken(name: str, *, error: int = errno.EIO, target: Any = os) -> Generator[None, None, None]:
    """Let a system call fail for a while."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, fail)
        yield


# What a line says.


async def test_reveal(path: Path) -> None:
    """Who had customer data shown is a line of the same chain, once; what a transition has is null in it."""
    reveal = Reveal("j/reveals/1", EPOCH, "alice (uid 1000)", "export --reveal --session S1")
    async with auditing_to(path) as handler:
        await handler.handle(delivery(1))
        await handler.revealed(reveal)
        await handler.revealed(reveal)
        await handler.handle(delivery(2))
    first, line, last = lines(path)
    assert list(line) == [*list(first)[:-3], "revealed", *list(first)[-3:]]
    assert line["revealed"] == {"by": "alice (uid 1000)", "command": "export --reveal --session S1"}
    assert (line["at"], line["key"], line["line"]) == ("2026-01-01T00:00:00.000000Z", "j/reveals/1", 2)
    assert {line[key] for key in first if key not in {"at", "key", "line", "previous", "hash"}} == {None}
    assert (line["previous"], last["previous"]) == (first["hash"], line["hash"])
    assert findings(path) == []


async def test_line(path: Path) -> None:
    """A transition is a line with all that is to be proved, the notification as it came included."""
    transition = make_transition("LeftChat", before="Chatting", seq=42, userData={"FirstName": "Zoë"})
    async with auditing_to(path) as handler:
        assert await handler.handle(make_delivery(transition, handler="audit", journal="j")) == Done()
    (line,) = lines(path)
    digest = line.pop("hash")
    assert line == {
        "seq": 42,
        "at": "2026-01-01T00:00:00.000000Z",
        "session": "0002DaAVKJ0V0095",
        "before": "Chatting",
        "after": "LeftChat",
        "origin": "live",
        "agent": "agent1",
        "notification": transition.notification,
        "key": "j/42/audit",
        "line": 1,
        "previous": FIRST,
    }
    assert len(digest) == 64


async def test_chain(path: Path) -> None:
    """Each line carries the hash of the one before, over restarts too."""
    await write(path, 1, 2)
    await write(path, 3)
    one, two, three = lines(path)
    assert [one["previous"], two["previous"], three["previous"]] == [FIRST, one["hash"], two["hash"]]
    assert [line["line"] for line in lines(path)] == [1, 2, 3]
    assert findings(path) == []


# Where it is.


async def test_relative_path(tmp_path: Path) -> None:
    """A relative path counts from the daemon's state directory, which is made if need be."""
    for options, name in (({}, "audit.jsonl"), ({"path": "trail/a.jsonl"}, "trail/a.jsonl")):
        handler = Audit.model_validate(options, context={STATE_DIRECTORY: tmp_path / "state"})
        async with handler.running():
            assert (tmp_path / "state" / name).is_file()


async def test_mode(tmp_path: Path) -> None:
    """Its files and its folder are for its user's eyes alone."""
    path = tmp_path / "new" / "audit.jsonl"
    mask = os.umask(0)
    try:
        await write(path, *range(4), rotate_bytes=SMALLEST, size_bytes=3000)
    finally:
        os.umask(mask)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files_of(path)} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_one_at_a_time(path: Path) -> None:
    """Two can't write one file: their chains would tear each other apart."""
    async with auditing_to(path) as handler:
        await handler.handle(delivery(1))
        with pytest.raises(OSError, match=r"another fbsessiond, or another handler, writes it: .*audit\.jsonl"):
            await write(path, 2)
        await handler.handle(delivery(3))
    assert seqs(path) == [1, 3]
    await write(path, 4)
    assert findings(path) == []


@pytest.mark.parametrize("name", ["fsync", "pread"])
async def test_cannot_start(path: Path, name: str) -> None:
    """A handler that can't read or sync its file doesn't start, and leaves nothing open."""
    path.write_bytes(b"torn")
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with broken(name), pytest.raises(OSError, match="Input/output error"):
        await write(path, 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    await write(path, 1)


def test_too_small_files() -> None:
    """Files of less than 4 KiB are a mistake in the configuration."""
    with pytest.raises(ValidationError, match="rotate_bytes"):
        Audit.model_validate({"rotate_bytes": SMALLEST - 1})


# Durability.


async def test_synced(path: Path, syncs: list[int]) -> None:
    """When a delivery is done its line is on disk: written, and synced."""
    async with auditing_to(path) as handler:
        for number in range(1, 4):
            await handler.handle(delivery(number))
            assert len(syncs) == number
            assert syncs[-1] == path.stat().st_size


async def test_shared_sync(path: Path, syncs: list[int]) -> None:
    """Deliveries that arrive together share one sync, and each is done only after it."""
    done_before_sync: list[int] = []

    async def handle(handler: Audit, number: int) -> None:
        await handler.handle(delivery(number))
        if not syncs:
            done_before_sync.append(number)

    async with auditing_to(path) as handler:
        await asyncio.gather(*[handle(handler, number) for number in range(50)])
        assert (len(syncs), done_before_sync) == (1, [])
        assert syncs == [path.stat().st_size]
    assert seqs(path) == list(range(50))
    assert findings(path) == []


async def test_cancelled(path: Path, syncs: list[int]) -> None:
    """A delivery that is cancelled while it waits for the disk is in the file once when it comes again."""
    async with auditing_to(path) as handler:
        task = asyncio.create_task(handler.handle(delivery(1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await handler.handle(delivery(1))
    assert seqs(path) == [1]
    assert len(syncs) == 2


async def test_closed_before_its_sync(path: Path, syncs: list[int]) -> None:
    """A file that is closed is synced before, if that is due, and not touched afterwards."""
    async with auditing_to(path) as handler:
        task = asyncio.create_task(handler.handle(delivery(1)))
        await asyncio.sleep(0)
    assert await task == Done()
    assert len(syncs) == 1


async def test_failed_sync(path: Path) -> None:
    """After a sync that failed nothing is accepted: the next sync would say that all is well."""
    async with auditing_to(path) as handler:
        await handler.handle(delivery(1))
        with broken("fdatasync"):
            results = await asyncio.gather(
                *[handler.handle(delivery(number)) for number in (2, 3)], return_exceptions=True
            )
        assert [type(result) for result in results] == [DiskError, DiskError]
        assert "can't sync" in str(results[0])
        for number in (2, 4):
            with pytest.raises(DiskError, match="can't sync"):
                await handler.handle(delivery(number))
    await write(path, 2, 3, 4)
    assert findings(path) == []


async def test_failed_while_another_waits(path: Path) -> None:
    """Who waits for a sync hears of a failure that came before it."""
    async with auditing_to(path) as handler:
        waiting = asyncio.create_task(handler.handle(delivery(1)))
        await asyncio.sleep(0)
        with broken("write"), broken("ftruncate"), pytest.raises(DiskError):
            await handler.handle(delivery(2))
        with pytest.raises(DiskError, match="half a line"):
            await waiting


@contextmanager
def full_disk(path: Path, *, room_bytes: int) -> Generator[None, None, None]:
    """Let no file grow beyond the size that this one has now, and a little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room_bytes", [0, 1, 500])
async def test_full_disk(path: Path, room_bytes: int) -> None:
    """On a full disk the attempt fails, and leaves no half line; once there is room it is written."""
    async with auditing_to(path) as handler:
        await handler.handle(delivery(1))
        before = path.read_bytes()
        with full_disk(path, room_bytes=room_bytes):
            for _ in range(2):
                with pytest.raises(OSError, match="File too large"):
                    await handler.handle(delivery(2, size_bytes=2000))
                assert path.read_bytes() == before
        await handler.handle(delivery(2, size_bytes=2000))
    assert seqs(path) == [1, 2]
    assert findings(path) == []


async def test_half_line_that_stays(path: Path) -> None:
    """Half a line that can't be taken back either stops everything; the next start cuts it off."""
    async with auditing_to(path) as handler:
        await handler.handle(delivery(1))
        with (
            full_disk(path, room_bytes=100),
            broken("ftruncate"),
            pytest.raises(DiskError, match="take back half a line"),
        ):
            await handler.handle(delivery(2))
        with pytest.raises(DiskError):
            await handler.handle(delivery(3))
    assert not path.read_bytes().endswith(b"\n")
    await write(path, 2, 3)
    assert seqs(path) == [1, 2, 3]
    assert findings(path) == []


async def test_short_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that the system takes in pieces is whole in the end."""
    whole = os.write

    def piecemeal(file: int, data: bytes) -> int:
        return whole(file, data[:7])

    monkeypatch.setattr(os, "write", piecemeal)
    await write(path, 1, 2)
    assert seqs(path) == [1, 2]
    assert findings(path) == []


async def test_torn_line(path: Path) -> None:
    """A last line that a crash left incomplete, wherever it was cut, is cut off, and the chain goes on before it."""
    await write(path, 1, 2)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole) - 1, -1, -37):
        path.write_bytes(whole[:length])
        with capture_logs() as logged:
            await write(path, 3)
        assert seqs(path) == ([1, 3] if length >= first else [3])
        assert findings(path) == []
        assert len(logged) == (length not in {0, first})


async def test_long_torn_line(path: Path) -> None:
    """However long the torn line is, its beginning is found."""
    await write(path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * 200_000)
    await write(path, 2)
    assert seqs(path) == [1, 2]


# Once, and over several files.


async def test_once(path: Path) -> None:
    """A delivery that comes again, because its settlement was lost, isn't in the file twice."""
    async with auditing_to(path) as handler:
        for number in (1, 2, 1):
            assert await handler.handle(delivery(number)) == Done()
    await write(path, 2, 1, 3)
    assert seqs(path) == [1, 2, 3]


async def test_other_journal(path: Path) -> None:
    """The same number in another journal is another delivery."""
    async with auditing_to(path) as handler:
        await handler.handle(delivery(1, journal="one"))
        await handler.handle(delivery(1, journal="two"))
    assert seqs(path) == [1, 1]


async def test_rotation(path: Path) -> None:
    """A file that has its size is put aside under the next number, and the chain goes on over all of them."""
    await write(path, *range(1, 7), rotate_bytes=SMALLEST, size_bytes=2500)
    await write(path, *range(7, 10), rotate_bytes=SMALLEST, size_bytes=2500)
    assert [file.name for file in files_of(path)] == [
        "audit.jsonl.000001",
        "audit.jsonl.000002",
        "audit.jsonl.000003",
        "audit.jsonl.000004",
        "audit.jsonl",
    ]
    assert seqs(path) == list(range(1, 10))
    assert [line["line"] for line in lines(path)] == [1, 2, 1, 2, 1, 2, 1, 2, 1]
    assert findings(path) == []


async def test_once_over_files(path: Path) -> None:
    """However many files lie between, a delivery isn't there twice, after a restart neither."""
    await write(path, *range(1, 10), rotate_bytes=SMALLEST, size_bytes=4000)
    assert len(files_of(path)) == 9
    await write(path, *range(1, 11), rotate_bytes=SMALLEST, size_bytes=4000)
    assert seqs(path) == list(range(1, 11))


async def test_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest lines are remembered, and no more files are read at the start than it takes to know them."""
    monkeypatch.setattr(auditing, "KNOWN_KEYS", 3)
    await write(path, *range(1, 7), rotate_bytes=SMALLEST, size_bytes=2500)
    files_of(path)[0].write_bytes(b"changed\n")
    with capture_logs() as logged:
        await write(path, 4, 5, 6, 3, size_bytes=2500)
    assert logged == []
    assert seqs_after_archive(path) == [3, 4, 5, 6, 3]


def seqs_after_archive(path: Path) -> list[int]:
    """Return the entries that the lines are of, but for those of the oldest file, which goes."""
    files_of(path)[0].unlink()
    return seqs(path)


async def test_synced_before_put_aside(path: Path, syncs: list[int]) -> None:
    """A file is on disk before it is put aside."""
    async with auditing_to(path, rotate_bytes=SMALLEST) as handler:
        await handler.handle(delivery(1, size_bytes=5000))
        await asyncio.gather(handler.handle(delivery(2)), handler.handle(delivery(3)))
    assert len(syncs) == 3
    assert syncs[1] == files_of(path)[0].stat().st_size


@pytest.mark.parametrize("call", ["rename", "open"])
async def test_failed_rotation(path: Path, call: str) -> None:
    """Where a file can't be put aside, or no new one made, the attempt fails, and it is tried again at the next."""
    async with auditing_to(path, rotate_bytes=SMALLEST) as handler:
        await handler.handle(delivery(1, size_bytes=5000))
        with broken(call, error=errno.ENOSPC, target=Path if call == "rename" else os):
            for _ in range(2):
                with pytest.raises(OSError, match="No space left"):
                    await handler.handle(delivery(2))
        assert files_of(path) == [path]
        await handler.handle(delivery(2))
        await handler.handle(delivery(3))
    assert [len(file.read_bytes().splitlines()) for file in files_of(path)] == [1, 2]
    assert findings(path) == []


async def test_failed_sync_at_rotation(path: Path) -> None:
    """A sync that fails when a file is put aside stops everything, as any other."""
    async with auditing_to(path, rotate_bytes=SMALLEST) as handler:
        await handler.handle(delivery(1, size_bytes=5000))
        with broken("fdatasync"), pytest.raises(DiskError, match="can't sync"):
            await handler.handle(delivery(2))


async def test_crash_at_rotation(path: Path) -> None:
    """After a crash between putting a file aside and making a new one the chain goes on, in a new one."""
    await write(path, 1, 2)
    path.rename(path.with_name("audit.jsonl.000001"))
    await write(path, 2, 3)
    assert seqs(path) == [1, 2, 3]
    assert findings(path) == []


# Checking.


async def trail(path: Path) -> list[Path]:
    """Write a trail of three files with two lines each."""
    await write(path, *range(1, 7), rotate_bytes=SMALLEST, size_bytes=2500)
    return files_of(path)


def edit(file: Path, change: Callable[[list[bytes]], object]) -> None:
    """Change a file's lines."""
    parts = file.read_bytes().splitlines(keepends=True)
    change(parts)
    file.write_bytes(b"".join(parts))


async def test_nothing_to_check(path: Path) -> None:
    """Where there is no file there is nothing wrong."""
    assert findings(path) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, [("audit.jsonl.000001", 1)]),
        (1, [("audit.jsonl.000002", 1)]),
        (2, [("audit.jsonl.000002", 1)]),
        (3, [("audit.jsonl", 1)]),
        (4, [("audit.jsonl", 1)]),
        (5, []),
    ],
)
async def test_removed_line(path: Path, number: int, expected: list[tuple[str, int]]) -> None:
    """A removed line shows, in whichever file it was, but for the very last one."""
    files = await trail(path)
    edit(files[number // 2], lambda parts: parts.pop(number % 2))
    assert where(path) == expected


@pytest.mark.parametrize("number", range(6))
async def test_changed_line(path: Path, number: int) -> None:
    """A changed line shows, in whichever file it is, once."""
    files = await trail(path)
    edit(
        files[number // 2],
        lambda parts: parts.__setitem__(number % 2, parts[number % 2].replace(b"LeftChat", b"Chatting")),
    )
    assert where(path) == [(files[number // 2].name, number % 2 + 1)]


async def test_swapped_over_files(path: Path) -> None:
    """Lines that were swapped between files show."""
    one, two, _ = await trail(path)
    first, second = (file.read_bytes().splitlines(keepends=True) for file in (one, two))
    one.write_bytes(first[0] + second[0])
    two.write_bytes(first[1] + second[1])
    assert {file for file, _ in where(path)} >= {one.name, two.name}


async def test_removed_file(path: Path) -> None:
    """A file that is missing in the middle shows; one at the beginning was archived."""
    one, two, _ = await trail(path)
    kept = two.read_bytes()
    two.unlink()
    assert where(path) == [("audit.jsonl", 1)]
    two.write_bytes(kept)
    one.unlink()
    assert findings(path) == []


async def test_emptied_file(path: Path) -> None:
    """A file that was put aside and is empty now shows: it never was, and nobody archives it like that."""
    one, *_ = await trail(path)
    one.write_bytes(b"")
    assert findings(path) == [Finding(str(one), "is empty: its lines were removed")]


async def test_words(path: Path) -> None:
    """What is wrong is said with the file, the line, and nothing of what stands there."""
    one, *_ = await trail(path)
    edit(one, lambda parts: parts.__setitem__(0, parts[0].replace(b"LeftChat", b"Secret")))
    assert findings(path) == [Finding(f"{one}: line 1", "was changed: its hash doesn't fit")]


async def test_going_on_after_tampering(path: Path) -> None:
    """The daemon says that the chain is broken, and goes on, so that what follows can be checked again."""

    def change_last(parts: list[bytes]) -> None:
        parts[-1] = parts[-1].replace(b"LeftChat", b"Chatting")

    def remove(parts: list[bytes]) -> None:
        del parts[-2]

    for change in (change_last, remove):
        await write(path, 1, 2, 3)
        edit(path, change)
        expected = findings(path)
        assert len(expected) == 1
        with capture_logs() as logged:
            await write(path, 4, 5)
        assert [line["event"] for line in logged] == ["audit.chain_broken"]
        assert findings(path) == expected
        path.unlink()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tampering(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever lines are taken, put or changed in whichever files: unless the newest alone are missing, it shows."""
    path = tmp_path / "audit.jsonl"
    if not path.exists():
        asyncio.run(trail(path))
    originals = {file: file.read_bytes() for file in files_of(path)}
    everything = b"".join(originals.values())
    try:
        for file, original in originals.items():
            parts = original.splitlines(keepends=True)
            others = st.sampled_from(
                [*everything.splitlines(keepends=True), b"{}\n", b"", parts[0].replace(b"x", b"y", 1)]
            )
            file.write_bytes(
                b"".join(data.draw(st.just(parts) | st.permutations(parts) | st.lists(others, max_size=3)))
            )
        tampered = b"".join(file.read_bytes() for file in originals)
        assume(not everything.startswith(tampered))
        assert findings(path) != []
    finally:
        for file, original in originals.items():
            file.write_bytes(original)


WRITER = """
import asyncio, sys
from pathlib import Path
from fbsessiond.testing import make_delivery, make_transition
from fbsessiond_handlers.audit import Audit

async def main():
    handler = Audit(path=Path(sys.argv[1]))
    async with handler.running():
        for number in range(int(sys.argv[2]), 1_000_000):
            await handler.handle(make_delivery(make_transition(seq=number)))
            print(number, flush=True)

asyncio.run(main())
"""


def test_killed(path: Path) -> None:
    """Whatever was done when the process was killed is in the file, and the chain goes on."""
    last = 0
    for count in (1, 40, 200):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(last + 1)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(count):
                last = int(writer.stdout.readline())
            writer.kill()
            last = max([last, *(int(line) for line in writer.stdout)])
        assert set(seqs(path)) >= set(range(1, last + 1))
    asyncio.run(write(path, 10**9))
    assert findings(path) == []


def test_observes() -> None:
    """It asks for nothing, so that a rehearsal, which can write no file, does without."""
    assert Audit.only_observes

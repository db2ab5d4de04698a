"""Bits that flip in copies of a journal: `verify` names the damage, or all that is read is as it was.

The journal has everything in it that a journal can have, retention included. Flips are spread over all its pages, and
the header's are struck more often. What can't be read is a `JournalError`, nothing else.
"""

import random  # noqa: TID251  flips that can be repeated
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from crashes.faults import NAME
from crashes.oracle import unheard
from crashes.serving import Server
from crashes.workload import Task
from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.sqlite.reader import SqliteReader
from proof.part import Part, Result, Tick

BATCHES = 60
PAGE_BYTES = 4096
HEADER_BYTES = 100
HEADER_SHARE = 0.1


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Flip so many bits, one at a time."""
    chance = random.Random(seed)  # noqa: S311  to be repeated
    counts: Counter[str] = Counter()
    problems: list[str] = []
    with TemporaryDirectory(prefix="bit-flips-") as folder:
        journal = Path(folder) / NAME
        with closing(Server()) as server:
            server.finish(Task(str(journal), BATCHES, seed))
        original = journal.read_bytes()
        everything = read(journal)
        for number in range(amount):
            at, bit = choose(chance, len(original), number), chance.randrange(8)
            flipped = bytearray(original)
            flipped[at] ^= 1 << bit
            journal.write_bytes(flipped)
            where = f"seed {seed}, bit {bit} of byte {at} (page {at // PAGE_BYTES + 1})"
            problems += [f"{where}: {problem}" for problem in judge(journal, everything, counts)]
            tick(number + 1)
    return Result({"flips": amount, "pages": len(original) // PAGE_BYTES, **counts}, problems)


def choose(chance: random.Random, length: int, number: int) -> int:
    """Return which byte is struck: the pages in turn, and now and then the file's header."""
    if chance.random() < HEADER_SHARE:
        return chance.randrange(HEADER_BYTES)
    return number % (length // PAGE_BYTES) * PAGE_BYTES + chance.randrange(PAGE_BYTES)


def judge(journal: Path, everything: list[object], counts: Counter[str]) -> Iterator[str]:
    """Yield what `verify` overlooks, and what ends in anything but a `JournalError`."""
    try:
        findings = verified(journal)
        there = everything if findings else read(journal)
    except JournalError as error:
        yield f"verify finds nothing, and it can't be read: {error}"
    except Exception as error:  # noqa: BLE001  a traceback, for the person who verifies
        yield f"{type(error).__name__}: {error}"
    else:
        if there != everything:
            counts["overlooked"] += 1
            changed = [(one, other) for one, other in zip(everything, there, strict=False) if one != other]
            yield f"altered, and verify finds nothing: {changed[:1] or 'more or fewer'}"
        else:
            counts["found" if findings else "without effect"] += 1
    finally:
        for rest in journal.parent.glob(f"{NAME}-*"):
            rest.unlink()


def verified(journal: Path) -> list[Finding]:
    """Return what `verify` finds, where the file opens; that it doesn't is a finding too."""
    try:
        with closing(SqliteReader(journal)) as reader:
            return list(reader.verify(unheard))
    except JournalError as error:
        return [Finding("the file", str(error))]


def read(journal: Path) -> list[object]:
    """Read everything that a person or the daemon is shown."""
    with closing(SqliteReader(journal)) as reader:
        return list(_rows(reader))


def _rows(reader: Reader) -> Iterator[object]:
    yield from reader.entries()
    yield from reader.deliveries()
    yield from reader.dead()
    yield from reader.follow_ups()
    yield from reader.stuck_follow_ups()
    yield from reader.gaps()
    yield from reader.watched()
    yield from reader.quarantined()
    yield reader.statistics()
    yield reader.redaction_key()


BIT_FLIPS = Part(
    "bit-flips",
    "Single bits flip in copies of a journal, all over its pages. Either `verify` says so, or all that is read is"
    " what it was; nothing ends in a traceback.",
    "flips",
    2_000,
    run,
)

"""What is mutated, and which tests should notice: a module's own test file first, then those of its neighbours."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from mutation.mutant import Mutant, mutants_of
from mutation.python import python_edits
from mutation.sql import sql_edits

Tests: TypeAlias = tuple[str, ...]
"""Test files."""

ROOT = Path(__file__).parent.parent.parent

PACKAGE = PurePosixPath("daemon/fbsessiond")
TESTS = PurePosixPath("tests/daemon")

SQLITE: Sequence[str] = ("journal/sql/test_engine.py", "journal/sqlite/test_engine.py", "journal/sqlite/test_reader.py")

NEIGHBOURS: Mapping[str, Sequence[str]] = {
    "transition.py": ("test_intake.py",),
    "gap.py": ("journal/sql/test_gaps.py", "test_reconciling.py", "cli/test_coverage.py"),
    "conditions.py": ("test_route.py", "test_configuration.py"),
    "expression.py": ("test_conditions.py",),
    "winding.py": ("test_dispatch.py",),
    "route.py": ("test_dispatch.py", "test_configuration.py"),
    "dispatch.py": ("test_snapshot_handlers.py", "test_lane.py"),
    "lane.py": ("test_dispatch.py", "test_follow_ups.py"),
    "follow_up.py": ("test_carrying.py", "test_follow_ups.py"),
    "follow_ups.py": ("test_carrying.py",),
    "carrying.py": ("test_follow_ups.py",),
    "intake.py": ("test_reconciling.py", "test_replaying.py"),
    "reconciling.py": ("test_snapshot_handlers.py",),
    "journal_evidence.py": ("test_follow_ups.py",),
    "cometd/proving.py": ("cometd/test_proofs.py", "cometd/test_resuming.py", "cometd/test_client.py"),
    "cometd/handover.py": ("cometd/test_reception.py", "cometd/test_client.py", "cometd/test_source.py"),
    "journal/documents.py": ("test_dispatch.py", "journal/sql/test_engine.py"),
    "journal/records.py": ("journal/sql/test_engine.py", "test_dispatch.py"),
    "journal/interface.py": ("journal/sql/test_engine.py",),
    "journal/engines.py": ("cli/test_application.py",),
    **{
        f"journal/{name}": SQLITE
        for name in (
            *("sql/deliveries.py", "sql/engine.py", "sql/entries.py", "sql/follow_ups.py", "sql/gaps.py"),
            *(
                "sql/quarantine.py",
                "sql/queries.py",
                "sql/reader.py",
                "sql/retention.py",
                "sql/reveals.py",
                "sql/rows.py",
            ),
            *("sql/waiting.py", "sqlite/engine.py", "sqlite/file.py", "sqlite/reader.py"),
            *("sql/deliveries.sql", "sql/entries.sql", "sql/follow_ups.sql", "sql/gaps.sql", "sql/quarantine.sql"),
            *("sql/retention.sql", "sql/reveals.sql", "sql/waiting.sql"),
        )
    },
}
"""What is mutated: the core. Beside each, the test files that are asked when its own is content."""


def all_mutants(root: Path = ROOT, files: Sequence[str] = tuple(NEIGHBOURS)) -> Iterator[Mutant]:
    """Make every mutant of some files, in the order in which they stand there."""
    for file in files:
        name = str(PACKAGE / file)
        yield from mutants_in(name, (root / name).read_bytes())


def mutants_in(name: str, source: bytes) -> Iterator[Mutant]:
    """Make every mutant of a file."""
    return mutants_of(name, source, sql_edits(source) if name.endswith(".sql") else python_edits(source))


def tests_of(root: Path, name: str) -> Sequence[Tests]:
    """Return the test files that should notice a mutant of a file: its own, and then its neighbours'."""
    file = PurePosixPath(name).relative_to(PACKAGE)
    own = str(TESTS / file.parent / f"test_{file.stem}.py")
    others = tuple(str(TESTS / other) for other in NEIGHBOURS.get(str(file), ()))
    return [tuple(each for each in tests if (root / each).exists()) for tests in ((own,), others)]

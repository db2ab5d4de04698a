"""What makes things up, in short: all that is kept in the corpus, some histories, some requests. See `make proof`."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fuzzing.corpus import FOLDER, Sample, keep, samples
from fuzzing.http_interface import ask_anything, ask_as_described, ask_oddly, served
from fuzzing.parts import ABOUT, PARTS
from fuzzing.targets import TARGETS
from fuzzing.whole_journal import ENGINES

MOST_BYTES = 300_000
"""How large the corpus may be, of all targets."""


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    """Each input that was kept keeps its promise, those included that once broke it."""
    for sample in samples(target):
        try:
            TARGETS[target](sample.data)
        except Exception as error:
            error.add_note(f"{target}: {sample}")
            raise


def test_small_corpus() -> None:
    """The corpus is small, has something for each target and nothing else, and each input stands in it once."""
    assert {path.stem for path in FOLDER.iterdir()} == TARGETS.keys() == ABOUT.keys()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MOST_BYTES
    for target in TARGETS:
        inputs = [sample.input for sample in samples(target)]
        assert len(set(inputs)) == len(inputs)


def test_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input is read as it was written, byte for byte; what has a name stands first."""
    monkeypatch.setattr("fuzzing.corpus.FOLDER", tmp_path)
    every_byte, named = Sample(bytes(range(256)).decode("latin-1")), Sample("{\n", "half an object")
    keep("some", [every_byte, named])
    assert samples("some") == [named, every_byte]
    assert every_byte.data == bytes(range(256))


@pytest.mark.parametrize(("engine", "examples"), [("memory", 8), ("file", 3)])
def test_histories(engine: str, examples: int) -> None:
    """Whatever happens to a journal, in whatever order, it holds what a plain model of it holds."""
    run_state_machine_as_test(ENGINES[engine], settings=settings(max_examples=examples, stateful_step_count=25))


def test_any_request() -> None:
    """Whatever is asked of the HTTP interface, it answers as it should, or refuses, and lives."""
    with served() as port:
        ask_oddly(port, 60, 1)
        ask_anything(port, 30, 1)


def test_described_requests() -> None:
    """What the HTTP interface answers is as it is described."""
    pytest.importorskip("schemathesis", reason="schemathesis isn't installed: it is for the proof alone")
    with served() as port:
        ask_as_described(port, 20, 1)


def test_parts() -> None:
    """Each part of the proof has a name of its own, and an amount."""
    assert len({part.name for part in PARTS}) == len(PARTS) == len(TARGETS) + len(ENGINES) + 1
    assert all(part.amount > 0 for part in PARTS)

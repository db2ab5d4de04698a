"""The parts of the proof that make things up: bytes for everything that is read, histories, requests."""

import contextlib
import io
from collections.abc import Callable
from functools import partial
from typing import Final

from hypothesis import seed as seeded
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fuzzing.http_interface import ask_anything, ask_as_described, ask_oddly, served
from fuzzing.runs import fuzz, has_atheris
from fuzzing.whole_journal import ENGINES
from proof.part import Part, Result, Tick

NO_ATHERIS: Final = "atheris isn't installed: `pip install --group proof`"

STEPS: Final = 50
"""How many things happen in a history at most."""

ROUND: Final = 100
"""How many histories, or requests, are made up with one seed; the next ones have the next seed."""

ABOUT: Final = {
    "notifications": (
        25_000,
        "Any bytes that a server calls a message are an entry, or in the quarantine word for word.",
    ),
    "long-polling": (15_000, "Whatever a server answers, the source goes on, and each message is handed over once."),
    "websocket": (20_000, "Whatever frames a server sends, the source goes on, and each message is handed over once."),
    "configuration": (40_000, "Any file is settings, or mistakes with their file and place."),
    "journal": (12_000, "Whatever is damaged in a journal is a finding or an error of the journal."),
    "answers": (10_000, "Whatever GWS answers, operations end in one of their ways, and the journal stays sound."),
    "fixtures": (
        40_000,
        "Any file of notifications is replayed, as far as it can be read; the rest has its place told.",
    ),
    "words": (1_000_000, "Any text is a duration, a date or a condition, and is written as it was read; or it isn't."),
}
"""Of each target how often it runs in a whole proof, about two minutes, and what has to hold."""


def _fuzzed(target: str, amount: int, seed: int, tick: Tick) -> Result:
    if not has_atheris():
        return Result({}, [NO_ATHERIS])
    run = fuzz(target, amount, seed, tick)
    counts = {
        "executions": run.executions,
        "inputs kept": run.kept,
        "edges": run.edges,
        "features": run.features,
        "crashes": len(run.crashes),
    }
    return Result(counts, [f"{target}: {crash!r}: {' | '.join(run.words[-25:])}" for crash in run.crashes])


def _histories(engine: str, amount: int, seed: int, tick: Tick) -> Result:
    options = settings(max_examples=ROUND, stateful_step_count=STEPS, deadline=None, database=None, derandomize=False)

    def examples(count: int, number: int) -> None:
        run_state_machine_as_test(seeded(number)(ENGINES[engine]), settings=settings(options, max_examples=count))

    return _rounds("histories", examples, amount, seed, tick)


def _requests(amount: int, seed: int, tick: Tick) -> Result:
    with served() as port:

        def examples(count: int, number: int) -> None:
            for ask in (ask_as_described, ask_oddly, ask_anything):
                ask(port, count // 3, number)

        return _rounds("requests", examples, amount, seed, tick)


def _rounds(unit: str, examples: Callable[[int, int], None], amount: int, seed: int, tick: Tick) -> Result:
    """Let hypothesis make up so many examples, some at a time, so that each problem has the seed of a short run."""
    done = 0
    problems: list[str] = []
    while done < amount and not problems:
        count, said = min(ROUND, amount - done), io.StringIO()
        number = seed + done // ROUND
        try:
            with contextlib.redirect_stdout(said):
                examples(count, number)
        except Exception as error:  # noqa: BLE001  whatever broke is a problem
            notes = "\n".join(getattr(error, "__notes__", ()))
            problems.append(f"seed {number}: {type(error).__name__}: {error}\n{notes}{said.getvalue()}")
        done += count
        tick(done)
    return Result({unit: done, "rounds": -(-done // ROUND), "problems": len(problems)}, problems)


PARTS: Final = (
    *(
        Part(f"fuzz-{target}", f"libFuzzer, led by coverage: {about}", "executions", amount, partial(_fuzzed, target))
        for target, (amount, about) in ABOUT.items()
    ),
    *(
        Part(
            f"histories-{engine}",
            "Whatever happens to a journal, in whatever order, crashes too, it holds what a plain model of it holds.",
            "histories",
            300,
            partial(_histories, engine),
        )
        for engine in ENGINES
    ),
    Part(
        "http-requests",
        "Whatever is asked of the HTTP interface, in its words (by schemathesis) or in any bytes, it answers as it is"
        " described, or refuses, and lives.",
        "requests",
        6_000,
        _requests,
    ),
)

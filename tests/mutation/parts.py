"""The part of the proof that asks how much the tests notice."""

import os
import random  # noqa: TID251  a sample of mutants is no part of the daemon
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mutation.judging import judge
from mutation.mutant import Key, Mutant
from mutation.survivors import reasons
from mutation.targets import PACKAGE, all_mutants
from mutation.verdict import Fate, Verdict
from proof.part import Part, Result, Tick

LEAST_PERCENT = 85.0
"""The score that has to be reached, over all files together."""


def run(amount: int, seed: int, tick: Tick) -> Result:
    """Judge so many mutants of the core, chosen by a seed; or all, where there are no more."""
    mutants = sample(list(all_mutants()), amount, seed)
    verdicts: list[Verdict] = []
    for verdict in judge(mutants, processes=len(os.sched_getaffinity(0))):
        verdicts.append(verdict)
        tick(len(verdicts))
    return result(verdicts, reasons())


def sample(mutants: Sequence[Mutant], amount: int, seed: int) -> Sequence[Mutant]:
    """Choose some, in the order in which they stand."""
    if amount >= len(mutants):
        return mutants
    chosen = random.Random(seed).sample(range(len(mutants)), amount)  # noqa: S311  nobody guesses
    return [mutants[each] for each in sorted(chosen)]


def result(verdicts: Sequence[Verdict], known: Mapping[Key, str]) -> Result:
    """Say what the verdicts amount to. A survivor without a reason is a problem where the score is too low."""
    fates = Counter(verdict.fate for verdict in verdicts)
    survivors = [verdict.key for verdict in verdicts if verdict.fate is Fate.SURVIVED]
    score = percent(verdicts)
    counts = {"mutants": len(verdicts), **{fate.value: fates[fate] for fate in Fate}, "score in %": score}
    unexplained = [f"no test notices it: {key}" for key in survivors if key not in known]
    problems = [f"the score is {score} %, not {LEAST_PERCENT:g} %", *unexplained] if score < LEAST_PERCENT else []
    return Result(counts, problems, [*_table(verdicts), "", *_list(survivors, known)], amount=len(verdicts))


def percent(verdicts: Sequence[Verdict]) -> float:
    """Return the share that tests notice; to hang is noticed, too."""
    noticed = sum(verdict.fate is not Fate.SURVIVED for verdict in verdicts)
    return round(100 * noticed / len(verdicts), 1) if verdicts else 0.0


def _table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "| file | mutants | survived | score |"
    yield "|---|---|---|---|"
    for file in sorted({verdict.key.file for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.key.file == file]
        survived = sum(verdict.fate is Fate.SURVIVED for verdict in own)
        yield f"| `{file.removeprefix(f'{PACKAGE}/')}` | {len(own)} | {survived} | {percent(own)} % |"


def _list(survivors: Sequence[Key], known: Mapping[Key, str]) -> Iterator[str]:
    for key in sorted(survivors):
        yield f"- `{str(key).removeprefix(f'{PACKAGE}/')}`: {known.get(key, 'no reason is known')}"


PARTS: Sequence[Part] = (
    Part(
        name="mutants",
        about=(
            "Makes one small change after the other in the core's modules and queries, and runs their tests: "
            f"at least {LEAST_PERCENT:g} % of the changes make a test fail."
        ),
        unit="mutants",
        amount=6000,  # more than there are: all of them
        run=run,
    ),
)

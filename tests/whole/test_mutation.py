"""Mutation testing itself: it tells tests that notice a change from tests that don't."""

from pathlib import Path

import pytest

from mutation.in_place import changed_function
from mutation.judging import judge
from mutation.mutant import Key, Mutant
from mutation.parts import percent, result, sample
from mutation.survivors import reasons
from mutation.targets import all_mutants, mutants_in
from mutation.verdict import Fate, Verdict

MODULE = "daemon/fbsessiond/gap.py"
SOURCE = b"def is_late(at: int, until: int) -> bool:\n    return at > until\n"
SHARP = """
from fbsessiond.gap import is_late

def test_late() -> None:
    assert (is_late(1, 2), is_late(2, 2), is_late(3, 2)) == (False, False, True)
"""
BLUNT = """
from fbsessiond.gap import is_late

def test_late() -> None:
    is_late(1, 2)
"""
WRONG = "def test_late() -> None:\n    assert False\n"


AT_IMPORT = b"""
LIMIT = 3

def doubled(number: int) -> int:
    return number * 2

TABLE = {"four": doubled(2)}

class Steps:
    step = 1

    def up(self, number: int) -> int:
        def again(by: int) -> int:
            return number + by
        return again(self.step)
"""
OF_IMPORT = """
from fbsessiond import gap

def test_all() -> None:
    assert (gap.LIMIT, gap.TABLE, gap.Steps.step) == (3, {"four": 4}, 1)
    assert gap.Steps().up(5) == 6
"""


def project(root: Path, tests: str, source: bytes = SOURCE) -> list[Mutant]:
    """Write a project of one module and its tests; return the module's mutants."""
    (root / MODULE).parent.mkdir(parents=True)
    (root / MODULE).write_bytes(source)
    (root / MODULE).with_name("__init__.py").touch()
    (root / "handlers").mkdir()
    (root / "tests/daemon").mkdir(parents=True)
    (root / "tests/daemon/test_gap.py").write_text(tests)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib']\n")
    return list(mutants_in(MODULE, source))


def test_sharp_tests(tmp_path: Path) -> None:
    """Tests that pin down each case let no mutant live."""
    verdicts = list(judge(project(tmp_path, SHARP), 1, tmp_path))
    assert [verdict.key.change for verdict in verdicts] == [
        "at > until → None",
        "at > until → (at >= until)",
        "at > until → (at <= until)",
    ]
    assert {verdict.fate for verdict in verdicts} == {Fate.KILLED}


def test_tests_that_assert_nothing(tmp_path: Path) -> None:
    """Tests that pass through all of the code, and assert nothing, let every mutant live."""
    verdicts = list(judge(project(tmp_path, BLUNT), 1, tmp_path))
    assert percent(verdicts) == 0
    assert (tmp_path / MODULE).read_bytes() == SOURCE


def test_what_an_import_does(tmp_path: Path) -> None:
    """A mutant of what is done once, at the import, is imported; others are put into what is there already."""
    verdicts = list(judge(project(tmp_path, OF_IMPORT, AT_IMPORT), 1, tmp_path))
    assert {"3 → 4", "number * 2 → (number + 2)", "1 → 2", "number + by → (number - by)"} <= {
        verdict.key.change for verdict in verdicts
    }
    assert {verdict.key.change for verdict in verdicts if verdict.fate is not Fate.KILLED} == {
        "number * 2 → (number + 2)"  # both are four
    }


def test_changed_function() -> None:
    """The one function that is changed is found, in a class and wherever it has moved; other changes have none."""
    before = compile(AT_IMPORT, "gap.py", "exec")
    names = {}
    for mutant in mutants_in(MODULE, AT_IMPORT):
        pair = changed_function(before, compile(b"\n" + mutant.text, "gap.py", "exec"))
        names[mutant.key.change] = pair and pair[1].co_qualname
    assert names["number * 2 → (number + 2)"] == "doubled"
    assert names["number + by → (number - by)"] == "Steps.up"
    assert names["3 → 4"] is names["1 → 2"] is None


def test_left_alone() -> None:
    """What a field's schema alone tells isn't changed; what else is said of the field is."""
    source = b'to: str = Field(min_length=1, examples=["left"], json_schema_input_type=Field(max_length=2))'
    assert [mutant.key.change.rpartition(" → ")[2] for mutant in mutants_in(MODULE, source)] == [
        "(Field(examples=['left'], json_schema_input_type=Field(max_length=2)))",
        "2",
    ]


def test_tests_that_fail(tmp_path: Path) -> None:
    """Tests that fail without any mutant prove nothing, and no score is made of them."""
    with pytest.raises(RuntimeError, match=r"without any mutant: tests/daemon/test_gap\.py::test_late killed"):
        list(judge(project(tmp_path, WRONG), 1, tmp_path))


def test_sample_of_the_core() -> None:
    """A few mutants of the core are noticed, or known to do no harm; `make proof` takes them all."""
    mutants = sample(list(all_mutants(files=["transition.py"])), 6, seed=1)
    survivors = {verdict.key for verdict in judge(mutants, 1) if verdict.fate is Fate.SURVIVED}
    assert survivors <= reasons().keys()


def test_reasons_are_of_today() -> None:
    """Each reason belongs to a mutant that can still be made, and is a sentence."""
    known = reasons()
    assert known.keys() <= {mutant.key for mutant in all_mutants()}
    assert all(len(because.split()) > 2 for because in known.values())


def test_result() -> None:
    """A score that is too low is a problem, with every survivor that has no reason; one that isn't, is none."""
    keys = [Key(MODULE, "span", f"{each} → 0") for each in range(10)]
    verdicts = [Verdict(key, Fate.SURVIVED if each < 2 else Fate.KILLED) for each, key in enumerate(keys)]
    known = {keys[0]: "it comes to the same"}
    found = result(verdicts, known)
    assert found.counts == {"mutants": 10, "killed": 8, "timed out": 0, "survived": 2, "score in %": 80.0}
    assert found.problems == ["the score is 80.0 %, not 85 %", f"no test notices it: {keys[1]}"]
    assert "- `gap.py, span: 0 → 0`: it comes to the same" in found.notes
    assert result([*verdicts, *verdicts[2:]], known).problems == []


def test_sample() -> None:
    """The same seed chooses the same mutants, in their order; more than there are is all."""
    mutants = list(mutants_in(MODULE, SOURCE * 20))
    assert sample(mutants, 5, 1) == sample(mutants, 5, 1) != sample(mutants, 5, 2)
    assert sample(mutants, 1000, 1) == mutants

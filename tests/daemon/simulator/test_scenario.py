"""fbsessiond.simulator.scenario: how many come, and what they do."""

from datetime import timedelta
from pathlib import Path

import pytest

from fbsessiond.errors import ConfigurationError
from fbsessiond.simulator.faults import FaultKind
from fbsessiond.simulator.scenario import QUIET, Scenario, load_scenario

DEMO = Path(__file__).parents[3] / "docs/demo/scenario.toml"


def loading(folder: Path, text: str) -> Scenario:
    """Load a scenario with this text."""
    path = folder / "scenario.toml"
    path.write_text(text)
    return load_scenario(path)


def mistakes(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a text, without the file's path."""
    with pytest.raises(ConfigurationError) as caught:
        loading(folder, text)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{folder / 'scenario.toml'}: ") for line in lines)
    return [line.removeprefix(f"{folder / 'scenario.toml'}: ") for line in lines]


def test_every_key_has_a_default(tmp_path: Path) -> None:
    """An empty file is a scenario: the built-in one."""
    assert loading(tmp_path, "") == Scenario()
    assert Scenario().customers.per_minute > 0
    assert QUIET.customers.per_minute == 0


def test_a_scenario_is_read(tmp_path: Path) -> None:
    """Tables, durations and faults."""
    scenario = loading(
        tmp_path,
        """
        seed = 7
        duration = "30s"
        [gws]
        csrf = true
        delay = ["1s", "2s"]
        [agents]
        count = 3
        [customers]
        per_minute = 60
        [faults]
        402 = { probability = 0.5 }
        drop-request = { count = 2, on = ["reads"] }
        """,
    )
    assert (scenario.seed, scenario.duration, scenario.agents.count) == (7, timedelta(seconds=30), 3)
    assert scenario.gws.delay == (timedelta(seconds=1), timedelta(seconds=2))
    assert {kind for kind, _ in scenario.faults.given()} == {FaultKind.UNKNOWN_CLIENT, FaultKind.DROP_REQUEST}


def test_the_demo_ends_by_itself() -> None:
    """It doesn't run for ever, has one agent to watch, and nothing goes wrong in it."""
    scenario = load_scenario(DEMO)
    assert scenario.duration is not None
    assert scenario.agents.count == 1
    assert 0 < scenario.agents.disposition < 1
    assert not list(scenario.faults.given())


def test_all_mistakes_are_told_with_line_and_key(tmp_path: Path) -> None:
    """An unknown key with the nearest name."""
    text = '[agents]\ncout = 3\naccept = 2\n[customers]\nchat = ["5s", "1s"]\n[faults]\ndrp = {}\n'
    told = mistakes(tmp_path, text)
    assert len(told) == 4
    assert told[0].startswith("line 3: agents.accept: ")
    assert told[1] == "line 2: agents.cout: there is no such key; did you mean 'count'?"
    assert told[2] == "line 5: customers.chat: should be the shorter one, then the longer one"
    assert told[3] == "line 7: faults.drp: there is no such key; did you mean 'drop'?"


def test_agents_cannot_answer_more_than_all_invitations(tmp_path: Path) -> None:
    """What is neither accepted nor rejected rings out: it can't be less than nothing."""
    (told,) = mistakes(tmp_path, "[agents]\naccept = 0.9\nreject = 0.2\n")
    assert "together at most 1" in told


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It isn't there, is no text, or no TOML."""
    with pytest.raises(ConfigurationError, match="can't read the scenario"):
        load_scenario(tmp_path / "never.toml")
    (tmp_path / "scenario.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="can't read the scenario"):
        load_scenario(tmp_path / "scenario.toml")
    assert mistakes(tmp_path, "=")[0].startswith("isn't TOML")

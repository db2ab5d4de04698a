"""fbsessiond.simulator.faults: what goes wrong, how often."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fbsessiond.chance import SeededChance
from fbsessiond.simulator.faults import FaultKind, Faults, FaultTable, Where
from fbsessiond.simulator.happening import Chronicle, Happening
from simulator_parts import HandClock


def faults(heard: list[Happening] | None = None, **table: Any) -> Faults:
    """Return faults that are on."""
    chronicle = Chronicle(HandClock())
    chronicle.listen((heard if heard is not None else []).append)
    return Faults(FaultTable.model_validate(table), SeededChance(1), chronicle)


def test_every_kind_can_be_set() -> None:
    """The table has a key for each, in the kind's own spelling."""
    table = FaultTable.model_validate({kind.value: {} for kind in FaultKind})
    assert {kind for kind, _ in table.given()} == set(FaultKind)


def test_what_is_off_never_strikes() -> None:
    """Without a setting nothing goes wrong."""
    assert not any(faults().strikes(kind) for kind in FaultKind)


def test_probability() -> None:
    """About as many strikes as its probability says."""
    some = faults(drop={"probability": 0.25})
    times = sum(some.strikes(FaultKind.DROP) is not None for _ in range(2000))
    assert 400 < times < 600
    assert some.state() == {"on": {"drop": {"probability": 0.25, "left": None}}, "struck": {"drop": times}}


def test_count() -> None:
    """It strikes so many times, and is over."""
    some = faults(slow={"count": 2, "pause": "1s"})
    struck = [some.strikes(FaultKind.SLOW) for _ in range(4)]
    assert [fault.pause if fault else None for fault in struck] == [timedelta(seconds=1)] * 2 + [None] * 2
    assert some.state() == {"on": {}, "struck": {"slow": 2}}


def test_place() -> None:
    """One that is only for some requests leaves the others alone; one that isn't strikes all."""
    some = faults(drop={"on": ["operations", "reads"]}, slow={})
    assert some.strikes(FaultKind.DROP, Where.NOTIFICATIONS) is None
    assert some.strikes(FaultKind.DROP, Where.READS) is not None
    assert some.strikes(FaultKind.SLOW, Where.NOTIFICATIONS) is not None


def test_switching() -> None:
    """What is mentioned changes, null switches off, the rest stays."""
    some = faults(drop={}, slow={}, lose={"count": 5})
    some.switch(FaultTable.model_validate({"drop": None, "lose": {"count": 1}, "402": None}))
    assert some.strikes(FaultKind.DROP) is None
    assert some.strikes(FaultKind.SLOW) is not None
    assert some.state()["on"].keys() == {"slow", "lose"}
    assert some.state()["on"]["lose"]["left"] == 1


def test_strikes_are_told() -> None:
    """With what they struck."""
    heard: list[Happening] = []
    some = faults(heard, drop={}, lose={})
    some.strikes(FaultKind.DROP, Where.READS)
    some.strikes(FaultKind.LOSE, agent="agent1", session="S1")
    assert heard[0].details == {"kind": "drop", "on": "reads"}
    assert (heard[1].agent, heard[1].session, heard[1].details) == ("agent1", "S1", {"kind": "lose"})


@pytest.mark.parametrize(
    "table", [{"drp": {}}, {"drop": {"probability": 2}}, {"drop": {"count": 0}}, {"drop": {"on": ["x"]}}]
)
def test_a_wrong_table_is_an_error(table: dict[str, Any]) -> None:
    """Unknown faults and places, and impossible numbers."""
    with pytest.raises(ValidationError):
        FaultTable.model_validate(table)

"""fbsessiond.simulator.happening: what happens, told to whoever listens."""

from fbsessiond.simulator.happening import Chronicle, Happening, What
from fbsessiond.testing import EPOCH
from simulator_parts import HandClock


def test_each_listener_is_told_in_order() -> None:
    """A happening has its time and its details, and reaches those who listened before it."""
    chronicle = Chronicle(HandClock())
    heard: list[tuple[int, Happening]] = []
    chronicle.tell(What.FAULT)
    chronicle.listen(lambda happening: heard.append((1, happening)))
    chronicle.listen(lambda happening: heard.append((2, happening)))
    chronicle.tell(What.EFFECT, "agent1", "S1", operation="Leave")
    expected = Happening(EPOCH, What.EFFECT, "agent1", "S1", {"operation": "Leave"})
    assert heard == [(1, expected), (2, expected)]

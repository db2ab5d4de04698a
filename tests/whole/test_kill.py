"""The daemon killed at any moment, under load: `make proof` goes on for longer."""

import pytest

from crashes.kills import KILLS
from fbsessiond.chance import new_identity

pytestmark = pytest.mark.node


def test_killed() -> None:
    """Killed at any moment, again and again: nothing acknowledged is lost, all is carried out, each in its order."""
    seed = int(new_identity()[:8], 16)
    assert not KILLS.run(10, seed, lambda _: None).problems, f"seed {seed}"

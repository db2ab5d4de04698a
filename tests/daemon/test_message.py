import dataclasses

import pytest

from fbsessiond.gap import Break, GapCause, Proof
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.testing import EPOCH


def test_origins() -> None:
    """An origin is spelled in the journal and in exports as outside readers know it."""
    assert [str(origin) for origin in Origin] == ["live", "snapshot", "replay"]


@pytest.mark.parametrize("proof", [None, Proof("A", EPOCH, EPOCH), Break(GapCause.NETWORK)])
def test_batch(proof: Proof | Break | None) -> None:
    """A batch proves nothing unless its source says so; one that proves something may be empty."""
    plain = Batch("agent1", Origin.LIVE, EPOCH, (Message(b"{}", None, None),))
    assert plain.proof is None
    assert Batch("agent1", Origin.LIVE, EPOCH, (), proof) == dataclasses.replace(plain, messages=(), proof=proof)

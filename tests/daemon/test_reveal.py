from dataclasses import FrozenInstanceError

import pytest

from fbsessiond.reveal import Reveal
from fbsessiond.testing import EPOCH


def test_reveal() -> None:
    """A reveal says when, to whom and by which command; it can't be changed."""
    reveal = Reveal("journal/reveals/1", EPOCH, "alice (uid 1000)", "export --reveal")
    assert reveal == Reveal("journal/reveals/1", EPOCH, "alice (uid 1000)", "export --reveal")
    with pytest.raises(FrozenInstanceError):
        reveal.by = "nobody"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

from dataclasses import FrozenInstanceError

import pytest

from fbsessiond.finding import Finding


def test_finding() -> None:
    """A finding says where something is wrong, and what; two that say the same are equal, and none changes."""
    finding = Finding("entry 3", "its checksum doesn't fit")
    assert finding == Finding(where="entry 3", what="its checksum doesn't fit")
    with pytest.raises(FrozenInstanceError):
        finding.where = "entry 4"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

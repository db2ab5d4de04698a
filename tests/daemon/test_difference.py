import pytest

from fbsessiond.difference import Asked, Difference, compare, count
from fbsessiond.follow_up import FollowUp, Webhook
from fbsessiond.operations import Operation

COMPLETE = Operation.complete("S1")
RESOLVED = Operation.set_disposition("S1", "resolved")
CLOSED = Operation.set_disposition("S1", "closed")


def asked(follow_up: FollowUp, seq: int = 1, handler: str = "wrap-up", step: int = 1) -> Asked:
    """Return what a handler asked for."""
    return Asked(seq, handler, step, follow_up)


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ([], [], []),
        ([asked(COMPLETE)], [asked(COMPLETE)], ["same"]),
        ([asked(COMPLETE)], [asked(COMPLETE, handler="close", step=2)], ["same"]),
        ([asked(COMPLETE)], [asked(COMPLETE, seq=2)], ["removed", "added"]),
        ([asked(RESOLVED)], [asked(CLOSED)], ["changed"]),
        ([asked(RESOLVED)], [asked(CLOSED, handler="close", step=2)], ["changed"]),
        ([asked(RESOLVED)], [asked(COMPLETE)], ["changed"]),
        ([asked(RESOLVED)], [asked(COMPLETE, handler="close")], ["removed", "added"]),
        ([asked(COMPLETE)], [asked(COMPLETE), asked(COMPLETE, step=2)], ["same", "added"]),
        ([asked(RESOLVED), asked(COMPLETE, step=2)], [asked(RESOLVED), asked(COMPLETE, step=2)], ["same", "same"]),
        (
            [asked(RESOLVED), asked(COMPLETE, step=2)],
            [asked(COMPLETE), asked(RESOLVED, step=2)],
            ["same", "same"],
        ),
        ([asked(Webhook("crm", "S1", {"a": 1}))], [asked(Webhook("crm", "S1", {"a": 2}))], ["changed"]),
    ],
)
def test_kinds(before: list[Asked], after: list[Asked], kinds: list[str]) -> None:
    """The same effect at an entry is the same, whoever asks for it; the same step, or operation, can have changed."""
    assert [one.kind for one in compare(before, after)] == kinds


def test_sides() -> None:
    """A difference has what was asked for before and after; its one side is the later one of two."""
    (changed,) = compare([asked(RESOLVED)], [asked(CLOSED)])
    assert changed == Difference("changed", asked(RESOLVED), asked(CLOSED))
    assert changed.asked == asked(CLOSED)
    (removed,) = compare([asked(RESOLVED)], [])
    assert removed.asked == asked(RESOLVED)


def test_order_and_count() -> None:
    """Differences come entry by entry, and are counted by kind, those that there are none of, too."""
    found = list(compare([asked(COMPLETE, seq=9), asked(COMPLETE, seq=2)], [asked(COMPLETE, seq=5)]))
    assert [one.asked.seq for one in found] == [2, 5, 9]
    assert count(found) == {"same": 0, "added": 1, "removed": 2, "changed": 0}

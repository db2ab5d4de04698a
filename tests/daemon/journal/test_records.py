from fbsessiond import Operation
from fbsessiond.follow_up import Progress
from fbsessiond.journal.records import (
    DeliveryRecord,
    DeliveryState,
    Entry,
    FollowUpLease,
    FollowUpRecord,
    Lease,
    Statistics,
)
from fbsessiond.message import Origin
from fbsessiond.transition import Kind
from journal_parts import NOW

LEAVE = Operation.leave("S1")
ENTRY = Entry(42, NOW, Origin.LIVE, "a1", None, "S1", Kind.TRANSITION, "Chatting", "LeftChat", b"{}", None)


def test_states() -> None:
    """A state is spelled in the journal, in exports and in metrics as outside readers know it."""
    assert {str(state) for state in DeliveryState} == {
        *("waiting", "due", "running", "delivered", "dead", "withdrawn", "not_wanted"),
    }


def test_statistics_of_nothing() -> None:
    """What isn't counted is nothing."""
    assert Statistics(0, None, None, None, None) == Statistics(
        0, None, None, None, None, kinds={}, sessions=0, deliveries={}, follow_ups={}, quarantined=0, bytes=0
    )


def test_delivery_id() -> None:
    """A delivery is named by its entry and its handler, leased or looked at."""
    record = DeliveryRecord(42, "audit", "a1", "S1", "LeftChat", DeliveryState.DEAD, 3, None, NOW)
    assert Lease(1, "audit", 0, NOW, ENTRY).id == record.id == "42/audit"


def test_follow_up_id() -> None:
    """A follow-up is named by its delivery and its step, leased or looked at."""
    record = FollowUpRecord(42, "wrap-up", 2, "a1", LEAVE, Progress(attempts=3), is_running=False, at=NOW)
    assert FollowUpLease(1, 42, "wrap-up", 2, "a1", LEAVE, Progress()).id == record.id == "42/wrap-up/2"
    assert (record.session, record.attempts) == ("S1", 3)

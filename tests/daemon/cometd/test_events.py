"""fbsessiond.cometd.events: the status that events add up to."""

from datetime import UTC, datetime, timedelta

from fbsessiond.cometd.events import (
    NOTHING_TRIED,
    Closed,
    Connected,
    Handshaken,
    Lost,
    Refused,
    Resumed,
    SinkSlow,
    Subscribed,
    SubscriptionRefused,
)
from fbsessiond.cometd.rules import Cause

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(minutes=1)
CONNECTED = (
    NOTHING_TRIED.after(Handshaken(START, "long-polling", acknowledged=True))
    .after(Subscribed(START, "/a"))
    .after(Connected(START))
)


def test_nothing_is_healthy_before_a_connect() -> None:
    """A session and its subscription prove nothing yet."""
    status = NOTHING_TRIED.after(Handshaken(START, "long-polling", acknowledged=True)).after(Subscribed(START, "/a"))
    assert (status.session, status.acknowledged, status.connected, status.healthy) == (True, ("/a",), False, False)


def test_each_connect_is_remembered_and_the_first_says_since_when() -> None:
    """The last connect's time moves on, the connection's beginning doesn't."""
    status = CONNECTED.after(Connected(LATER))
    assert (status.connected, status.since, status.last_connect_at, status.healthy) == (True, START, LATER, True)


def test_a_refused_channel_is_unhealthy_and_recovers() -> None:
    """Several refusals are one channel, other channels change nothing about it, and a confirmation ends it."""
    status = CONNECTED
    for times in (1, 2):
        status = status.after(SubscriptionRefused(START, "/b", times, "403 denied"))
        status = status.after(Subscribed(START, "/c")).after(Connected(START))
        assert (status.refused, status.connected, status.healthy) == (("/b",), True, False)
        assert status.words == "the subscription of /b is refused: 403 denied"
    status = status.after(SubscriptionRefused(START, "/d", 1, "403")).after(Subscribed(START, "/b"))
    assert (status.refused, status.healthy) == (("/d",), False)
    status = status.after(Subscribed(START, "/d"))
    assert (status.refused, status.healthy, status.words) == ((), True, "subscribed")
    assert status.after(Connected(START)).words == "connected"


def test_a_loss_keeps_what_the_session_keeps() -> None:
    """While the session may still be there, so may its subscriptions; later losses don't change since when."""
    status = CONNECTED.after(Lost(LATER, Cause.CUT, "reset", session=True))
    assert (status.connected, status.since, status.session, status.acknowledged) == (False, LATER, True, ("/a",))
    assert status.words == "cut: reset"
    status = status.after(Lost(LATER + timedelta(minutes=1), Cause.SESSION_GONE, "402", session=False))
    assert (status.since, status.session, status.acknowledged) == (LATER, False, ())
    assert NOTHING_TRIED.after(Lost(START, Cause.UNREACHABLE, "", session=False)).since == START


def test_a_session_that_is_taken_up_has_its_subscriptions() -> None:
    """Whether the server still knows it, the next connect shows."""
    status = NOTHING_TRIED.after(Resumed(START, "long-polling", acknowledged=True, channels=("/a",)))
    assert (status.session, status.acknowledged, status.connected, status.healthy) == (True, ("/a",), False, False)
    assert status.words == "a session is taken up"
    assert status.after(Connected(LATER)).healthy


def test_refused_credentials_end_it() -> None:
    """Nothing is connected, and the words say why."""
    status = CONNECTED.after(Refused(LATER, "HTTP status 401"))
    assert (status.connected, status.session, status.since, status.words) == (False, False, LATER, "HTTP status 401")


def test_a_closed_conversation_is_not_connected() -> None:
    """Readiness ends with it."""
    status = CONNECTED.after(Closed(LATER, farewell=True))
    assert (status.connected, status.session, status.acknowledged, status.words) == (False, False, (), "closed")


def test_a_slow_sink_is_not_the_connections_fault() -> None:
    """The status stays."""
    assert CONNECTED.after(SinkSlow(LATER, 2.0)) == CONNECTED

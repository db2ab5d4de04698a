import json
from datetime import UTC, datetime, timedelta

import pytest

from fbsessiond import Gap, GapCause, Origin
from fbsessiond.testing import make_transition
from fbsessiond_handlers.transition_data import Data, data_of

AT = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
TRANSITION = make_transition("Chatting", "Invited", seq=42, at=AT, userData={"FirstName": "Canary"})
STATE = {
    "seq": 42,
    "at": "2026-01-01T09:30:00.000000Z",
    "origin": "live",
    "agent": "agent1",
    "session": "0002DaAVKJ0V0095",
    "before": "Invited",
    "after": "Chatting",
}


def test_state() -> None:
    """`state` tells ids and states, and nothing of the customer's."""
    assert data_of(TRANSITION, "state") == STATE


def test_notification() -> None:
    """`notification` tells what was received, too, as it was."""
    told = data_of(TRANSITION, "notification")
    assert told == {**STATE, "notification": TRANSITION.notification}
    assert told["notification"]["facebooksession"]["userData"] == {"FirstName": "Canary"}


def test_gap() -> None:
    """Of what a snapshot found, the gap is told in which it happened."""
    gap = Gap("agent1", AT, AT + timedelta(minutes=1), GapCause.NETWORK)
    told = data_of(make_transition("Vanished", "Chatting", origin=Origin.SNAPSHOT, gap=gap), "state")
    assert (told["origin"], told["after"]) == ("snapshot", "Vanished")
    assert told["gap"] == {
        "from": "2026-01-01T09:30:00.000000Z",
        "to": "2026-01-01T09:31:00.000000Z",
        "cause": "network",
    }


@pytest.mark.parametrize("data", ["state", "notification"])
def test_first_sight(data: Data) -> None:
    """At first sight the state before is null, and all of it can be written as JSON."""
    told = data_of(make_transition("Invited"), data)
    assert json.loads(json.dumps(told))["before"] is None

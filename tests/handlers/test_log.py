from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from fbsessiond import Done
from fbsessiond.testing import make_delivery, make_transition
from fbsessiond_handlers.log import Log


async def test_line() -> None:
    """A transition is one line: who, from where, to where."""
    with capture_logs() as logged:
        outcome = await Log().handle(make_delivery(make_transition("LeftChat", before="Chatting", seq=7)))
    assert outcome == Done()
    assert logged == [
        {
            "log_level": "info",
            "event": "session.transition",
            "session": "0002DaAVKJ0V0095",
            "agent": "agent1",
            "before": "Chatting",
            "after": "LeftChat",
            "origin": "live",
            "seq": 7,
        }
    ]


async def test_no_customer_data() -> None:
    """Nothing of what a customer is or wrote is in the line."""
    known: dict[str, Any] = {
        "userData": {"EmailAddress": "zoe@example.org"},
        "comment": "call me",
        "participants": [{"id": "P", "nickname": "Zoe"}],
    }
    with capture_logs() as logged:
        await Log().handle(make_delivery(make_transition("Chatting", **known)))
    for written in ("zoe@example.org", "call me", "Zoe"):
        assert written not in repr(logged)


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
async def test_level(level: str) -> None:
    """Its level is an option."""
    with capture_logs() as logged:
        await Log.model_validate({"level": level}).handle(make_delivery())
    assert [line["log_level"] for line in logged] == [level]


def test_wrong_level() -> None:
    """A level that there isn't is a mistake in the configuration."""
    with pytest.raises(ValidationError, match="level"):
        Log.model_validate({"level": "loud"})


def test_observes() -> None:
    """It asks for nothing, so that a rehearsal does without."""
    assert Log.only_observes

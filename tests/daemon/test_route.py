from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fbsessiond.conditions import Condition
from fbsessiond.handler import Delivery, Handler, Outcome
from fbsessiond.message import Origin
from fbsessiond.route import DeliverySettings, Route


class Idle(Handler):
    """Does nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        raise NotImplementedError


def on(**keys: str) -> Condition:
    """Return a condition."""
    return Condition.model_validate(keys)


@pytest.mark.parametrize(
    ("conditions", "is_wanted"),
    [
        ((), True),
        ((on(to="LeftChat"),), True),
        ((on(to="Completed"),), False),
        ((on(to="Completed"), on(to="LeftChat")), True),
        ((on(to="Completed"), on(to="LeftChat", origin="snapshot")), False),
    ],
)
def test_wants(conditions: tuple[Condition, ...], is_wanted: bool) -> None:
    """A handler wants what any of its conditions wants; without conditions, everything."""
    assert Route("idle", Idle(), conditions).wants("Chatting", "LeftChat", Origin.LIVE) is is_wanted


@pytest.mark.parametrize(
    ("snapshot", "wanted"),
    [
        ("run", [Origin.LIVE, Origin.SNAPSHOT, Origin.REPLAY]),
        ("run-if-still-true", [Origin.LIVE, Origin.SNAPSHOT, Origin.REPLAY]),
        ("skip", [Origin.LIVE, Origin.REPLAY]),
    ],
)
@pytest.mark.parametrize("conditions", [(), (on(to="LeftChat"),)])
def test_snapshots(snapshot: str, wanted: list[Origin], conditions: tuple[Condition, ...]) -> None:
    """What a snapshot found is wanted like anything else, unless a handler skips that."""
    route = Route("idle", Idle(), conditions, DeliverySettings.model_validate({"snapshot": snapshot}))
    assert [origin for origin in Origin if route.wants("Chatting", "LeftChat", origin)] == wanted


def test_snapshots_and_conditions() -> None:
    """Whatever is to be done with what a snapshot found, the conditions hold for it, too."""
    route = Route("idle", Idle(), (on(to="Completed"),), DeliverySettings(snapshot="run-if-still-true"))
    assert not route.wants("Chatting", "LeftChat", Origin.SNAPSHOT)
    skipping = Route("idle", Idle(), (on(origin="snapshot"),), DeliverySettings(snapshot="skip"))
    assert not any(skipping.wants("Chatting", "LeftChat", origin) for origin in Origin)


def test_delivery_settings() -> None:
    """Without settings a delivery has ten attempts of half a minute, eight sessions at a time."""
    settings = DeliverySettings()
    assert settings.snapshot == "run"
    assert (settings.attempts, settings.timeout, settings.concurrency) == (10, timedelta(seconds=30), 8)
    assert settings.backoff == timedelta(seconds=1)
    assert Route("idle", Idle()).delivery == settings
    assert DeliverySettings(attempts=1, concurrency=1).attempts == 1
    assert DeliverySettings.model_validate({"attempts": 3, "timeout": "5m", "backoff": "100ms", "concurrency": 1}) == (
        DeliverySettings(attempts=3, timeout=timedelta(minutes=5), backoff=timedelta(milliseconds=100), concurrency=1)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": 1_001},
        {"attempts": "many"},
        {"timeout": "0s"},
        {"timeout": "61m"},
        {"timeout": 30},
        {"backoff": "0s"},
        {"backoff": "2h"},
        {"concurrency": 0},
        {"concurrency": 1_001},
        {"snapshot": "run-if-true"},
        {"snapshot": None},
        {"snapshot": True},
        {"atempts": 3},
    ],
)
def test_limits(settings: dict[str, Any]) -> None:
    """What can't be carried out is refused, and so is a key that means nothing."""
    with pytest.raises(ValidationError):
        DeliverySettings.model_validate(settings)


def test_settled_settings() -> None:
    """What was read of the configuration stays as it was read."""
    with pytest.raises(ValidationError, match="frozen"):
        DeliverySettings().attempts = 3  # type: ignore[misc]

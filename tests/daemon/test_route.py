from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fbsessiond.conditions import Candidate, Condition, Throttle
from fbsessiond.handler import Delivery, Handler, Outcome
from fbsessiond.message import Origin
from fbsessiond.route import NOW, DeliverySettings, Route, Wish


class Idle(Handler):
    """Does nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        raise NotImplementedError


def on(**keys: str) -> Condition:
    """Return a condition."""
    return Condition.model_validate(keys)


def left(origin: Origin = Origin.LIVE) -> Candidate:
    """Return the transition of a session that its agent leaves."""
    return Candidate("agent1", "S1", "Chatting", "LeftChat", origin, lambda: {"id": "S1", "state": "LeftChat"})


def wants(route: Route, origin: Origin = Origin.LIVE) -> bool:
    """Say whether a handler wants that."""
    return isinstance(route.wish(left(origin)), Wish)


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
    assert wants(Route("idle", Idle(), conditions)) is is_wanted


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
    assert [origin for origin in Origin if wants(route, origin)] == wanted


def test_snapshots_and_conditions() -> None:
    """Whatever is to be done with what a snapshot found, the conditions hold for it, too."""
    route = Route("idle", Idle(), (on(to="Completed"),), DeliverySettings(snapshot="run-if-still-true"))
    assert not wants(route, Origin.SNAPSHOT)
    skipping = Route("idle", Idle(), (on(origin="snapshot"),), DeliverySettings(snapshot="skip"))
    assert not any(wants(skipping, origin) for origin in Origin)


def test_delivery_settings() -> None:
    """Without settings a delivery has ten attempts of half a minute, eight sessions at a time."""
    settings = DeliverySettings()
    assert settings.snapshot == "run"
    assert (settings.attempts, settings.timeout, settings.concurrency) == (10, timedelta(seconds=30), 8)
    assert (settings.backoff, settings.max_late) == (timedelta(seconds=1), timedelta(minutes=1))
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


def test_why_not() -> None:
    """What isn't wanted has its reason; of several conditions each has one, with the number of its table."""
    assert Route("idle", Idle(), (on(to="Completed"),)).wish(left()) == "to: was LeftChat"
    both = (on(to="Completed"), on(to="LeftChat", when="false"))
    assert Route("idle", Idle(), both).wish(left()) == "1. to: was LeftChat\n2. when: false is false"
    skipping = Route("idle", Idle(), delivery=DeliverySettings(snapshot="skip"))
    assert skipping.wish(left(Origin.SNAPSHOT)) == 'delivery.snapshot is "skip", and a snapshot found it'


def test_when() -> None:
    """The first condition that matches says when: now, when the state has lasted, or with a throttle."""
    clock, throttle = on(**{"for": "5m"}), on(to="LeftChat", once_within="1h", once_per="agent")
    assert Route("idle", Idle()).wish(left()) is NOW
    assert Route("idle", Idle(), (clock, throttle)).wish(left()) == Wish(lasts=timedelta(minutes=5))
    counted = Throttle("1/agent/agent1", timedelta(hours=1), is_last=False)
    assert Route("idle", Idle(), (throttle, clock)).wish(left()) == Wish(throttle=counted)


def test_clocks() -> None:
    """A handler has clocks where any of its conditions waits for how long a state lasts."""
    assert Route("idle", Idle(), (on(to="x"), on(**{"for": "5m"}))).has_clocks
    assert not Route("idle", Idle(), (on(to="x"), on(once_after="5m"))).has_clocks

"""What handlers see of changes that a snapshot found: fbsessiond.reconciling to fbsessiond.dispatch."""

import asyncio
from typing import Any

from pydantic import PrivateAttr

from fbsessiond import Delivery, Done, Handler, Outcome
from fbsessiond.conditions import Condition
from fbsessiond.gap import Gap
from fbsessiond.journal.records import DeliveryState
from fbsessiond.route import DeliverySettings, Route
from fbsessiond.transition import Transition
from floor import AGENT
from snapshot_parts import chat, desk, gap, ledger, operate
from virtual_network import networked


class Keeping(Handler):
    """A handler that keeps what it sees, and takes its time."""

    seconds: float = 0.0
    _seen: list[Transition] = PrivateAttr(default_factory=list[Transition])

    @property
    def seen(self) -> list[Transition]:
        """What it saw."""
        return self._seen

    async def handle(self, delivery: Delivery) -> Outcome:
        """Keep it."""
        self._seen.append(delivery.transition)
        await asyncio.sleep(self.seconds)
        return Done()


def keeping(name: str, *origins: str, **delivery: Any) -> Route:
    """Return a route to such a handler, which wants these origins."""
    conditions = [Condition.model_validate({"origin": list(origins)})] if origins else []
    return Route(name, Keeping(), conditions, DeliverySettings.model_validate(delivery))


def seen(route: Route) -> list[tuple[str, str]]:
    """Return what a route's handler saw."""
    assert isinstance(route.handler, Keeping)
    return [(each.after, each.origin.value) for each in route.handler.seen]


@networked
async def test_handlers() -> None:
    """Handlers see where a transition comes from, with its gap; `on` and `delivery.snapshot` say who wants it."""
    routes = [
        every := keeping("every"),
        keeping("live", "live"),
        keeping("found", "snapshot"),
        keeping("skipping", snapshot="skip"),
    ]
    async with desk(*routes) as (here, session):
        async with gap(here):
            operate(here, session, "Leave")
        await asyncio.sleep(5)
        (ended,) = ledger(here)
        notified, missed = [("Invited", "live"), ("Chatting", "live")], [("LeftChat", "snapshot")]
        assert [seen(route) for route in routes] == [[*notified, *missed], notified, missed, notified]
        assert isinstance(every.handler, Keeping)
        gaps = [each.gap for each in every.handler.seen]
        assert gaps == [None, None, Gap(AGENT, ended.begin, ended.end, ended.cause)]
        assert every.handler.seen[-1].notification["facebooksession"]["state"] == "LeftChat"


@networked
async def test_no_longer_true() -> None:
    """A handler that wants a change only while it is so gets it, unless the session is in another state by then."""
    route = Route(
        "slow",
        Keeping(seconds=60),
        (),
        DeliverySettings.model_validate({"snapshot": "run-if-still-true", "timeout": "5m"}),
    )
    async with desk(route) as (here, session):
        still = await chat(here)
        async with gap(here):
            operate(here, session, "Leave")
            operate(here, still, "Leave")
        operate(here, session, "Complete")
        await asyncio.sleep(600)
        assert isinstance(route.handler, Keeping)
        states = {
            name: [each.after for each in route.handler.seen if each.session.id == name] for name in (session, still)
        }
        assert states == {session: ["Invited", "Chatting", "Completed"], still: ["Invited", "Chatting", "LeftChat"]}
        (withdrawn,) = [each for each in here.journal.reader().deliveries() if each.state is DeliveryState.WITHDRAWN]
        assert (withdrawn.session, withdrawn.after) == (session, "LeftChat")
        assert withdrawn.because == "found by a snapshot, and no longer true: the session is Completed, not LeftChat"

from datetime import timedelta

from fbsessiond.conditions import Candidate, Condition, Throttle
from fbsessiond.handler import Delivery, Done, Handler, Outcome
from fbsessiond.journal.records import NotWanted, Wait, Wanted
from fbsessiond.message import Origin
from fbsessiond.route import Route
from fbsessiond.wanting import ask
from journal_parts import NOW, after


class Idle(Handler):
    """Do nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()


def route(name: str, **on: str) -> Route:
    """Return a handler's route."""
    return Route(name, Idle(), (Condition.model_validate(on),))


def test_ask() -> None:
    """What is wanted at once is due now; a clock runs from the arrival; what isn't wanted has its reason."""
    left = Candidate("agent1", "S1", "Chatting", "LeftChat", Origin.LIVE, dict)
    routes = [
        route("now", to="LeftChat"),
        route("later", **{"for": "5m"}),
        route("once", once_within="1h"),
        route("never", to="Completed"),
    ]
    throttle = Throttle("1/session/agent1/S1", timedelta(hours=1), is_last=False)
    assert ask(routes, left, NOW, after(2)) == (
        [Wanted("now", after(2)), Wanted("later", after(300), Wait.FOR), Wanted("once", after(2), throttle=throttle)],
        [NotWanted("never", "to: was LeftChat")],
    )

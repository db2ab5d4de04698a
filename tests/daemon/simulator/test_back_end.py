"""fbsessiond.simulator.back_end: operations take effect later, and notifications reach CometD."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from fbsessiond.chance import SeededChance
from fbsessiond.simulator.back_end import DESKTOP, BackEnd
from fbsessiond.simulator.bayeux import BayeuxServer, BayeuxSettings
from fbsessiond.simulator.effects import Order
from fbsessiond.simulator.faults import FaultKind, Faults, FaultTable
from fbsessiond.simulator.happening import Chronicle
from fbsessiond.simulator.notifications import CHANNEL
from fbsessiond.simulator.states import State
from fbsessiond.testing import VirtualClock, run_virtual
from simulator_parts import Floor


class Behind(Floor):
    """A platform with its back end, and what is published."""

    def behind(self, **faults: Any) -> BackEnd:
        """Return the back end, with faults that are on."""
        chronicle = Chronicle(VirtualClock())
        self.faults = Faults(FaultTable.model_validate(faults), SeededChance(1), chronicle)
        self.bayeux = BayeuxServer(BayeuxSettings(), VirtualClock(), SeededChance(1), chronicle, self.faults)
        delay = (timedelta(seconds=1), timedelta(seconds=3))
        return BackEnd(self.platform, self.bayeux, self.faults, SeededChance(1), delay)

    def ask(self, back_end: BackEnd, session: str, operation: str, **more: Any) -> object:
        """Ask for an operation."""
        return back_end.request("agent1", session, {"operationName": operation, **more})


def behind(test: Callable[[Behind, BackEnd], Coroutine[Any, Any, None]], **faults: Any) -> None:
    """Run a test on virtual time."""

    async def scenario() -> None:
        floor = Behind()
        await test(floor, floor.behind(**faults))

    run_virtual(scenario())


def test_an_operation_takes_effect_after_the_delay() -> None:
    """Its answer comes at once, its effect between one and three seconds later."""

    async def test(floor: Behind, back_end: BackEnd) -> None:
        session = floor.chatting()
        assert isinstance(floor.ask(back_end, session, "Leave"), Order)
        await asyncio.sleep(0.99)
        assert floor.platform.state("agent1", session) is State.CHATTING
        await asyncio.sleep(2.02)
        assert floor.platform.state("agent1", session) is State.LEFT_CHAT
        assert floor.bayeux.published == 1

    behind(test)


def test_one_sessions_operations_keep_their_order() -> None:
    """However their delays differ."""

    async def test(floor: Behind, back_end: BackEnd) -> None:
        session = floor.left()
        for number in range(50):
            floor.ask(back_end, session, "UpdateUserData", userData={"A": number})
        await asyncio.sleep(3)
        assert floor.platform.count(session, "UpdateUserData") == 50
        assert floor.platform.sessions("agent1")[0]["userData"]["A"] == 49

    behind(test)


def test_a_refusal_has_no_effect() -> None:
    """Nothing follows."""

    async def test(floor: Behind, back_end: BackEnd) -> None:
        assert not isinstance(floor.ask(back_end, floor.left(), "Leave"), Order)
        await asyncio.sleep(3)
        assert floor.bayeux.published == 0

    behind(test)


def test_an_operation_can_be_accepted_and_ignored() -> None:
    """A client's, not an agent's at the desk."""

    async def test(floor: Behind, back_end: BackEnd) -> None:
        session = floor.chatting()
        assert isinstance(floor.ask(back_end, session, "Leave"), Order)
        await asyncio.sleep(3)
        assert floor.platform.count(session, "Leave") == 0
        assert floor.faults.struck == {FaultKind.IGNORE: 1}
        back_end.request("agent1", session, {"operationName": "Leave"}, by=DESKTOP)
        await asyncio.sleep(3)
        assert floor.platform.count(session, "Leave") == 1

    behind(test, ignore={})


def test_a_notification_can_be_lost_or_doubled() -> None:
    """Each once, by their count."""

    async def test(floor: Behind, back_end: BackEnd) -> None:
        session = floor.platform.arrive()
        (invitation,) = floor.platform.invite("agent1", session)
        back_end.tell([invitation])
        assert floor.bayeux.published == 0
        back_end.tell([invitation])
        assert floor.bayeux.published == 2
        back_end.tell([invitation])
        assert floor.bayeux.published == 3

    behind(test, lose={"count": 1}, duplicate={"count": 1})


def test_notifications_come_on_the_documented_channel() -> None:
    """To the agent whom they are for."""

    async def test(floor: Behind, back_end: BackEnd) -> None:
        (reply,) = await floor.bayeux.answer("agent1", [{"channel": "/meta/handshake"}])
        about = {"clientId": reply["clientId"], "subscription": CHANNEL}
        await floor.bayeux.answer("agent1", [{"channel": "/meta/subscribe", **about}])
        session = floor.platform.arrive()
        back_end.tell(floor.platform.invite("agent1", session))
        back_end.tell(floor.platform.invite("agent2", session))
        answer = await floor.bayeux.answer("agent1", [{"channel": "/meta/connect", **about}])
        assert [each["channel"] for each in answer] == [CHANNEL, "/meta/connect"]

    behind(test)

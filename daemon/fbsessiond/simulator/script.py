"""Lets customers come and agents act, as the scenario has it."""

import asyncio
import math
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

from fbsessiond.chance import Chance, choose, happens
from fbsessiond.simulator.back_end import DESKTOP, BackEnd
from fbsessiond.simulator.customers import ANSWERS, REMARKS
from fbsessiond.simulator.happening import Chronicle, Happening, What
from fbsessiond.simulator.platform import Platform
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.states import State

OFFERS = 3
"""How often an interaction is offered until its customer gives up."""


class Script:
    """The people of a scenario. Times run on the running event loop's clock."""

    def __init__(
        self, scenario: Scenario, platform: Platform, back_end: BackEnd, chance: Chance, chronicle: Chronicle
    ) -> None:
        self._scenario = scenario
        self._platform = platform
        self._back_end = back_end
        self._chance = chance
        self._tasks: asyncio.TaskGroup | None = None
        chronicle.listen(self._hear)

    async def run(self) -> None:
        """Let customers arrive until the scenario's duration is over; without one, until cancelled."""
        duration = self._scenario.duration
        with suppress(TimeoutError):
            async with asyncio.timeout(duration.total_seconds() if duration else None):
                await self._live()

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._arrivals(self._scenario.customers.per_minute)
        finally:
            self._tasks = None

    async def _arrivals(self, per_minute: float) -> NoReturn:
        while True:
            await asyncio.sleep(self._chance.between(0.5, 1.5) * 60 / per_minute if per_minute else math.inf)
            self._platform.arrive()

    def _hear(self, happening: Happening) -> None:
        """Act on what concerns somebody: whoever caused it, a client's Transfer too."""
        match happening:
            case Happening(what=What.WAITING, session=str(session)):
                self._begin(self._offer(session))
            case Happening(what=What.INVITED, agent=str(agent), session=str(session)):
                self._begin(self._attend(agent, session))
            case _:
                pass

    def _begin(self, act: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            act.close()
        else:
            self._tasks.create_task(act)

    async def _offer(self, session: str) -> None:
        """Offer a waiting interaction to the agent who has least to do."""
        await self._pause(self._scenario.customers.queue)
        offers = self._platform.waiting(session)
        if offers is None:
            return
        if offers >= OFFERS:
            self._platform.abandon(session)
            return
        agent = min(self._platform.agents, key=lambda agent: len(self._platform.open_sessions(agent)))
        self._back_end.tell(self._platform.invite(agent, session))

    async def _attend(self, agent: str, session: str) -> None:
        """Be the agent, from an invitation to the end of the session."""
        behaviour = self._scenario.agents
        await self._pause(behaviour.answer)
        mood = self._chance.between(0, 1)
        if mood < behaviour.accept:
            self._ask(agent, session, "Accept", nickname=agent.capitalize())
            await self._chat(agent, session)
            await self._end(agent, session)
        elif mood < behaviour.accept + behaviour.reject:
            self._ask(agent, session, "Reject")
        else:
            await asyncio.sleep(behaviour.ring.total_seconds())
            self._back_end.tell(self._platform.revoke(agent, session))

    async def _chat(self, agent: str, session: str) -> None:
        """Let customer and agent write in turn."""
        behaviour = self._scenario.customers
        left = self._between(behaviour.chat)
        while left > (pause := self._between(behaviour.writes_every)):
            await asyncio.sleep(pause / 2)
            self._ask(agent, session, "SendMessage", text=choose(self._chance, ANSWERS))
            await asyncio.sleep(pause / 2)
            self._back_end.tell(self._platform.customer_writes(session, choose(self._chance, REMARKS)))
            left -= pause
        await asyncio.sleep(left)
        if happens(self._chance, behaviour.leaves):
            self._back_end.tell(self._platform.customer_leaves(session))

    async def _end(self, agent: str, session: str) -> None:
        behaviour = self._scenario.agents
        if happens(self._chance, behaviour.disposition):
            self._ask(agent, session, "SetDisposition", disposition="resolved")
        if happens(self._chance, behaviour.complete_at_once):
            self._ask(agent, session, "Complete")
            return
        self._ask(agent, session, "Leave")
        if happens(self._chance, behaviour.wrap_up):
            await self._pause(behaviour.wrap_up_after)
            self._ask(agent, session, "Complete")

    def _ask(self, agent: str, session: str, operation: str, **parameters: str) -> None:
        """Do something at the desk, if the session is still there: somebody else may have ended it."""
        state = self._platform.state(agent, session)
        if state in (State.INVITED, State.CHATTING, State.LEFT_CHAT):
            self._back_end.request(agent, session, {"operationName": operation, **parameters}, by=DESKTOP)

    async def _pause(self, between: tuple[timedelta, timedelta]) -> None:
        await asyncio.sleep(self._between(between))

    def _between(self, between: tuple[timedelta, timedelta]) -> float:
        return self._chance.between(between[0].total_seconds(), between[1].total_seconds())

"""The servers behind GWS: they carry out what it took, a little later, and what they say reaches CometD.

One session's operations take effect in the order in which they were asked for.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from fbsessiond.chance import Chance
from fbsessiond.simulator.bayeux import BayeuxServer
from fbsessiond.simulator.effects import Order
from fbsessiond.simulator.faults import FaultKind, Faults
from fbsessiond.simulator.notifications import CHANNEL, Notification
from fbsessiond.simulator.operations import Parameters, Refusal
from fbsessiond.simulator.platform import Platform

HTTP = "http"
DESKTOP = "desktop"
"""Who asks for an operation: a client, or an agent of the scenario."""


class BackEnd:
    """Orders on their way, and notifications on theirs. Times run on the running event loop's clock."""

    def __init__(
        self,
        platform: Platform,
        bayeux: BayeuxServer,
        faults: Faults,
        chance: Chance,
        delay: tuple[timedelta, timedelta],
    ) -> None:
        self._platform = platform
        self._bayeux = bayeux
        self._faults = faults
        self._chance = chance
        self._least, self._most = (bound.total_seconds() for bound in delay)
        self._orders: defaultdict[str, deque[Order]] = defaultdict(deque)

    def request(self, agent: str, session: str, parameters: Parameters, *, by: str = HTTP) -> Order | Refusal:
        """Ask for an operation: its effect, if it is taken, and what that tells come after the delay."""
        outcome = self._platform.request(agent, session, parameters, by=by)
        if isinstance(outcome, Order):
            ignored = by == HTTP and self._faults.strikes(
                FaultKind.IGNORE, agent=agent, session=session, operation=outcome.operation
            )
            if not ignored:
                self._orders[session].append(outcome)
                loop = asyncio.get_running_loop()
                loop.call_later(self._chance.between(self._least, self._most), self._carry_out, session)
        return outcome

    def tell(self, notifications: Iterable[Notification]) -> None:
        """Publish notifications, unless a fault has it otherwise."""
        for notification in notifications:
            about: dict[str, Any] = {"agent": notification.agent, "session": notification.session}
            if self._faults.strikes(FaultKind.LOSE, **about):
                continue
            times = 2 if self._faults.strikes(FaultKind.DUPLICATE, **about) else 1
            for _ in range(times):
                self._bayeux.publish(notification.agent, CHANNEL, notification.data)

    def _carry_out(self, session: str) -> None:
        orders = self._orders[session]
        order = orders.popleft()
        if not orders:
            del self._orders[session]
        self.tell(self._platform.carry_out(order))

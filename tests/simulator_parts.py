"""Parts of the simulator for its tests: a platform whose happenings are kept, a session in each state, a caller."""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from fbsessiond.chance import SeededChance
from fbsessiond.gws.access import Basic
from fbsessiond.message import Message
from fbsessiond.simulator.customers import Customer
from fbsessiond.simulator.effects import Order, Told
from fbsessiond.simulator.exchange import Request, Response
from fbsessiond.simulator.happening import Chronicle, Happening, What
from fbsessiond.simulator.notifications import CHANNEL
from fbsessiond.simulator.platform import Platform
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual

Json: TypeAlias = dict[str, Any]
CallerTest: TypeAlias = Callable[["Caller"], Coroutine[Any, Any, None]]

NOTIFICATIONS = "/api/v2/notifications"
SESSIONS = "/api/v2/me/facebooksessions"

ADA = Customer("Ada", "Quill", "Where is my parcel?")


@dataclass
class HandClock:
    """A clock that a test sets."""

    at: datetime = EPOCH
    seconds: float = 0.0

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.at + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Return the seconds that were set."""
        return self.seconds

    def stepped(self) -> timedelta:
        """Nobody sets it."""
        return timedelta()


@dataclass
class Floor:
    """A platform with two agents, and all that happened on it."""

    agents: tuple[str, ...] = ("agent1", "agent2")
    happenings: list[Happening] = field(default_factory=list[Happening])
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        chronicle = Chronicle(self.clock)
        chronicle.listen(self.happenings.append)
        self.platform = Platform(self.agents, self.clock, SeededChance(1), chronicle)

    def invited(self, agent: str = "agent1") -> str:
        """Return the id of a session that an agent is invited to."""
        session = self.platform.arrive(ADA)
        self.platform.invite(agent, session)
        return session

    def chatting(self, *agents: str) -> str:
        """Return the id of a session that agents chat in; several are in conference."""
        first, *others = agents or ("agent1",)
        session = self.invited(first)
        self.do(session, "Accept", first, nickname="First")
        for other in others:
            self.do(session, "Consult", first, targetUri=f"/users/{self.platform.user_id(other)}")
            self.do(session, "Accept", other, nickname="Other")
        return session

    def left(self) -> str:
        """Return the id of a session that agent1 left."""
        session = self.chatting()
        self.do(session, "Leave")
        return session

    def order(self, session: str, operation: str, agent: str = "agent1", **parameters: Any) -> Order:
        """Ask for an operation that is taken."""
        order = self.platform.request(agent, session, {"operationName": operation, **parameters})
        assert isinstance(order, Order), order
        return order

    def do(self, session: str, operation: str, agent: str = "agent1", **parameters: Any) -> Told:
        """Ask for an operation, and carry it out."""
        return self.platform.carry_out(self.order(session, operation, agent, **parameters))

    def heard(self, what: What) -> list[Happening]:
        """Return the happenings of a kind."""
        return [happening for happening in self.happenings if happening.what is what]


def as_message(data: Json) -> Message:
    """Return a notification as it would arrive."""
    raw = msgspec.json.encode({"channel": CHANNEL, "data": data})
    return Message(raw, CHANNEL, msgspec.json.encode(data))


class Caller:
    """Somebody who calls a simulator as agent1, with credentials and without a cookie unless told otherwise."""

    def __init__(self, scenario: Scenario) -> None:
        self.simulator = Simulator(scenario, clock=VirtualClock(), chance=SeededChance(1))
        self.platform = self.simulator.platform
        self.front = self.simulator.front
        self.happenings: list[Happening] = []
        self.simulator.chronicle.listen(self.happenings.append)
        self.headers = {"authorization": Basic("agent1", "simulated").authorization()}
        self.cookies: dict[str, str] = {}

    async def send(self, method: str, path: str, body: object = None, **query: str) -> Response:
        """Send a request that is answered."""
        response = await self.maybe(method, path, body, **query)
        assert response is not None
        return response

    async def maybe(self, method: str, path: str, body: object = None, **query: str) -> Response | None:
        """Send a request."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.front.answer(Request(method, path, query, self.headers, self.cookies, raw))

    async def ask(self, method: str, path: str, body: object = None, **query: str) -> tuple[int, Any]:
        """Send a request, and return HTTP status and JSON of the answer."""
        response = await self.send(method, path, body, **query)
        return response.status, json.loads(response.body)

    async def operate(self, session: str, operation: str, **more: Any) -> tuple[int, Any]:
        """Ask for an operation."""
        return await self.ask("POST", f"{SESSIONS}/{session}", {"operationName": operation, **more})

    def invited(self, agent: str = "agent1") -> str:
        """Return the id of a session that an agent is invited to."""
        session = self.platform.arrive(ADA)
        self.platform.invite(agent, session)
        return session


def calling(test: CallerTest, **scenario: Any) -> None:
    """Run a test with a caller, on virtual time."""

    async def run() -> None:
        await test(Caller(Scenario.model_validate({"agents": {"count": 2}, **scenario})))

    run_virtual(run())

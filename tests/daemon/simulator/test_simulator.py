"""fbsessiond.simulator.simulator: the whole of it on a port, heard by the daemon's own CometD source."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.cometd.events import ConnectionEvent, Handshaken, Lost
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.errors import RefusedError
from fbsessiond.gws.access import Access, Basic, Bearer, Credentials
from fbsessiond.message import Message
from fbsessiond.notification import MessagesNotification, SessionNotification, read
from fbsessiond.simulator.exchange import Request
from fbsessiond.simulator.happening import What
from fbsessiond.simulator.http_sessions import token_of
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import EPOCH, VirtualClock
from simulator_parts import NOTIFICATIONS, SESSIONS, Caller, calling
from virtual_network import run_networked

BUSY: dict[str, Any] = {
    "duration": "40s",
    "customers": {"per_minute": 40, "chat": ["1s", "4s"], "writes_every": ["3s", "3s"]},
    "agents": {
        "complete_at_once": 0.3,
        "accept": 0.5,
        "reject": 0.25,
        "answer": ["1s", "1s"],
        "ring": "2s",
        "wrap_up_after": ["1s", "1s"],
    },
}
"""Much in little time: each pause costs some on sockets."""

SHORTER: dict[str, Any] = {**BUSY, "duration": "25s"}


class Daemon:
    """What the daemon has of one agent: a source, and what came from it."""

    def __init__(self, simulator: Simulator, credentials: Credentials) -> None:
        self.access = Access(credentials)
        self.settings = CometdSettings(
            "agent1", f"{simulator.url}/api/v2/notifications", sign_in_url=f"{simulator.url}/api/v2/me"
        )
        self.messages: list[Message] = []
        self.events: list[ConnectionEvent] = []

    async def run(self) -> None:
        """Take batches."""
        source = CometdSource(
            self.settings, self.access, clock=VirtualClock(), chance=SeededChance(1), observe=self.events.append
        )
        async with self.access, aclosing(aiter(source)) as batches:
            async for batch in batches:
                self.messages += batch.messages


@asynccontextmanager
async def daemon(
    credentials: Credentials | None = None, **tables: Any
) -> AsyncGenerator[tuple[Simulator, Daemon, asyncio.Task[None]]]:
    """Serve a scenario, and run the daemon's part against it."""
    clock = VirtualClock()
    async with simulating(Scenario.model_validate(tables), clock=clock, chance=SeededChance(1)) as simulator:
        watching = Daemon(simulator, credentials or Basic("agent1", "simulated"))
        task = asyncio.create_task(watching.run())
        await asyncio.sleep(1)
        try:
            yield simulator, watching, task
        finally:
            task.cancel()
            await asyncio.wait([task])


def states(messages: list[Message]) -> dict[str, list[str]]:
    """Return each session's states, in order, as the daemon reads them; each message has to be understood."""
    found: dict[str, list[str]] = {}
    for message in messages:
        (notification,) = read(message)
        assert isinstance(notification, SessionNotification | MessagesNotification)
        if isinstance(notification, SessionNotification) and notification.facebooksession:
            known = found.setdefault(notification.facebooksession.id, [])
            state = notification.facebooksession.state or ""
            if known[-1:] != [state]:
                known.append(state)
    return found


STEPS = {
    ("Invited", "Chatting"),
    ("Invited", "Completed"),
    ("Invited", "Revoked"),
    ("Chatting", "LeftChat"),
    ("Chatting", "Completed"),
    ("LeftChat", "Completed"),
    ("Completed", "Invited"),
    ("Revoked", "Invited"),
}
"""What may follow what; an interaction that is offered anew has the same id."""


def test_sessions_live_as_the_daemon_sees_them() -> None:
    """One agent's sessions arrive complete, are all understood, and change as documented."""

    async def scenario() -> None:
        async with daemon(**BUSY) as (simulator, watching, _):
            await simulator.script.run()
            await asyncio.sleep(1)
            seen = states(watching.messages)
            assert {step for life in seen.values() for step in itertools.pairwise(life)} == STEPS
            assert {life[0] for life in seen.values()} == {"Invited"}
            acknowledged = [sent.message["data"] for sent in simulator.bayeux.acknowledged]
            assert len(acknowledged) == len(watching.messages) > 50
            assert not [event for event in watching.events if isinstance(event, Lost)]

    run_networked(scenario())


@pytest.mark.parametrize(
    "faults",
    [
        {"drop": {"probability": 0.3}},
        {"cut": {"probability": 0.3}},
        {"drop-request": {"probability": 0.3}},
        {"slow": {"probability": 0.3}},
        {"5xx": {"probability": 0.3}},
    ],
    ids=lambda faults: next(iter(faults)),
)
def test_no_fault_on_the_way_costs_a_notification(faults: dict[str, Any]) -> None:
    """With acknowledgements each notification arrives, and none of them twice in one's own memory of it."""

    async def scenario() -> None:
        async with daemon(**SHORTER) as (simulator, watching, _):
            await simulator.front.answer(_switch(faults))
            await simulator.script.run()
            await simulator.front.answer(_switch(dict.fromkeys(faults)))
            await asyncio.sleep(10)
            assert simulator.faults.struck
            assert len([event for event in watching.events if isinstance(event, Handshaken)]) == 1
            acknowledged = {sent.number for sent in simulator.bayeux.acknowledged}
            assert len(acknowledged) > 20
            (client,) = simulator.bayeux.clients.values()
            assert client.queued == 0
            assert len(watching.messages) >= len(acknowledged)
            assert states(watching.messages)

    run_networked(scenario())


@pytest.mark.parametrize("fault", ["402", "403"])
def test_the_daemon_recovers_from_a_lost_session(fault: str) -> None:
    """It shakes hands anew, and hears what comes then."""

    async def scenario() -> None:
        async with daemon(customers={"per_minute": 0}) as (simulator, watching, _):
            await simulator.front.answer(_switch({fault: {"count": 1}}))
            await asyncio.sleep(60)
            shaken = [event for event in watching.events if isinstance(event, Handshaken)]
            assert len(shaken) == 2
            session = simulator.platform.arrive()
            simulator.back_end.tell(simulator.platform.invite("agent1", session))
            await asyncio.sleep(1)
            assert states(watching.messages) == {session: ["Invited"]}

    run_networked(scenario())


def test_a_restart_is_told_and_forgets_who_was_connected() -> None:
    """CometD's clients and HTTP sessions are gone, a connect that is held learns of it, and the chats go on."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        response = await caller.send("POST", NOTIFICATIONS, [{"channel": "/meta/handshake"}])
        client = json.loads(response.body)[0]["clientId"]
        caller.headers, caller.cookies = {}, {"JSESSIONID": response.headers["Set-Cookie"][11:43]}
        connect = [{"channel": "/meta/connect", "clientId": client}]
        await caller.send("POST", NOTIFICATIONS, connect)
        held = asyncio.create_task(caller.ask("POST", NOTIFICATIONS, connect))
        await asyncio.sleep(5)
        caller.simulator.restart()
        assert (await held)[1][0]["error"] == "402::Unknown client"
        assert asyncio.get_running_loop().time() == 5
        assert (await caller.send("GET", SESSIONS)).status == 403
        assert [(each.what, each.details) for each in caller.happenings[-2:]] == [
            (What.FAULT, {"kind": "restart"}),
            (What.GONE, {"because": "the server restarts"}),
        ]
        assert [each.connected_at for each in caller.simulator.bayeux.gone] == [EPOCH]
        assert caller.platform.state("agent1", session) == "Invited"

    calling(test)


def test_the_daemon_recovers_from_a_restart() -> None:
    """It signs in and shakes hands anew, and hears what comes then."""

    async def scenario() -> None:
        async with daemon(customers={"per_minute": 0}, gws={"csrf": True}) as (simulator, watching, _):
            simulator.restart()
            await asyncio.sleep(60)
            assert len([event for event in watching.events if isinstance(event, Handshaken)]) == 2
            session = simulator.platform.arrive()
            simulator.back_end.tell(simulator.platform.invite("agent1", session))
            await asyncio.sleep(1)
            assert states(watching.messages) == {session: ["Invited"]}

    run_networked(scenario())


@pytest.mark.parametrize("credentials", [Basic("agent1", "simulated"), Bearer(token_of("agent1"))])
def test_the_daemon_signs_in_and_learns_the_csrf_token(credentials: Credentials) -> None:
    """By password or token, where POSTs need what the GET before brought."""

    async def scenario() -> None:
        async with daemon(credentials, customers={"per_minute": 0}, gws={"csrf": True}) as (simulator, watching, _):
            session = simulator.platform.arrive()
            simulator.back_end.tell(simulator.platform.invite("agent1", session))
            await asyncio.sleep(1)
            assert states(watching.messages) == {session: ["Invited"]}

    run_networked(scenario())


def test_wrong_credentials_end_the_daemons_source() -> None:
    """They are refused, and not tried again."""

    async def scenario() -> None:
        async with daemon(Basic("agent1", "wrong"), customers={"per_minute": 0}) as (_, __, task):
            assert isinstance(task.exception(), RefusedError)

    run_networked(scenario())


def test_its_documents_say_where_it_listens() -> None:
    """The port that was free is part of each address."""

    async def scenario() -> None:
        async with daemon(customers={"per_minute": 0}) as (simulator, _, __):
            simulator.platform.invite("agent1", simulator.platform.arrive())
            assert simulator.url.startswith("http://127.0.0.1:")
            (session,) = simulator.platform.sessions("agent1")
            assert session["uri"].startswith(f"{simulator.url}/api/v2/facebooksessions/")

    run_networked(scenario())


def test_ipv6() -> None:
    """An address with colons stands in brackets."""

    async def scenario() -> None:
        scenario = Scenario(duration=None)
        async with simulating(scenario, clock=VirtualClock(), chance=SeededChance(1), host="::1") as simulator:
            assert simulator.url.startswith("http://[::1]:")

    run_networked(scenario())


def test_a_port_in_use_is_an_error() -> None:
    """Nothing is left open."""

    async def scenario() -> None:
        async with daemon(customers={"per_minute": 0}) as (simulator, _, __):
            port = int(simulator.url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"):
                async with simulating(Scenario(), clock=VirtualClock(), chance=SeededChance(1), port=port):
                    pass

    run_networked(scenario())


def _switch(faults: dict[str, Any]) -> Request:
    return Request("POST", "/simulator/faults", body=msgspec.json.encode(faults))

"""fbsessiond.simulator.bayeux: a CometD server's side of Bayeux, on virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.simulator import bayeux
from fbsessiond.simulator.bayeux import MISLEADING, BayeuxServer, BayeuxSettings, Superseded
from fbsessiond.simulator.bayeux_client import Client, Json
from fbsessiond.simulator.faults import Faults, FaultTable
from fbsessiond.simulator.happening import Chronicle, Happening, What
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual

CHANNEL = "/v2/me/facebooksession"


class Peer:
    """A client of a server, and what the server told."""

    def __init__(self, settings: BayeuxSettings, keep: int = 100) -> None:
        self.heard: list[Happening] = []
        clock = VirtualClock()
        chronicle = Chronicle(clock)
        chronicle.listen(self.heard.append)
        self.faults = Faults(FaultTable(), SeededChance(1), chronicle)
        self.server = BayeuxServer(settings, clock, SeededChance(1), chronicle, self.faults, keep=keep)
        self.id = ""

    @property
    def client(self) -> Client:
        """Its session, as the server keeps it."""
        return self.server.clients[self.id]

    async def say(self, channel: str, *, agent: str = "agent1", **more: Any) -> list[Json]:
        """Send one message, and return what comes back."""
        return await self.server.answer(agent, [{"channel": channel, "id": "1", "clientId": self.id, **more}])

    async def begin(self, *channels: str, acknowledge: bool = True) -> "Peer":
        """Shake hands, subscribe, and connect for the first time."""
        (reply,) = await self.say("/meta/handshake", ext={"ack": acknowledge})
        self.id = reply["clientId"]
        for channel in channels or ("/v2/me/*",):
            await self.say("/meta/subscribe", subscription=channel)
        await self.connect(-1, advice={"timeout": 0})
        return self

    async def connect(self, number: int | None = None, **more: Any) -> list[Json]:
        """Connect, and acknowledge a batch."""
        return await self.say("/meta/connect", **({} if number is None else {"ext": {"ack": number}}), **more)

    def publish(self, *numbers: int, agent: str = "agent1") -> None:
        """Publish numbered notifications."""
        for number in numbers:
            self.server.publish(agent, CHANNEL, {"number": number})

    def switch(self, **faults: Any) -> None:
        """Switch faults."""
        self.faults.switch(FaultTable.model_validate(faults))

    def struck(self) -> list[tuple[str | None, str]]:
        """Return which faults struck whom."""
        return [(each.agent, each.details["kind"]) for each in self.heard if each.what is What.FAULT]

    def gone(self) -> list[str]:
        """Return why clients are gone."""
        return [each.details["because"] for each in self.heard if each.what is What.GONE]


def conversing(test: Callable[[Peer], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """Run a test on virtual time, with a client that has connected once."""
    acknowledge = settings.pop("extension", True)

    async def scenario() -> None:
        await test(await Peer(BayeuxSettings(**settings)).begin(acknowledge=acknowledge))

    run_virtual(scenario())


def numbers(answer: list[Json]) -> list[int]:
    """Return the numbers of the notifications in an answer."""
    return [message["data"]["number"] for message in answer if "data" in message]


def at(seconds: float) -> datetime:
    """Return the time of day so long after the test began."""
    return EPOCH + timedelta(seconds=seconds)


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


def test_handshake() -> None:
    """The reply has what a session needs, the server's times, and the extension, if both know it."""

    async def scenario() -> None:
        peer = Peer(BayeuxSettings(hold_seconds=20, interval_seconds=1))
        (reply,) = await peer.say("/meta/handshake", ext={"ack": True})
        assert len(reply.pop("clientId")) == 26
        assert reply == {
            "channel": "/meta/handshake",
            "id": "1",
            "successful": True,
            "version": "1.0",
            "supportedConnectionTypes": ["long-polling"],
            "advice": {"reconnect": "retry", "interval": 1000, "timeout": 20000},
            "ext": {"ack": True},
        }
        (reply,) = await peer.server.answer("agent1", [{"channel": "/meta/handshake"}])
        assert "ext" not in reply
        assert "id" not in reply

    run_virtual(scenario())


def test_handshake_with_a_server_without_the_extension() -> None:
    """It says nothing of it."""

    async def scenario() -> None:
        peer = Peer(BayeuxSettings(acknowledge=False))
        (reply,) = await peer.say("/meta/handshake", ext={"ack": True})
        assert "ext" not in reply

    run_virtual(scenario())


def test_the_first_connect_is_answered_at_once_and_the_next_is_held() -> None:
    """A connect with nothing to bring takes the server's hold, or what the client asks for if that is shorter."""

    async def test(peer: Peer) -> None:
        assert now() == 0
        assert await peer.connect(1) == [{"channel": "/meta/connect", "id": "1", "successful": True, "ext": {"ack": 2}}]
        assert now() == 30
        (reply,) = await peer.connect(2, advice={"timeout": 2000})
        assert now() == 32
        assert reply["advice"] == {"reconnect": "retry", "interval": 0, "timeout": 30000}
        await peer.connect(3, advice={"timeout": 99000})
        assert now() == 62

    conversing(test)


def test_a_notification_ends_the_hold() -> None:
    """It comes before the reply, at once."""

    async def test(peer: Peer) -> None:
        asyncio.get_running_loop().call_later(4, peer.publish, 1)
        answer = await peer.connect(1)
        assert now() == 4
        assert answer[0] == {"channel": CHANNEL, "data": {"number": 1}}
        assert answer[1]["channel"] == "/meta/connect"

    conversing(test)


def test_a_connect_among_others_is_not_held() -> None:
    """Only one that is alone in its request waits."""

    async def test(peer: Peer) -> None:
        connect = {"channel": "/meta/connect", "clientId": peer.id}
        answer = await peer.server.answer("agent1", [connect, {**connect, "channel": "/meta/unsubscribe"}])
        assert [reply["channel"] for reply in answer] == ["/meta/connect", "/meta/unsubscribe"]
        assert now() == 0

    conversing(test)


def test_what_is_not_acknowledged_is_sent_again() -> None:
    """A connect that names the batch before the lost one brings both; what it names is on the client's disk."""

    async def test(peer: Peer) -> None:
        peer.publish(1)
        assert numbers(await peer.connect(1)) == [1]
        peer.publish(2)
        assert numbers(await peer.connect(1)) == [1, 2]
        assert numbers(await peer.connect(2)) == [2]
        assert [sent.message["data"]["number"] for sent in peer.server.acknowledged] == [1]
        peer.publish(3)
        assert numbers(await peer.connect(4)) == [3]
        await peer.connect(5)
        assert [(sent.number, sent.agent, sent.client) for sent in peer.server.acknowledged] == [
            (number, "agent1", peer.id) for number in (1, 2, 3)
        ]

    conversing(test)


def test_only_so_much_is_remembered_of_what_was_acknowledged() -> None:
    """The oldest goes."""

    async def scenario() -> None:
        peer = await Peer(BayeuxSettings(), keep=2).begin()
        peer.publish(1, 2, 3)
        await peer.connect(1)
        await peer.connect(2)
        assert [sent.number for sent in peer.server.acknowledged] == [2, 3]

    run_virtual(scenario())


def test_without_acknowledgements_what_is_sent_is_gone() -> None:
    """Any reply brings what waits, and it comes once."""

    async def test(peer: Peer) -> None:
        peer.publish(1)
        assert numbers(await peer.say("/meta/subscribe", subscription="/x")) == [1]
        peer.publish(2)
        assert numbers(await peer.connect()) == [2]
        assert numbers(await peer.connect()) == []
        assert not peer.server.acknowledged

    conversing(test, extension=False)


def test_with_acknowledgements_only_a_connect_brings_notifications() -> None:
    """So that each belongs to a batch."""

    async def test(peer: Peer) -> None:
        peer.publish(1)
        assert numbers(await peer.say("/meta/subscribe", subscription="/x")) == []
        assert numbers(await peer.connect(1)) == [1]

    conversing(test)


def test_subscriptions() -> None:
    """A text or a list of texts; none, a relative one and /meta/ are refused."""

    async def test(peer: Peer) -> None:
        (reply,) = await peer.say("/meta/subscribe", subscription=["/a/*", "/v2/me/facebooksessions"])
        assert reply["successful"] is True
        assert reply["subscription"] == ["/a/*", "/v2/me/facebooksessions"]
        for subscription, error in [
            (None, "403::subscription_missing"),
            ("a", "403::subscribe_denied"),
            ("/meta/connect", "403::subscribe_denied"),
        ]:
            (reply,) = await peer.say("/meta/subscribe", subscription=subscription)
            assert (reply["successful"], reply["error"]) == (False, error)
        assert peer.server.clients[peer.id].subscriptions == {"/v2/me/*", "/a/*", "/v2/me/facebooksessions"}
        assert [each.details["channels"] for each in peer.heard if each.what is What.SUBSCRIBED][1:] == [
            ["/a/*", "/v2/me/facebooksessions"]
        ]

    conversing(test)


def test_a_notification_comes_once_however_often_it_is_wanted() -> None:
    """Wildcard and channel together bring it once; what is unsubscribed doesn't come."""

    async def test(peer: Peer) -> None:
        await peer.say("/meta/subscribe", subscription=CHANNEL)
        assert peer.server.publish("agent1", CHANNEL, {"number": 1}) == 1
        assert numbers(await peer.connect(1)) == [1]
        (reply,) = await peer.say("/meta/unsubscribe", subscription=[CHANNEL, "/v2/me/*"])
        assert reply["successful"] is True
        assert peer.server.publish("agent1", CHANNEL, {"number": 2}) == 0

    conversing(test)


def test_each_agent_has_notifications_of_his_own() -> None:
    """Another agent's don't come, and another agent can't use the session."""

    async def test(peer: Peer) -> None:
        assert peer.server.publish("agent2", CHANNEL, {}) == 0
        (reply,) = await peer.say("/meta/connect", agent="agent2")
        assert reply["error"] == "402::Unknown client"
        assert peer.server.published == 1

    conversing(test)


def test_a_silent_client_is_forgotten_after_max_interval() -> None:
    """Then it is unknown, and what waited for it is lost."""

    async def test(peer: Peer) -> None:
        await asyncio.sleep(9.9)
        await peer.connect(1, advice={"timeout": 0})
        peer.publish(1)
        await asyncio.sleep(10.1)
        assert peer.gone() == ["not heard of for maxInterval"]
        assert await peer.connect(2) == [
            {
                "channel": "/meta/connect",
                "id": "1",
                "successful": False,
                "error": "402::Unknown client",
                "advice": {"reconnect": "handshake", "interval": 0},
            }
        ]

    conversing(test)


def test_a_client_that_is_held_is_not_forgotten() -> None:
    """However long the hold is; the time runs from its answer."""

    async def test(peer: Peer) -> None:
        await peer.connect(1)
        assert now() == 60
        await asyncio.sleep(9)
        assert not peer.gone()

    conversing(test, hold_seconds=60)


def test_a_client_that_hangs_up_is_forgotten_as_a_silent_one() -> None:
    """The time runs from when it hung up; until then its next connect goes on where it was."""

    async def test(peer: Peer) -> None:
        hanging = asyncio.create_task(peer.connect(1))
        await asyncio.sleep(20)
        hanging.cancel()
        await asyncio.sleep(9)
        peer.publish(1)
        assert numbers(await peer.connect(1)) == [1]
        await asyncio.sleep(11)
        assert peer.gone() == ["not heard of for maxInterval"]

    conversing(test)


def test_a_second_connect_supersedes_the_one_that_is_held() -> None:
    """The first ends, the second is held, and the client is not forgotten meanwhile."""

    async def test(peer: Peer) -> None:
        first = asyncio.create_task(peer.connect(1))
        await asyncio.sleep(5)
        second = asyncio.create_task(peer.connect(1))
        with pytest.raises(Superseded):
            await first
        await asyncio.sleep(20)
        peer.publish(1)
        assert numbers(await second) == [1]
        assert not peer.gone()

    conversing(test)


def test_disconnect() -> None:
    """The session is over at once; a connect that is held learns of it."""

    async def test(peer: Peer) -> None:
        held = asyncio.create_task(peer.connect(1))
        await asyncio.sleep(1)
        (reply,) = await peer.say("/meta/disconnect")
        assert reply["successful"] is True
        assert (await held)[0]["error"] == "402::Unknown client"
        assert peer.gone() == ["disconnected"]
        await asyncio.sleep(60)
        assert len(peer.gone()) == 1

    conversing(test)


def test_forgetting_what_is_not_there_is_nothing() -> None:
    """Nobody is told."""

    async def test(peer: Peer) -> None:
        peer.server.forget("never")
        assert not peer.gone()
        assert not peer.server.gone

    conversing(test)


def test_all_clients_can_be_forgotten_at_once() -> None:
    """Whichever agent's they are; a connect that is held learns of it."""

    async def test(peer: Peer) -> None:
        held = asyncio.create_task(peer.connect(1))
        await asyncio.sleep(1)
        await peer.say("/meta/handshake", agent="agent2")
        peer.server.forget_all("the server restarts")
        assert (await held)[0]["error"] == "402::Unknown client"
        assert now() == 1
        assert peer.gone() == ["the server restarts"] * 2
        assert [client.agent for client in peer.server.gone] == ["agent1", "agent2"]
        assert not peer.server.clients

    conversing(test)


def test_a_client_notes_when_it_was_answered() -> None:
    """Each handshake, confirmed subscription and successful connect, at the time of its answer."""

    async def test(peer: Peer) -> None:
        client = peer.client
        assert (client.handshaken_at, client.subscribed_at, client.connected_at) == (at(0), at(0), at(0))
        await asyncio.sleep(5)
        await peer.say("/meta/subscribe", subscription="/x")
        await peer.say("/meta/subscribe", subscription="x")
        await peer.connect(1)
        assert (client.handshaken_at, client.subscribed_at, client.connected_at) == (at(0), at(5), at(35))
        await asyncio.sleep(1)
        await peer.say("/meta/subscribe", subscription="x")
        await peer.say("/meta/unsubscribe", subscription="/x")
        assert (client.subscribed_at, client.connected_at) == (at(5), at(35))
        assert client.gone_at is None

    conversing(test)


def test_a_connect_that_gets_no_answer_is_not_noted() -> None:
    """One that hangs up, one that is superseded, and one of a client that is forgotten meanwhile."""

    async def test(peer: Peer) -> None:
        client = peer.client
        hanging = asyncio.create_task(peer.connect(1))
        await asyncio.sleep(3)
        hanging.cancel()
        superseded = asyncio.create_task(peer.connect(1))
        await asyncio.sleep(3)
        forgotten = asyncio.create_task(peer.connect(1))
        with pytest.raises(Superseded):
            await superseded
        await asyncio.sleep(3)
        peer.server.forget(peer.id)
        assert (await forgotten)[0]["successful"] is False
        assert client.connected_at == at(0)

    conversing(test)


def test_a_client_that_is_gone_can_be_looked_up() -> None:
    """When it was last answered, and when it was forgotten; the oldest goes when there are too many."""

    async def test(peer: Peer) -> None:
        await peer.connect(1)
        await asyncio.sleep(20)
        (client,) = peer.server.gone
        assert client.id == peer.id
        assert (client.connected_at, client.gone_at) == (at(30), at(40))
        for _ in range(3):
            await peer.begin()
            await peer.say("/meta/disconnect")
        assert [each.gone_at for each in peer.server.gone] == [at(50), at(50)]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bayeux, "GONE_KEPT", 2)
        conversing(test)


def test_fault_402_forgets_the_client() -> None:
    """Its connect is answered as an unknown client's, at once; other messages don't bring it about."""

    async def test(peer: Peer) -> None:
        peer.switch(**{"402": {"count": 1}})
        assert (await peer.say("/meta/subscribe", subscription="/x"))[0]["successful"] is True
        (reply,) = await peer.connect(1)
        assert reply["error"] == "402::Unknown client"
        assert reply["advice"]["reconnect"] == "handshake"
        assert now() == 0
        assert peer.gone() == ["a fault"]
        assert peer.struck() == [("agent1", "402")]

    conversing(test)


def test_fault_402_does_not_strike_whom_nobody_knows() -> None:
    """A client that is gone already costs it no strike."""

    async def test(peer: Peer) -> None:
        await peer.say("/meta/disconnect")
        peer.switch(**{"402": {"count": 1}})
        await peer.connect(1)
        assert not peer.struck()

    conversing(test)


def test_fault_refuse_subscription() -> None:
    """The reply is unsuccessful, what was subscribed to before stays, and the next one is confirmed."""

    async def test(peer: Peer) -> None:
        peer.switch(**{"refuse-subscription": {"count": 1}})
        await asyncio.sleep(1)
        assert await peer.say("/meta/subscribe", subscription="/x") == [
            {
                "channel": "/meta/subscribe",
                "id": "1",
                "successful": False,
                "error": "403::subscribe_denied",
                "subscription": "/x",
            }
        ]
        assert peer.client.subscriptions == {"/v2/me/*"}
        assert peer.client.subscribed_at == at(0)
        assert (await peer.say("/meta/subscribe", subscription="/x"))[0]["successful"] is True
        assert peer.struck() == [("agent1", "refuse-subscription")]

    conversing(test)


def test_fault_unsubscribe_leaves_a_client_connected_and_silent() -> None:
    """Connects go on succeeding, what waited still comes, and nothing new does until the client subscribes anew."""

    async def test(peer: Peer) -> None:
        peer.publish(1)
        peer.switch(unsubscribe={"count": 1})
        assert numbers(await peer.connect(1)) == [1]
        peer.publish(2)
        (reply,) = await peer.connect(2)
        assert reply["successful"] is True
        assert peer.client.connected_at == at(30)
        assert not peer.gone()
        assert peer.struck() == [("agent1", "unsubscribe")]
        await peer.say("/meta/subscribe", subscription="/v2/me/*")
        peer.publish(3)
        assert numbers(await peer.connect(3)) == [3]

    conversing(test)


def test_fault_unsubscribe_does_not_strike_who_has_no_subscription() -> None:
    """A first connect before any of them costs it no strike."""

    async def test(peer: Peer) -> None:
        await peer.say("/meta/unsubscribe", subscription="/v2/me/*")
        peer.switch(unsubscribe={"count": 1})
        await peer.connect(1)
        assert not peer.struck()

    conversing(test)


def test_a_client_for_which_too_much_waits_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on what a slow client costs."""
    monkeypatch.setattr(bayeux, "QUEUED_MESSAGES", 2)

    async def test(peer: Peer) -> None:
        peer.publish(1, 2)
        assert not peer.gone()
        peer.publish(3)
        assert peer.gone() == ["too many messages wait"]

    conversing(test)


def test_clients_publish_nothing() -> None:
    """GWS takes no messages on other channels."""

    async def test(peer: Peer) -> None:
        (reply,) = await peer.say("/v2/me/facebooksession", data={})
        assert (reply["successful"], reply["error"]) == (False, "403::publish_denied")

    conversing(test)


def test_fault_advice() -> None:
    """A connect succeeds, with advice that makes no sense then, and what it brings is there all the same."""

    async def test(peer: Peer) -> None:
        peer.switch(advice={"count": 1})
        peer.publish(1)
        *notifications, reply = await peer.connect(0)
        assert numbers(notifications) == [1]
        assert reply["successful"] is True
        assert reply["advice"] in MISLEADING
        peer.publish(2)
        assert "advice" not in (await peer.connect(1))[-1]

    conversing(test)

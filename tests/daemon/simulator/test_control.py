"""fbsessiond.simulator.control: what the simulator answers about itself."""

import asyncio

from simulator_parts import NOTIFICATIONS, Caller, calling


def test_faults_can_be_switched_while_it_runs() -> None:
    """Without signing in; the answer is what is on."""

    async def test(caller: Caller) -> None:
        caller.headers = {}
        status, body = await caller.ask("POST", "/simulator/faults", {"drop": {"probability": 0.5}, "slow": None})
        assert (status, body) == (200, {"on": {"drop": {"probability": 0.5, "left": None}}, "struck": {}})
        status, body = await caller.ask("POST", "/simulator/faults", {"drp": {}})
        assert status == 400
        assert "did you mean 'drop'?" in body["problems"][0]
        assert (await caller.ask("POST", "/simulator/faults", b"{"))[0] == 400
        assert (await caller.ask("GET", "/simulator/other"))[0] == 404

    calling(test)


def test_state() -> None:
    """Sessions by agent, effects with how often, clients, and what they acknowledged."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        _, (reply,) = await caller.ask("POST", NOTIFICATIONS, [{"channel": "/meta/handshake", "ext": {"ack": True}}])
        about = {"clientId": reply["clientId"], "ext": {"ack": 1}}
        await caller.send("POST", NOTIFICATIONS, [{"channel": "/meta/subscribe", "subscription": "/**", **about}])
        await caller.operate(session, "Accept", nickname="First")
        await asyncio.sleep(1)
        for _ in range(2):
            await caller.send("POST", NOTIFICATIONS, [{"channel": "/meta/connect", **about}])
        _, state = await caller.ask("GET", "/simulator/state")
        assert state["sessions"] == {"agent1": {session: "Chatting"}, "agent2": {}}
        accepted = {"agent": "agent1", "session": session, "operation": "Accept", "by": "http", "times": 1}
        assert state["effects"] == [accepted]
        assert state["clients"] == [{"agent": "agent1", "client": reply["clientId"], "queued": 0, "channels": ["/**"]}]
        assert state["published"] == 3
        assert [each["number"] for each in state["acknowledged"]] == [1, 2, 3]
        assert state["acknowledged"][0]["data"]["facebooksession"]["id"] == session
        assert state["faults"] == {"on": {}, "struck": {}}

    calling(test)

"""fbsessiond.simulator.script: customers who come and agents who act, on virtual time."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.simulator.happening import Happening, What
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator
from fbsessiond.testing import VirtualClock, run_virtual

ONE_ANSWER = {"accept": 1.0, "reject": 0.0, "complete_at_once": 0.0, "disposition": 0.0, "wrap_up": 0.0}


def happenings(seed: int = 1, **tables: Any) -> list[Happening]:
    """Let a scenario run for five minutes, unless it says how long, and return all that happened."""

    async def scenario() -> list[Happening]:
        found: list[Happening] = []
        chosen = Scenario.model_validate({"duration": "5m", **tables})
        simulator = Simulator(chosen, clock=VirtualClock(), chance=SeededChance(seed))
        simulator.chronicle.listen(found.append)
        await simulator.script.run()
        assert asyncio.get_running_loop().time() == pytest.approx((chosen.duration or timedelta()).total_seconds())
        return found

    return run_virtual(scenario())


def effects(found: list[Happening]) -> Counter[str]:
    """Return how often each operation took effect."""
    return Counter(each.details["operation"] for each in found if each.what is What.EFFECT)


def count(found: list[Happening], what: What) -> int:
    """Return how many happenings are of a kind."""
    return sum(each.what is what for each in found)


def test_customers_come_at_their_rate() -> None:
    """About as many as the scenario says."""
    found = happenings(customers={"per_minute": 30})
    arrivals = {each.session for each in found if each.what is What.WAITING}
    assert 130 < len(arrivals) < 170


def test_everything_happens() -> None:
    """In five minutes sessions are accepted, rejected, revoked, given a disposition, left and completed."""
    found = happenings(agents={"count": 3})
    assert {"Accept", "Reject", "SendMessage", "SetDisposition", "Leave", "Complete"} == effects(found).keys()
    assert count(found, What.REVOKED) > 0
    assert not count(found, What.REFUSED)


def test_the_same_seed_gives_the_same_again() -> None:
    """Another seed gives something else."""
    first, again, other = (happenings(seed, duration="1m") for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_agents_have_about_as_much_to_do() -> None:
    """An interaction is offered to whoever has least."""
    found = happenings(agents={"count": 3, "wrap_up": 1.0})
    offers = Counter(each.agent for each in found if each.what is What.INVITED)
    assert len(offers) == 3
    assert max(offers.values()) < 2 * min(offers.values())


def test_a_session_that_is_left_waits_for_somebody_else() -> None:
    """Without wrapping up it is never completed by the agent."""
    done = effects(happenings(agents=ONE_ANSWER))
    assert done["Leave"] > 0
    assert done["Complete"] == done["SetDisposition"] == 0


def test_agents_wrap_up_and_complete_as_the_scenario_has_it() -> None:
    """Each share at its full."""
    done = effects(happenings(agents={**ONE_ANSWER, "wrap_up": 1.0, "disposition": 1.0}))
    assert done["SetDisposition"] >= done["Leave"] > 0
    assert done["Complete"] > 0
    done = effects(happenings(agents={**ONE_ANSWER, "complete_at_once": 1.0}))
    assert done["Complete"] > 0
    assert done["Leave"] == 0


def test_customers_leave_as_the_scenario_has_it() -> None:
    """Never, or always before the agent does."""

    async def participants(leaves: float) -> set[str]:
        scenario = {"duration": "2m", "agents": ONE_ANSWER, "customers": {"leaves": leaves}}
        simulator = Simulator(Scenario.model_validate(scenario), clock=VirtualClock(), chance=SeededChance(1))
        await simulator.script.run()
        left = [each for each in simulator.platform.sessions("agent1") if each["state"] == "LeftChat"]
        return {participant["type"] for session in left for participant in session["participants"]}

    assert run_virtual(participants(0.0)) == {"Customer"}
    assert run_virtual(participants(1.0)) == set()


def test_a_customer_whom_nobody_answers_gives_up() -> None:
    """After three offers."""
    found = happenings(agents={"accept": 0.0, "reject": 0.5}, duration="5m", customers={"per_minute": 6})
    given_up = next(each.session for each in found if each.what is What.ABANDONED)
    offers = [each for each in found if each.what is What.INVITED and each.session == given_up]
    assert len(offers) == 3


def test_somebody_else_may_end_what_the_agent_does() -> None:
    """Where a client rejects, completes or transfers, the agents go on with what is there."""

    async def scenario() -> None:
        chosen = Scenario.model_validate(
            {"duration": "3m", "agents": {**ONE_ANSWER, "count": 2}, "customers": {"per_minute": 0}}
        )
        simulator = Simulator(chosen, clock=VirtualClock(), chance=SeededChance(1))
        found: list[Happening] = []
        simulator.chronicle.listen(found.append)
        running = asyncio.create_task(simulator.script.run())
        await asyncio.sleep(0)
        first, second = simulator.platform.arrive(), simulator.platform.arrive()

        async def accepted(session: str) -> str:
            while True:
                await asyncio.sleep(0.5)
                for agent in simulator.platform.agents:
                    if simulator.platform.state(agent, session) == "Chatting":
                        return agent

        agent = await accepted(first)
        simulator.back_end.request(agent, first, {"operationName": "Complete"})
        agent = await accepted(second)
        other = next(each for each in simulator.platform.agents if each != agent)
        request = {"operationName": "Transfer", "targetUri": f"/users/{other}"}
        simulator.back_end.request(agent, second, request)
        await running
        assert simulator.platform.state(agent, first) is None
        assert simulator.platform.state(other, second) == "LeftChat"
        assert not count(found, What.REFUSED)

    run_virtual(scenario())


def test_what_waits_is_offered_by_nobody_else() -> None:
    """An interaction that was abandoned, or taken, before its offer is let alone."""

    async def scenario() -> None:
        chosen = Scenario.model_validate({"duration": "5s", "customers": {"per_minute": 0}})
        simulator = Simulator(chosen, clock=VirtualClock(), chance=SeededChance(1))
        found: list[Happening] = []
        simulator.chronicle.listen(found.append)
        running = asyncio.create_task(simulator.script.run())
        await asyncio.sleep(0)
        simulator.platform.abandon(simulator.platform.arrive())
        await running
        assert not count(found, What.INVITED)

    run_virtual(scenario())


def test_nobody_acts_before_and_after_it_runs() -> None:
    """What a test does by hand stays as it is."""

    async def scenario() -> None:
        simulator = Simulator(Scenario(), clock=VirtualClock(), chance=SeededChance(1))
        session = simulator.platform.arrive()
        await asyncio.sleep(60)
        assert simulator.platform.waiting(session) == 0

    run_virtual(scenario())


def test_without_a_duration_it_runs_until_it_is_cancelled() -> None:
    """With all that goes on."""

    async def scenario() -> None:
        simulator = Simulator(Scenario(), clock=VirtualClock(), chance=SeededChance(1))
        running = asyncio.create_task(simulator.script.run())
        await asyncio.sleep(300)
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        assert len(asyncio.all_tasks()) == 1

    run_virtual(scenario())

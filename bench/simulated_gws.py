"""A simulated GWS for many agents, in a process of its own, which counts how they begin their sessions.

Orders on standard input, a JSON array a line; it answers each with a line. It listens on loopback.
"""

import asyncio
import json
import resource
import sys
import time  # noqa: TID251  what a benchmark is about
from collections import Counter
from pathlib import Path
from typing import Any

from fbsessiond.chance import SeededChance
from fbsessiond.clock import SystemClock
from fbsessiond.simulator.happening import Happening, What
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating

SAMPLE = json.loads((Path(__file__).parent.parent / "tests/fixtures/documented/leave-leftchat.json").read_bytes())


class Floor:
    """Answers orders."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._handshakes: list[float] = []
        self._subscriptions: list[float] = []
        self._at_a_time: Counter[str] = Counter()
        self._most_at_a_time = 0
        self._most_of_one = 0
        self._sent = 0
        simulator.chronicle.listen(self._hear)
        answer = simulator.front.answer

        async def counted(request: Any) -> Any:
            if b"/meta/handshake" not in request.body:
                return await answer(request)
            who = request.headers.get("authorization", "")
            self._at_a_time[who] += 1
            self._most_of_one = max(self._most_of_one, self._at_a_time[who])
            self._most_at_a_time = max(self._most_at_a_time, self._at_a_time.total())
            try:
                return await answer(request)
            finally:
                self._at_a_time[who] -= 1

        simulator.front.answer = counted  # type: ignore[method-assign]

    def handshakes(self) -> dict[str, Any]:
        """Return how sessions began since the start."""
        first = self._handshakes[0] if self._handshakes else 0.0
        seconds = Counter(int(at - first) for at in self._handshakes)
        return {
            "handshakes": len(self._handshakes),
            "subscriptions": len(self._subscriptions),
            "subscribed": sum(bool(client.subscriptions) for client in self._simulator.bayeux.clients.values()),
            "last_subscription": self._subscriptions[-1] if self._subscriptions else 0.0,
            "most_a_second": max(seconds.values(), default=0),
            "most_at_a_time": self._most_at_a_time,
            "most_of_one_agent": self._most_of_one,
        }

    def publish(self, agent: str, count: int, sessions: int = 1) -> dict[str, Any]:
        """Send an agent so many notifications at once, over so many sessions by turns, each with the time."""
        reached = 0
        for number in range(count):
            self._sent += 1
            session = f"0002{agent:_>12}{number % sessions:04}"
            state = "LeftChat" if self._sent % 2 else "Chatting"
            document = {**SAMPLE["data"]["facebooksession"], "id": session, "state": state}
            data = {**SAMPLE["data"], "facebooksession": document, "sent_at": time.monotonic()}
            reached += self._simulator.bayeux.publish(agent, SAMPLE["channel"], data)
        return {"reached": reached}

    def _hear(self, happening: Happening) -> None:
        if happening.what is What.HANDSHAKEN:
            self._handshakes.append(time.monotonic())
        elif happening.what is What.SUBSCRIBED:
            self._subscriptions.append(time.monotonic())


def _tell(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Serve until standard input ends."""
    agents, port = (int(text) for text in sys.argv[1:])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    scenario = Scenario.model_validate({"agents": {"count": agents}, "customers": {"per_minute": 0}})
    clock = SystemClock()
    async with simulating(scenario, clock=clock, chance=SeededChance(1), port=port, keep=0) as simulator:
        floor = Floor(simulator)
        answers: dict[str, Any] = {"handshakes": floor.handshakes, "publish": floor.publish}
        _tell({"url": simulator.url})
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            order, *details = json.loads(line)
            _tell(answers[order](*details))


asyncio.run(main())

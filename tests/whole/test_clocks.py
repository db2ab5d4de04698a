"""A thousand clocks, and a daemon that is started anew every three seconds."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

from fbsessiond.chance import SeededChance
from fbsessiond.conditions import Condition
from fbsessiond.dispatch import Dispatch
from fbsessiond.envelope import open_envelope
from fbsessiond.handler import Delivery, Done, Handler, Outcome
from fbsessiond.intake import Intake
from fbsessiond.journal.records import DeliveryState
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.operations import Operation
from fbsessiond.route import Route
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual
from fbsessiond.winding import wind_clocks

CLOCKS = 1_000
RESTART_SECONDS = 3
LASTS = timedelta(seconds=40)


class Counting(Handler):
    """Count what fires, and ask for what should follow."""

    fired: Counter[str] = Counter()  # noqa: RUF012  pydantic copies it
    late: list[timedelta] = []  # noqa: RUF012  pydantic copies it

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note the session, and how late its clock is."""
        session = delivery.transition.session
        self.fired[session.id] += 1
        self.late.append(delivery.late)
        return Done(Operation.complete(session))


def shown(session: str, state: str) -> Message:
    """Return a notification of a session's state."""
    data = {"messageType": "FacebooksessionStateChangeMessage", "facebooksession": {"id": session, "state": state}}
    return open_envelope(json.dumps({"channel": "/v2/me/facebooksession", "data": data}).encode())


async def feed(intake: Intake, clock: VirtualClock, done: list[int]) -> None:
    """Let a session be left every 50 ms; every third one ends before its clock does."""
    while done[0] < CLOCKS:
        number = done[0]
        messages = [shown(f"S{number}", "LeftChat")]
        if number >= 300 and number % 3 == 0:
            messages.append(shown(f"S{number - 300}", "Completed"))
        await intake.take(Batch("agent1", Origin.LIVE, clock.now(), tuple(messages)))
        done[0] += 1
        await asyncio.sleep(0.05)
    await asyncio.Event().wait()


def test_each_once(tmp_path: Path) -> None:
    """Each clock fires exactly once, at its time or at the next start, or is withdrawn because its session went on."""
    handler = Counting()
    routes = [Route("late", handler, [Condition.model_validate({"to": "LeftChat", "for": "40s"})])]

    async def life(clock: VirtualClock, done: list[int]) -> int:
        journal = SqliteJournal(tmp_path / "journal.db", clock.now())
        await wind_clocks(journal, routes, clock)
        dispatch = Dispatch(journal, routes, clock, SeededChance(1))
        running = [
            asyncio.create_task(part) for part in (dispatch.run(), feed(Intake(journal, routes, clock), clock, done))
        ]
        await asyncio.sleep(RESTART_SECONDS)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        left = sum(one.state is DeliveryState.WAITING for one in journal.reader().deliveries())
        journal.close()
        return left

    async def main() -> int:
        clock, done, lives = VirtualClock(EPOCH), [0], 0
        while await life(clock, done) or done[0] < CLOCKS:
            lives += 1
            await asyncio.sleep(lives % 3)  # now and then it is away for a while
        return lives

    assert run_virtual(main()) > 25
    withdrawn = {f"S{number - 300}" for number in range(300, CLOCKS) if number % 3 == 0}
    assert handler.fired == {f"S{number}": 1 for number in range(CLOCKS) if f"S{number}" not in withdrawn}
    assert max(handler.late) <= timedelta(seconds=3)
    journal = SqliteJournal(tmp_path / "journal.db", EPOCH)
    try:
        counts = journal.reader().statistics()
        assert counts.deliveries["delivered"] == CLOCKS - len(withdrawn) == counts.follow_ups["intended"]
        assert counts.deliveries["withdrawn"] == len(withdrawn)
    finally:
        journal.close()

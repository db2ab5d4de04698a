"""The work that all cases share: the sample notification, in bursts, over many sessions, to three handlers."""

import asyncio
import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Any

from fbsessiond import Delivery, Done, Handler, Outcome
from fbsessiond.chance import SeededChance
from fbsessiond.clock import SystemClock
from fbsessiond.envelope import open_envelope
from fbsessiond.events import Observe, unobserved
from fbsessiond.intake import Intake
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.route import Route
from fbsessiond.service import Pipeline

ROOT = Path(__file__).parent.parent
SAMPLE: dict[str, Any] = json.loads((ROOT / "tests/fixtures/documented/leave-leftchat.json").read_bytes())
COUNT = 10_000
"""How many notifications a round has."""
BURST = 100
SESSIONS = 10_000
HANDLERS = ("first", "second", "third")
JOURNAL = "sqlite:journal.db"
CLOCK = SystemClock()


class Counting(Handler):
    """A handler that does nothing but count."""

    counts: list[int] = field(default_factory=lambda: [0])

    async def handle(self, delivery: Delivery) -> Outcome:  # noqa: ARG002  the interface's
        """Count."""
        self.counts[0] += 1
        return Done()


def sample(number: int) -> dict[str, Any]:
    """Return a notification: the sample, of one session after the other, each time in another state."""
    session = {
        **SAMPLE["data"]["facebooksession"],
        "id": f"0002DaAVKJ{number % SESSIONS:06}",
        "state": "LeftChat" if number // SESSIONS % 2 else "Chatting",
    }
    return {**SAMPLE, "data": {**SAMPLE["data"], "facebooksession": session}}


def bodies(count: int = COUNT, first: int = 0) -> list[bytes]:
    """Return notifications as they are on the wire."""
    return [json.dumps(sample(number)).encode() for number in range(first, first + count)]


def messages(count: int = COUNT, first: int = 0) -> list[Message]:
    """Return notifications as a source yields them."""
    return [open_envelope(body) for body in bodies(count, first)]


def bursts(all_messages: Sequence[Message]) -> list[Batch]:
    """Return messages as the batches they arrive in."""
    return [
        Batch("agent", Origin.LIVE, CLOCK.now(), tuple(all_messages[start : start + BURST]))
        for start in range(0, len(all_messages), BURST)
    ]


@contextmanager
def opened(folder: Path) -> Generator[Journal, None, None]:
    """Lend a journal in a folder."""
    journal = open_journal(JOURNAL, folder, CLOCK.now())
    try:
        yield journal
    finally:
        journal.close()


def pipeline_to(journal: Journal, observe: Observe = unobserved) -> tuple[Pipeline, Counting]:
    """Return a pipeline to three handlers, and what counts their deliveries."""
    counting = Counting()
    return pipeline(journal, [Route(name, counting) for name in HANDLERS], observe), counting


def pipeline(journal: Journal, routes: Sequence[Route], observe: Observe = unobserved) -> Pipeline:
    """Return a pipeline as the daemon has it, without agents."""
    intake = Intake(journal, routes, CLOCK, observe=observe)
    return Pipeline(journal, routes, CLOCK, SeededChance(1), intake=intake, observe=observe)


async def take(way: Pipeline, batches: Sequence[Batch]) -> None:
    """Have batches journaled, one after the other."""
    for batch in batches:
        await way.intake.take(batch)


async def settle(way: Pipeline, batches: Sequence[Batch] = ()) -> None:
    """Have batches journaled, and all that is due handled and settled."""
    dispatching = asyncio.create_task(way.dispatch.run())
    await take(way, batches)
    await way.dispatch.drain()
    dispatching.cancel()
    await asyncio.wait([dispatching])


@contextmanager
def log(folder: Path) -> Generator[Callable[[bytes], None], None, None]:
    """Lend a plain file, to which bytes are appended durably: the limit of any journal."""
    file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append(part: bytes) -> None:
        os.write(file, part)
        os.fdatasync(file)

    try:
        yield append
    finally:
        os.close(file)

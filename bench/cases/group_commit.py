"""How many notifications share a sync: as many as are in flight, without a timer."""

import asyncio
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from fbsessiond.message import Batch, Origin
from measure import Figure, Table
from work import CLOCK, messages, opened, pipeline_to

IN_FLIGHT = (1, 10, 100, 1_000)
ROUNDS = 5


def _look(folder: Path) -> Iterable[Figure]:
    for agents in IN_FLIGHT:
        yield Figure(
            f"{agents:,} in flight",
            [asyncio.run(_notifications_a_commit(folder / str(agents), agents))],
            "notifications",
        )


async def _notifications_a_commit(folder: Path, agents: int) -> float:
    """Take single notifications of so many agents, each of which waits for its own before it takes the next."""
    commits = 0

    @contextmanager
    def timed(step: Literal["commit", "checkpoint"]) -> Generator[None]:
        nonlocal commits
        commits += step == "commit"
        yield

    with opened(folder) as journal:
        way, _ = pipeline_to(journal)
        journal.time_with(timed)

        async def notify(agent: int) -> None:
            for number in range(ROUNDS):
                (message,) = messages(1, agent * ROUNDS + number)
                await way.intake.take(Batch(str(agent), Origin.LIVE, CLOCK.now(), (message,)))

        await asyncio.gather(*map(notify, range(agents)))
    return agents * ROUNDS / commits


GROUP_COMMIT = Table(
    "group-commit",
    "Notifications that share a sync, where so many agents each have one in flight.",
    _look,
    most_rounds=1,
)

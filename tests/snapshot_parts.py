"""What the tests of snapshots share: the daemon beside the simulated GWS, gaps, and what comes of them."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from fbsessiond.gap import Gap, GapCause, Watched
from fbsessiond.journal.records import Entry
from fbsessiond.message import Origin
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.route import Route
from fbsessiond.simulator.faults import FaultTable
from floor import AGENT, Floor, floor

Json: TypeAlias = dict[str, Any]

SNAPSHOTS = SnapshotSettings(every=timedelta(minutes=2), settling=timedelta(seconds=5))
EVERY = SNAPSHOTS.every.total_seconds()
AWAY = {"5xx": {"on": ["notifications"]}}
"""A gap that goes on: the list can still be read."""


def switch(here: Floor, **faults: Any) -> None:
    """Switch faults on, or off."""
    here.simulator.faults.switch(FaultTable.model_validate(faults))


def forget(here: Floor) -> None:
    """Let GWS forget the CometD session."""
    here.simulator.bayeux.forget_all("the test wants it")


def watched(here: Floor) -> Watched:
    """Return what the journal knows of the time in which it was listened."""
    return next(here.journal.reader().watched(agent=AGENT))


def ledger(here: Floor) -> list[Gap]:
    """Return the gaps after the first start's."""
    return [gap for gap in here.journal.reader().gaps() if gap.cause is not GapCause.START]


def entries(here: Floor, *origins: Origin) -> list[Entry]:
    """Return the entries of an origin, by default those that a snapshot gave."""
    return [entry for entry in here.journal.reader().entries() if entry.origin in (origins or (Origin.SNAPSHOT,))]


def changes(here: Floor) -> list[tuple[str | None, str | None, str | None]]:
    """Return the transitions that snapshots gave."""
    return [(each.session, each.before, each.after) for each in entries(here) if each.kind == "transition"]


def counted(here: Floor) -> dict[str, float]:
    """Return the counters of gaps and comparisons that aren't 0, each by its name and its label."""
    body, _ = here.daemon.metrics.exposition()
    return {
        " ".join([sample.name.removeprefix("fbsessiond_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.value and family.type == "counter" and re.match("fbsessiond_(gap|silence|snapshot)", family.name)
    }


async def repaired(here: Floor) -> None:
    """Wait until the chain holds, and every gap is closed."""
    await here.until(lambda: (now := watched(here)).broken is None and not now.gaps)


@asynccontextmanager
async def gap(here: Floor) -> AsyncGenerator[None]:
    """Let nobody hear notifications for half a minute, and wait until what was missed is known."""
    switch(here, **AWAY)
    forget(here)
    yield
    await asyncio.sleep(30)
    switch(here, **dict.fromkeys(AWAY))
    await repaired(here)


def operate(here: Floor, session: str, operation: str, **more: Any) -> None:
    """Let the agent do something at the desktop."""
    here.simulator.back_end.request(AGENT, session, {"operationName": operation, **more}, by="desktop")


async def chat(here: Floor) -> str:
    """Let the agent chat in a session of which all is known that the list shows."""
    session = await here.chat()
    operate(here, session, "UpdateUserData", userData={"seen": "yes"})
    await asyncio.sleep(1)
    return session


@asynccontextmanager
async def desk(
    *routes: Route, snapshots: SnapshotSettings = SNAPSHOTS, **tables: Any
) -> AsyncGenerator[tuple[Floor, str]]:
    """Run the daemon, with a session in which the agent chats."""
    async with floor(*routes, snapshots=snapshots, **tables) as here:
        await repaired(here)
        yield here, await chat(here)


class Listing:
    """What GWS lists, in the place of what is so; and when it was asked for."""

    def __init__(self, here: Floor, shown: Callable[[list[Json]], list[Json]] = lambda documents: documents) -> None:
        self.shown = shown
        self.asked: list[float] = []
        self._sessions = here.simulator.platform.sessions
        here.simulator.platform.sessions = self._list  # type: ignore[method-assign]

    def _list(self, agent: str) -> list[Json]:
        self.asked.append(asyncio.get_running_loop().time())
        return self.shown(self._sessions(agent))


def nothing(documents: list[Json]) -> list[Json]:
    """List nothing."""
    del documents
    return []

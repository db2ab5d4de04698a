from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from fbsessiond.conditions import Condition
from fbsessiond.handler import Delivery, Done, Handler, Outcome
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import NotWanted, Wait
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.route import Route
from fbsessiond.winding import wind_clocks
from journal_parts import NOW, after, append, draft, lease, seqs
from simulator_parts import HandClock

CLOCK = HandClock(seconds=600)


class Idle(Handler):
    """Do nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    """Open a journal."""
    journal = SqliteJournal(MEMORY, NOW)
    yield journal
    journal.close()


def route(name: str = "log", *conditions: dict[str, Any]) -> Route:
    """Return a handler's route."""
    return Route(name, Idle(), [Condition.model_validate(one) for one in conditions])


LEFT = {"to": "LeftChat", "for": "5m"}


def waiting(reader: Reader) -> dict[str, float]:
    """Return what each delivery is, and when it is due, in seconds after `NOW`."""
    return {f"{one.id} {one.state}": (one.at - NOW) / timedelta(seconds=1) for one in reader.deliveries()}


async def wind(journal: Journal, *routes: Route) -> dict[str, float]:
    """Wind clocks ten minutes after `NOW`, and return what is there then."""
    await wind_clocks(journal, routes, CLOCK)
    return waiting(journal.reader())


async def test_rule_appears(journal: SqliteJournal) -> None:
    """A session that is in the state when its rule appears counts from its entry into the state."""
    refused = [NotWanted("log", "to: was LeftChat")]
    await append(journal, draft("S1", "LeftChat", not_wanted=refused), at=after(500))
    await append(journal, draft("S2", "LeftChat"), draft("S3", "Chatting"), at=after(30))
    await append(journal, draft("S4", "LeftChat"), draft("S4", "Completed", before="LeftChat"))
    assert await wind(journal, route("log", LEFT), route("other")) == {"1/log waiting": 800, "2/log waiting": 330}
    assert seqs(await lease(journal, now=after(600))) == [2]


async def test_rule_changes(journal: SqliteJournal) -> None:
    """A clock whose rule says another time runs until that; one whose rule doesn't match any more is withdrawn."""
    await append(journal, draft("S1", "LeftChat", "log", due_at=after(300), wait=Wait.FOR))
    assert await wind(journal, route("log", {**LEFT, "for": "1h"})) == {"1/log waiting": 3600}
    assert await wind(journal, route("log", {**LEFT, "when": "false"})) == {"1/log withdrawn": 600}
    assert await wind(journal, route("log", LEFT)) == {"1/log withdrawn": 600}


async def test_rule_goes(journal: SqliteJournal) -> None:
    """Where a handler has no clocks any more, those that ran are withdrawn."""
    await append(journal, draft("S1", "LeftChat", "log", due_at=after(900), wait=Wait.FOR))
    assert await wind(journal, route("log", {"to": "LeftChat"})) == {"1/log withdrawn": 600}


async def test_fired_meanwhile(journal: SqliteJournal) -> None:
    """A clock whose time came before its session left the state stays, though the session isn't in it any more."""
    await append(journal, draft("S1", "LeftChat", "log", due_at=after(300), wait=Wait.FOR))
    await append(journal, draft("S1", "Completed", before="LeftChat"), at=after(400))
    assert await wind(journal, route("log", LEFT)) == {"1/log waiting": 300}


@pytest.mark.parametrize("routes", [(), (route(),), (route("log", {"to": "LeftChat"}),)])
async def test_no_clocks(journal: SqliteJournal, routes: Sequence[Route]) -> None:
    """Without clocks nothing is read and nothing written."""
    await append(journal, draft("S1", "LeftChat", "log"))
    changes = journal.connection.total_changes
    await wind_clocks(journal, routes, CLOCK)
    assert journal.connection.total_changes == changes

"""A replay: fixtures through the same intake, journal, dispatch and handlers as the daemon's, offline."""

import dataclasses
from collections.abc import Iterable, Sequence

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.fixtures import Fixture, FixtureSource
from fbsessiond.follow_ups import CapturingLane
from fbsessiond.journal.interface import Journal
from fbsessiond.route import Route
from fbsessiond.service import Pipeline, running_handlers
from fbsessiond.tasks import until_first


async def replay_fixtures(
    fixtures: Iterable[Fixture],
    journal: Journal,
    routes: Sequence[Route],
    *,
    clock: Clock,
    chance: Chance,
    speed: float | None = None,
) -> None:
    """Journal fixtures, and carry out what they cause, each delivery once: what fails is a dead letter at once."""
    routes = [
        dataclasses.replace(route, delivery=route.delivery.model_copy(update={"attempts": 1})) for route in routes
    ]
    pipeline = Pipeline(journal, routes, clock, chance, CapturingLane(journal, clock, chance))

    async def feed() -> None:
        await pipeline.take_all(FixtureSource(fixtures, clock, speed))
        await pipeline.dispatch.drain()

    async with running_handlers(routes):
        await until_first(feed(), pipeline.dispatch.run())

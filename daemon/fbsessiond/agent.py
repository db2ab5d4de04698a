"""One agent whose sessions are watched: the way to GWS, the notifications, and what keeps their picture true."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.cometd.events import ConnectionEvent
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.errors import ConfigurationError
from fbsessiond.events import Event
from fbsessiond.gap import Watched, coverage_of
from fbsessiond.gws.access import Access, Basic, Bearer, Credentials
from fbsessiond.gws.rest import Rest
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.readiness import Check, Standing
from fbsessiond.reconciling import Reconciler, SnapshotSettings
from fbsessiond.settings import GwsSettings, Settings

if TYPE_CHECKING:
    from fbsessiond.intake import Intake

RESUMABLE = timedelta(minutes=10)
"""How old the last proof may be for the CometD session to be taken up: the server's default is to keep it for 10 s."""


@dataclass(frozen=True, slots=True)
class Agent:
    """The parts that belong to one agent."""

    name: str
    rest: Rest
    source: CometdSource
    reconciler: Reconciler

    def checks(self, reader: Reader) -> Sequence[Check]:
        """Say whether notifications arrive now, and whether all that may have been missed is known."""
        status = self.source.status
        connection = Check(f"connection {self.name}", status.healthy, status.words, status.since)
        return [connection, *(_coverage(watched) for watched in reader.watched(agent=self.name))]


@asynccontextmanager
async def watching(
    gws: GwsSettings,
    journal: Journal,
    intake: "Intake",
    clock: Clock,
    chance: Chance,
    snapshots: SnapshotSettings,
    observe: Callable[[Event | ConnectionEvent], None] = lambda _: None,
) -> AsyncGenerator[Agent, None]:
    """Put an agent's parts together, where the last process left off.

    Raises `ConfigurationError` where the credentials aren't to be had.
    """
    name = gws.agent_name
    async with access_of(gws) as access:
        watched = await journal.watch(name, clock.now())
        position = position_of(watched, clock.now()) if gws.resume else None
        settings = replace(source_settings(gws), keep=gws.resume)
        source = CometdSource(settings, access, clock=clock, chance=chance, position=position, observe=observe)
        rest = Rest(str(gws.url), access, observe)
        reconciler = Reconciler(
            name,
            journal,
            intake,
            rest,
            clock=clock,
            chance=chance,
            renew=source.renew,
            settings=snapshots,
            observe=observe,
        )
        yield Agent(name, rest, source, reconciler)


def standing(agents: Sequence[Agent], reader: Reader, now: datetime) -> Standing:
    """Add up how agents stand."""
    rows = [each for agent in agents for each in reader.watched(agent=agent.name)]
    coverages = [coverage_of(watched, reader.gaps(agent=watched.agent), now) for watched in rows]
    observed = sum((one.observed for one in coverages), timedelta())
    covered = sum((one.covered for one in coverages), timedelta())
    connects = [at for agent in agents if (at := agent.source.status.last_connect_at) is not None]
    return Standing(
        agents=len(agents),
        connected=sum(agent.source.status.healthy for agent in agents),
        in_gap=sum(watched.broken is not None for watched in rows),
        coverage=covered / observed if observed else None,
        silent_for=max((now - at for at in connects), default=None),
    )


def gws_of(settings: Settings) -> GwsSettings:
    """Return the platform's settings. Raises `ConfigurationError` where there are none."""
    if settings.gws is None:
        raise ConfigurationError("gws: is missing; `fbsessiond run` needs to know the platform's url and the agent")
    return settings.gws


def access_of(gws: GwsSettings) -> Access:
    """Return the agent's access, its secrets fetched. Raises `ConfigurationError` where one isn't to be had."""
    credentials: Credentials
    if gws.token is not None:
        credentials = Bearer(gws.token.read("gws.token").get_secret_value())
    else:
        assert gws.username is not None and gws.password is not None, "checked by the settings"  # noqa: S101, PT018
        credentials = Basic(gws.username, gws.password.read("gws.password").get_secret_value())
    return Access(credentials, certificate_authority=gws.ca_file)


def source_settings(gws: GwsSettings) -> CometdSettings:
    """Return what a notification connection needs to know; one that ends with a farewell."""
    return CometdSettings(
        agent=gws.agent_name,
        url=gws.notifications_url,
        channels=tuple(gws.channels),
        transports=tuple(gws.transports),
        sign_in_url=f"{str(gws.url).rstrip('/')}/api/v2/me",
    )


def position_of(watched: Watched, now: datetime) -> bytes | None:
    """Return where the source can go on; no server keeps a session for long."""
    return watched.position if now - watched.proven_until < RESUMABLE else None


def _coverage(watched: Watched) -> Check:
    name = f"coverage {watched.agent}"
    if watched.broken is not None:
        return Check(name, False, f"nothing is proved: {watched.broken}", watched.proven_until)
    if watched.gaps:
        gap = watched.gaps[0]
        return Check(name, False, f"what was missed isn't known yet: {gap.cause}", gap.begin)
    return Check(name, True, "proved", None)

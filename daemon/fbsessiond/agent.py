"""One agent whose sessions are watched: the way to GWS, the notifications, and what keeps their picture true."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.cometd.events import ConnectionEvent
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.configuration_errors import nearest
from fbsessiond.errors import ConfigurationError
from fbsessiond.events import Event
from fbsessiond.gap import Watched
from fbsessiond.gws.access import Access, Basic, Bearer, Credentials
from fbsessiond.gws.rest import Rest
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.readiness import Check
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

    @property
    def connection(self) -> Check:
        """Say whether notifications arrive now."""
        status = self.source.status
        return Check(f"connection {self.name}", status.healthy, status.words, status.since)

    def checks(self, reader: Reader) -> Sequence[Check]:
        """Say whether notifications arrive now, and whether all that may have been missed is known."""
        return [self.connection, *map(coverage_check, reader.watched(agent=self.name))]


@asynccontextmanager
async def watching(
    gws: GwsSettings,
    journal: Journal,
    intake: "Intake",
    clock: Clock,
    chance: Chance,
    snapshots: SnapshotSettings,
    observe: Callable[[Event | ConnectionEvent], None] = lambda _: None,
    handshakes: asyncio.Semaphore | None = None,
) -> AsyncGenerator[Agent, None]:
    """Put an agent's parts together, where the last process left off; those who share `handshakes` begin by turns.

    Raises `ConfigurationError` where the credentials aren't to be had.
    """
    name = gws.agent_name
    async with access_of(gws) as access:
        watched = await journal.watch(name, clock.now())
        position = position_of(watched, clock.now()) if gws.resume else None
        settings = replace(source_settings(gws), keep=gws.resume)
        source = CometdSource(
            settings,
            access,
            clock=clock,
            chance=chance,
            position=position,
            observe=observe,
            handshakes=handshakes,
        )
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


def gws_of(settings: Settings, name: str | None = None) -> GwsSettings:
    """Return the platform as an agent comes to it; without a name, as the only agent does.

    Raises `ConfigurationError` where there is none of that name, or no only one.
    """
    watched = settings.watched
    if not watched:
        raise ConfigurationError("gws: is missing; it says where the platform is, and who the agent is")
    found = [gws for gws in watched if name in {None, gws.agent_name}]
    if len(found) == 1:
        return found[0]
    if name is None:
        raise ConfigurationError(f"agents: there are {len(watched)}: name one of them with --agent")
    raise ConfigurationError(f"agents: none is called {name!r}; {nearest(name, (one.agent_name for one in watched))}")


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


def coverage_check(watched: Watched) -> Check:
    """Say whether all that may have been missed is known."""
    name = f"coverage {watched.agent}"
    if watched.broken is not None:
        return Check(name, False, f"nothing is proved: {watched.broken}", watched.proven_until)
    if watched.gaps:
        gap = watched.gaps[0]
        return Check(name, False, f"what was missed isn't known yet: {gap.cause}", gap.begin)
    return Check(name, True, "proved", None)

"""What a person, or the service manager, asks of the running daemon by signals: to stop, or to reload."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from fbsessiond.agent import access_of
from fbsessiond.clock import Clock
from fbsessiond.configuration import Configuration
from fbsessiond.errors import ConfigurationError, FbsessiondError, RefusedError
from fbsessiond.service_manager import ServiceManager

if TYPE_CHECKING:
    from fbsessiond.settings import GwsSettings

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The first two stop it, the last one has it read its configuration again."""


@contextmanager
def asking(
    configuration: Configuration, reload: Callable[[], Configuration] | None, manager: ServiceManager, clock: Clock
) -> Generator["Asked", None, None]:
    """Hear signals for a while."""
    asked = Asked(configuration, reload, manager, clock)
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, asked.hear, number)
    try:
        yield asked
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def examine(configuration: Configuration) -> None:
    """Look at all that can be looked at before anything is begun, or touched. Raises `ConfigurationError`."""
    configuration.routes()
    configuration.settings.http.read_token()
    match configuration.settings.watched:
        case []:
            raise ConfigurationError("gws: is missing; `fbsessiond run` needs to know the platform's url and the agent")
        case [gws]:
            async with access_of(gws):
                pass
        case _:
            pass  # where there are several, one's trouble is its own


class Asked:
    """What a person, or the service manager, asks of the daemon by signals."""

    def __init__(
        self,
        configuration: Configuration,
        reload: Callable[[], Configuration] | None,
        manager: ServiceManager,
        clock: Clock,
    ) -> None:
        self.following: Configuration | None = configuration
        """What to go on with; None: with nothing."""
        self.has_connected = False
        """Whether GWS answered with it."""
        self.change_agents: Callable[[Sequence[GwsSettings]], Awaitable[None]] | None = None
        """Has others watched from now on, while all else goes on as it does; None: that can't be done now."""
        self._before: Configuration | None = None
        """What it went on with before, until that is known to be over."""
        self._reload = reload or (lambda: configuration)
        self._manager = manager
        self._clock = clock
        self._signals = asyncio.Queue[signal.Signals]()

    def hear(self, number: signal.Signals) -> None:
        """Take a signal that the process got."""
        self._signals.put_nowait(number)

    async def until_asked(self) -> None:
        """Wait until it has to stop, or to go on with another configuration that is right as far as can be seen."""
        current = self.following
        assert current is not None  # noqa: S101  it runs with one
        while await self._signals.get() == signal.SIGHUP:
            try:
                following = self._reload()
                await examine(following)
                _check_journal(current, following)
            except ConfigurationError as error:
                self._refuse(error)
                continue
            if self.change_agents is not None and _differs_in_agents(current, following):
                await self.change_agents(following.settings.watched)
                current = self.following = following
                self._manager.remark = ""
                log.info("agents.reloaded", agents=len(following.settings.watched))
            else:
                self.following, self._before = following, current
                log.info("configuration.reloaded")
                self._manager.reloading(self._clock.monotonic())
                return
        self.following = None
        self._manager.stopping()

    def can_go_back(self, current: Configuration, error: ConfigurationError | RefusedError) -> bool:
        """Say whether the configuration before this one may do better.

        Where GWS refuses the credentials, it may if they were others: the same ones aren't tried once more.
        """
        if self._before is None:
            return False
        if isinstance(error, ConfigurationError):
            return True
        return not self.has_connected and current.settings.watched != self._before.settings.watched

    def go_back(self, error: FbsessiondError) -> None:
        """Go on with the configuration before, and say why."""
        self.following, self._before = self._before, None
        self._refuse(error)

    def _refuse(self, error: FbsessiondError) -> None:
        log.error("configuration.refused", error=str(error), hint="the daemon goes on with the one that it has")
        self._manager.remark = f"the configuration that it was to reload is refused: {error}"


def _differs_in_agents(current: Configuration, following: Configuration) -> bool:
    """Say whether the agents have changed, there are several, and nothing else has."""
    here, there = current.settings, following.settings
    without: dict[str, object] = {"agents": [], "agents_file": None}
    is_same = here.model_copy(update=without) == there.model_copy(update=without)
    return is_same and here.watched != there.watched and min(len(here.watched), len(there.watched)) > 1


def _check_journal(current: Configuration, following: Configuration) -> None:
    """See that the journal stays: what is in it is left to do. Raises `ConfigurationError`."""
    for key, here, there in (
        ("journal.url", current.settings.journal.url, following.settings.journal.url),
        ("state_directory", current.state_directory, following.state_directory),
    ):
        if here != there:
            raise ConfigurationError(
                f"{key}: can't be changed from '{here}' to '{there}' while the daemon runs: restart it instead"
            )

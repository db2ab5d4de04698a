"""All agents whose sessions are watched, side by side. Where there are several, one's trouble stays its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog

from fbsessiond.agent import Agent, coverage_check
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.errors import ConfigurationError, RefusedError
from fbsessiond.gap import Gap, Watched, coverage_of
from fbsessiond.journal.interface import Reader
from fbsessiond.message import Source
from fbsessiond.open_files import allow_open_files
from fbsessiond.readiness import Check, Standing
from fbsessiond.settings import GwsSettings
from fbsessiond.tasks import stopped, until_first

if TYPE_CHECKING:
    from fbsessiond.gws.rest import Rest

log = structlog.get_logger(__name__)

AGAIN = timedelta(minutes=10)
"""How long after its trouble, about, an agent among others is tried again: seldom enough that nothing locks it out."""

JITTER = 0.25

NAMED = 5
"""So many of those that are in trouble are named in words."""

Watch: TypeAlias = Callable[[GwsSettings], AbstractAsyncContextManager[Agent]]
"""Puts an agent's parts together for a while."""

TakeAll: TypeAlias = Callable[[Source], Coroutine[Any, Any, None]]
"""Journals what a source yields, until it ends."""


@dataclass(slots=True)
class _Member:
    """One of the agents, and what became of it."""

    gws: GwsSettings
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    agent: Agent | None = None
    trouble: str = ""
    """Why it isn't watched now; empty: it is."""
    since: datetime | None = None
    refused: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Raises that GWS refused an operation of it."""
    task: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Check:
        """Whether its notifications arrive now."""
        if self.agent is None or self.trouble:
            return Check(f"connection {self.gws.agent_name}", False, self.trouble or "not begun", self.since)
        return self.agent.connection

    @property
    def is_connected(self) -> bool:
        """Whether that is so: asked of thousands once a second, without the words."""
        return self.agent is not None and not self.trouble and self.agent.source.status.healthy

    @property
    def was_tried(self) -> bool:
        """Whether it is known how it is."""
        return bool(self.trouble) or (self.agent is not None and self.agent.source.status.since is not None)


class Agents:
    """The agents, by their names.

    Where there is only one, whose credentials aren't to be had, or are refused, that is raised; one of several is left
    for a while, and tried again.
    """

    def __init__(self, watch: Watch, clock: Clock, chance: Chance) -> None:
        self._watch = watch
        self._clock = clock
        self._chance = chance
        self.rests: dict[str, Rest | None] = {}
        """The REST client of each; None: it has none at the moment."""
        self._members: dict[str, _Member] = {}
        self._take_all: TakeAll | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def told(self) -> Mapping[str, object]:
        """Who they are, for the log: how many, where there are several."""
        return {"agent": next(iter(self._members))} if self._is_alone else {"agents": len(self._members)}

    @property
    def has_connected(self) -> bool:
        """Whether GWS has answered any of them."""
        return any(one.source.status.last_connect_at is not None for one in self._present())

    @property
    def begun(self) -> int | None:
        """How many there are; None while it isn't known of each how it is."""
        return len(self._members) if all(one.was_tried for one in self._members.values()) else None

    @property
    def is_moving(self) -> bool:
        """Whether each gets on."""
        return all(agent.source.is_moving for agent in self._present())

    async def change(self, tables: Iterable[GwsSettings]) -> None:
        """Watch these from now on: who is new is begun, who isn't among them is left; nobody else notices."""
        wanted = {gws.agent_name: gws for gws in tables}
        allow_open_files(len(wanted))
        left = {name: one for name, one in self._members.items() if wanted.get(name) != one.gws}
        await _leave(left.values())
        new = [_Member(gws) for name, gws in wanted.items() if name not in self._members or name in left]
        self._members = {name: self._members[name] for name in self._members if name not in left}
        self._members |= {one.gws.agent_name: one for one in new}
        for name in self.rests.keys() - self._members.keys():
            del self.rests[name]
        opened = await asyncio.gather(*map(self._open, new), return_exceptions=True)
        for error in (one for one in opened if one is not None):
            raise error
        if self._take_all is not None:
            for one in new:
                self._start(one, self._take_all)

    async def run(self, take_all: TakeAll) -> None:
        """Watch them, until cancelled. Raises what the only one failed of, or `DiskError`."""
        self._take_all = take_all
        for one in self._members.values():
            self._start(one, take_all)
        try:
            await self._failed
        finally:
            for error in (await stopped(one.task for one in self._members.values() if one.task)).values():
                raise error

    async def close(self) -> None:
        """Give back what they have open."""
        for one in self._members.values():
            await one.stack.aclose()

    def bear(self, name: str, error: RefusedError) -> None:
        """Take it that GWS refuses an agent's operation: it is left. Raises that where there is only this agent."""
        if self._is_alone:
            raise error
        if not (refused := self._members[name].refused).done():
            refused.set_exception(error)

    def connections(self) -> Mapping[str, Check]:
        """Say of each by its name whether its notifications arrive now."""
        return {name: one.connection for name, one in self._members.items()}

    def checks(self, reader: Reader) -> Sequence[Check]:
        """Say whether notifications arrive now, and whether all that may have been missed is known.

        Several are taken together: each must have been tried, and one must be well. The others are told by name.
        """
        members, present = self._members.values(), self._present()
        if self._is_alone:
            return [check for agent in present for check in agent.checks(reader)]
        not_connected = [one for one in members if not one.is_connected]
        in_doubt = [watched for watched in reader.watched(is_in_doubt=True) if watched.agent in self._members]
        observed = {one.gws.agent_name for one in members if one.agent is not None} | {one.agent for one in in_doubt}
        return [
            _together(
                "connections",
                (len(members), len(not_connected)),
                [one.connection for one in not_connected[:NAMED]],
                are_known=not not_connected or self.begun is not None,
            ),
            _together("coverage", (len(observed), len(in_doubt)), list(map(coverage_check, in_doubt[:NAMED]))),
        ]

    def standings(self, reader: Reader, now: datetime) -> Sequence[Standing]:
        """Add up how they stand, by group."""
        rows = {watched.agent: watched for watched in reader.watched()}
        gaps: dict[str, list[Gap]] = {}
        for gap in reader.gaps():
            gaps.setdefault(gap.agent, []).append(gap)
        groups: dict[str, list[_Member]] = {}
        for one in self._members.values():
            groups.setdefault(one.gws.group, []).append(one)
        return [_standing(group, members, rows, gaps, now) for group, members in sorted(groups.items())]

    @property
    def _is_alone(self) -> bool:
        return len(self._members) == 1

    def _present(self) -> Sequence[Agent]:
        return [one.agent for one in self._members.values() if one.agent is not None and not one.trouble]

    def _start(self, one: _Member, take_all: TakeAll) -> None:
        one.task = asyncio.create_task(self._keep(one, take_all))
        one.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _keep(self, one: _Member, take_all: TakeAll) -> None:
        while True:
            if one.agent is not None:
                try:
                    await until_first(take_all(one.agent.source), one.agent.reconciler.run(), _raised(one.refused))
                except RefusedError as error:
                    self._note(one, error)
            pause = AGAIN * self._chance.between(1 - JITTER, 1 + JITTER)
            await asyncio.sleep(pause.total_seconds())
            await one.stack.aclose()
            await self._open(one)

    async def _open(self, one: _Member) -> None:
        """Put one's parts together, its secrets fetched anew."""
        one.agent, one.trouble, one.since = None, "", None
        one.refused = asyncio.get_running_loop().create_future()
        try:
            one.agent = await one.stack.enter_async_context(self._watch(one.gws))
        except ConfigurationError as error:
            self._note(one, error)
        self.rests[one.gws.agent_name] = None if one.agent is None else one.agent.rest

    def _note(self, one: _Member, error: ConfigurationError | RefusedError) -> None:
        """Note one's trouble. Raises it where there is only this agent."""
        if self._is_alone:
            raise error
        one.trouble, one.since = str(error), self._clock.now()
        log.error("agent.left", agent=one.gws.agent_name, because=one.trouble, again_in="about 10 min")


async def _raised(future: asyncio.Future[None]) -> None:
    await asyncio.shield(future)


async def _leave(members: Iterable[_Member]) -> None:
    leaving = list(members)
    for error in (await stopped(one.task for one in leaving if one.task)).values():
        raise error
    for one in leaving:
        await one.stack.aclose()


def _standing(
    group: str,
    members: Sequence[_Member],
    rows: Mapping[str, Watched],
    gaps: Mapping[str, Sequence[Gap]],
    now: datetime,
) -> Standing:
    own = [watched for one in members if (watched := rows.get(one.gws.agent_name)) is not None]
    coverages = [coverage_of(watched, gaps.get(watched.agent, ()), now) for watched in own]
    observed = sum((one.observed for one in coverages), timedelta())
    covered = sum((one.covered for one in coverages), timedelta())
    present = [one.agent for one in members if one.agent is not None and not one.trouble]
    connects = [at for one in present if (at := one.source.status.last_connect_at) is not None]
    return Standing(
        agents=len(members),
        connected=sum(one.is_connected for one in members),
        in_gap=sum(watched.broken is not None for watched in own),
        coverage=covered / observed if observed else None,
        silent_for=max((now - at for at in connects), default=None),
        group=group,
    )


@asynccontextmanager
async def all_watched(
    tables: Sequence[GwsSettings], watch: Watch, clock: Clock, chance: Chance
) -> AsyncGenerator[Agents, None]:
    """Put the parts of all agents together.

    Raises `ConfigurationError` where there is none, or the credentials of the only one aren't to be had.
    """
    if not tables:
        raise ConfigurationError("gws: is missing; `fbsessiond run` needs to know the platform's url and the agent")
    agents = Agents(watch, clock, chance)
    try:
        await agents.change(tables)
        yield agents
    finally:
        await agents.close()


def _together(name: str, counts: tuple[int, int], named: Sequence[Check], *, are_known: bool = True) -> Check:
    """Take several together: how many there are, and aren't well, and some of those by name."""
    count, bad = counts
    words = f"{count - bad} of {count}"
    if bad:
        troubles = "; ".join(f"{check.name.partition(' ')[2]}: {check.words}" for check in named)
        words += f"; not {troubles}{'; …' if bad > len(named) else ''}"
    return Check(name, are_known and bad < count, words)

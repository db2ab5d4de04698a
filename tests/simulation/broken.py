# pyright: reportPrivateUsage=false
"""Builds of the daemon that are broken on purpose: each shows that an oracle bites."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, TypeAlias

import pytest

from fbsessiond import lane, route, service
from fbsessiond.carrying import Carrying
from fbsessiond.cometd.rules import Conversation, Do, Step
from fbsessiond.configuration import Configuration
from fbsessiond.errors import JournalError
from fbsessiond.follow_up import Progress
from fbsessiond.intake import Intake
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import DeliveryState, Lease, Settlement
from fbsessiond.journal.sql import deliveries, entries, gaps, waiting
from fbsessiond.journal.sqlite import file
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.lane import Worker
from fbsessiond.message import Batch
from fbsessiond.reconciling import Reconciler
from fbsessiond.route import Route
from fbsessiond.signals import Asked
from simulation import disk
from simulation.outages import EVERYTHING

Break: TypeAlias = Callable[[pytest.MonkeyPatch], None]
"""Breaks the daemon, until the patch is undone."""


@dataclass(frozen=True)
class Broken:
    """What is broken, and the oracle that has to notice."""

    oracle: str
    apply: Break
    without: AbstractSet[str] = frozenset()
    """What need not go wrong for it to show."""


def acknowledging_early(patch: pytest.MonkeyPatch) -> None:
    """Ask the server for more before the batch is on disk."""
    take = Intake.take
    late: set[asyncio.Task[None]] = set()

    async def take_late(intake: Intake, batch: Batch, place: int | None) -> None:
        await asyncio.sleep(1)
        with suppress(JournalError):
            await take(intake, batch, place)

    async def take_early(intake: Intake, batch: Batch, place: int | None = None) -> Sequence[Any]:
        task = asyncio.create_task(take_late(intake, batch, place))
        late.add(task)
        task.add_done_callback(late.discard)
        return ()

    patch.setattr(Intake, "take", take_early)


def dispatching_early(patch: pytest.MonkeyPatch) -> None:
    """Hand out what isn't on disk: only every twentieth transaction is made durable."""
    numbers = count()
    commit = disk.Disk.commit

    def commit_seldom(self: disk.Disk, connection: sqlite3.Connection) -> Any:
        return commit(self, connection) if next(numbers) % 20 == 0 else None

    execute = disk._Connection.execute

    def execute_within(self: Any, statement: str, *parameters: Any) -> Any:
        if statement == "BEGIN IMMEDIATE" and self._connection.in_transaction:
            return None
        return execute(self, statement, *parameters)

    patch.setattr(disk.Disk, "commit", commit_seldom)
    patch.setattr(disk._Connection, "execute", execute_within)

    def stay(_self: file.Log, *, whole: bool = False) -> None:
        """Move nothing: in an open transaction that would fail."""
        del whole

    patch.setattr(file.Log, "move", stay)


def swallowing_disk_errors(patch: pytest.MonkeyPatch) -> None:
    """Go on when a commit failed."""
    commit = disk.Disk.commit

    def commit_anyway(self: disk.Disk, connection: sqlite3.Connection) -> Any:
        with suppress(sqlite3.OperationalError):
            return commit(self, connection)

    patch.setattr(disk.Disk, "commit", commit_anyway)


def repeating_in_doubt(patch: pytest.MonkeyPatch) -> None:
    """Repeat a follow-up without reading the session back."""

    async def clear_doubt(self: Carrying, progress: Progress) -> Progress:
        return self._again(progress, "in doubt")

    patch.setattr(Carrying, "_clear_doubt", clear_doubt)


def forgetting_gaps(patch: pytest.MonkeyPatch) -> None:
    """Begin a new chain without a gap before it."""
    patch.setitem(gaps._SQL, "add_gap", "SELECT ?, ?, ?, ?")


def inventing_gaps(patch: pytest.MonkeyPatch) -> None:
    """Begin a new CometD session now and then, though nothing is wrong with the old one."""
    connected = Conversation.connected
    numbers = count(1)

    def connected_or_not(self: Conversation, *arguments: Any) -> Step:
        step = connected(self, *arguments)
        return Step(Do.HANDSHAKE) if next(numbers) % 25 == 0 else step

    patch.setattr(Conversation, "connected", connected_or_not)


def skipping_numbers(patch: pytest.MonkeyPatch) -> None:
    """Leave a number out now and then."""
    append = SqliteJournal._append
    numbers = count(1)

    def append_further(self: SqliteJournal, *arguments: Any) -> None:
        self._last_seq += next(numbers) % 30 == 0
        append(self, *arguments)

    patch.setattr(SqliteJournal, "_append", append_further)


def altering(patch: pytest.MonkeyPatch) -> None:
    """Keep a notification in other words."""
    entry_row = entries.entry_row

    def other_row(*arguments: Any) -> Any:
        *row, data, document, crc = entry_row(*arguments)
        return (*row, data + b" ", document, crc)

    patch.setattr(entries, "entry_row", other_row)


def overtaking(patch: pytest.MonkeyPatch) -> None:
    """Let a delivery overtake an earlier one of its session."""
    statement = deliveries._SQL["append"]
    at_once = statement.replace("CASE WHEN", "coalesce(CASE WHEN").replace("ELSE ? END", "END, ?)")
    patch.setitem(deliveries._SQL, "append", at_once)


def never_comparing(patch: pytest.MonkeyPatch) -> None:
    """Never read the agent's list."""

    async def run(_: Reconciler) -> None:
        await asyncio.Event().wait()

    patch.setattr(Reconciler, "run", run)


def hesitating(patch: pytest.MonkeyPatch) -> None:
    """Let a server alone for two minutes when it didn't answer."""

    def pause_seconds(_: Conversation, __: float) -> float:
        return 120.0

    patch.setattr(Conversation, "_pause_seconds", pause_seconds)


def never_waiting(patch: pytest.MonkeyPatch) -> None:
    """Take in more though the disk is full."""

    async def go_on(_: Intake) -> None:
        return

    patch.setattr(Intake, "wait_for_room", go_on)


def counting_interruptions(patch: pytest.MonkeyPatch) -> None:
    """Let an interruption cost an attempt."""

    async def release(self: SqliteJournal, leases: Sequence[Lease], now: datetime) -> None:
        due = DeliveryState.DUE
        await self.settle([Settlement(lease, due, lease.attempts + 1, due_at=now) for lease in leases], now)

    patch.setattr(SqliteJournal, "release", release)


def letting_go(patch: pytest.MonkeyPatch) -> None:
    """Hand back what runs without a word to it."""

    async def stop(self: Worker[Any, Any]) -> None:
        await self.lane.release([hold.lease for hold in self._holds.values()], self._clock.now())

    patch.setattr(Worker, "stop", stop)


def waiting_for_all(patch: pytest.MonkeyPatch) -> None:
    """Stop when everything has come to its end by itself."""
    patch.setattr(lane, "FINISH_SECONDS", 3600.0)


def ending_at_a_mistake(patch: pytest.MonkeyPatch) -> None:
    """End where a configuration is refused."""

    def refuse(_: Asked, error: Exception) -> None:
        raise error

    patch.setattr(Asked, "_refuse", refuse)


def staying_as_it_is(patch: pytest.MonkeyPatch) -> None:
    """Begin anew with the configuration of the start, whatever is asked for."""
    run_with = service._run_with
    first: dict[Asked, Configuration] = {}

    async def run_as_before(configuration: Configuration, *rest: Any) -> None:
        (asked,) = (part for part in rest if isinstance(part, Asked))
        await run_with(first.setdefault(asked, configuration), *rest)

    patch.setattr(service, "_run_with", run_as_before)


def taking_in_as_before(patch: pytest.MonkeyPatch) -> None:
    """Ask the handlers that there were at first what they want."""
    begin = Intake.__init__
    first: dict[str, Sequence[Route]] = {}

    def begin_as_before(self: Intake, journal: Journal, routes: Sequence[Route], *rest: Any) -> None:
        begin(self, journal, first.setdefault(journal.identity, routes), *rest)

    patch.setattr(Intake, "__init__", begin_as_before)


def forgetting_to_withdraw(patch: pytest.MonkeyPatch) -> None:
    """Let clocks run on though their sessions left the state."""

    def end_none(*_: Any) -> set[str]:
        return set()

    patch.setattr(waiting, "_end_clocks", end_none)


def wanting_all(patch: pytest.MonkeyPatch) -> None:
    """Take every condition for true."""

    def holds(*_: Any) -> None:
        return None

    patch.setattr(route, "why_not", holds)


def never_holding_back(patch: pytest.MonkeyPatch) -> None:
    """Forget each throttle at once."""
    throttled = waiting._throttled

    def throttled_alone(connection: sqlite3.Connection, *rest: Any) -> None:
        connection.execute("DELETE FROM throttles")
        throttled(connection, *rest)

    patch.setattr(waiting, "_throttled", throttled_alone)


ENDING = EVERYTHING - {"disk full", "slow answers", "drained"}
RELOADING = EVERYTHING - {"disk full", "slow answers", "reloaded"}

BROKEN: Mapping[str, Broken] = {
    "acknowledges before the commit": Broken("acknowledged", acknowledging_early),
    "hands out before the commit": Broken("deliveries", dispatching_early),
    "swallows a failed commit": Broken("honesty", swallowing_disk_errors),
    "repeats without reading back": Broken("effects", repeating_in_doubt),
    "forgets gaps": Broken("conservation", forgetting_gaps),
    "invents gaps": Broken("gaps", inventing_gaps),
    "skips numbers": Broken("wholeness", skipping_numbers),
    "alters what came": Broken("conservation", altering),
    "lets deliveries overtake": Broken("deliveries", overtaking),
    "never compares": Broken("truth", never_comparing),
    "hesitates": Broken("freshness", hesitating),
    "never waits for room": Broken("reserve", never_waiting, EVERYTHING - {"disk full", "reloaded"}),
    "counts interruptions": Broken("attempts", counting_interruptions, ENDING),
    "lets go of what runs": Broken("once", letting_go, ENDING),
    "waits for all": Broken("stopping", waiting_for_all, ENDING),
    "ends at a mistake": Broken("reloading", ending_at_a_mistake, RELOADING),
    "stays as it is": Broken("reloading", staying_as_it_is, RELOADING),
    "forgets to withdraw clocks": Broken("clocks", forgetting_to_withdraw),
    "wants all": Broken("clocks", wanting_all),
    "never holds back": Broken("throttles", never_holding_back),
    "takes in as before": Broken("configured", taking_in_as_before, RELOADING),
}

"""A fixed workload on a journal's file, with a line for all that is on disk: what crashes are tried on.

`python -m crashes.workload '{"journal": "…", "batches": 40}'` does with the daemon's own intake, dispatch and journal
what a daemon does: it takes batches, settles deliveries, carries follow-ups out, closes gaps, forgets what is old. What
it takes is a function of the seed and the batch's number, and that number is in the journal as the source's position:
another process goes on where the last one came to, and `crashes.oracle` knows what has to be there.
"""

import asyncio
import json
import os
import random  # noqa: TID251  content that can be repeated
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fbsessiond.chance import SeededChance
from fbsessiond.conditions import Condition
from fbsessiond.dispatch import Dispatch
from fbsessiond.errors import JournalError
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.gap import Proof
from fbsessiond.handler import Delivery, Done, Handler, Outcome
from fbsessiond.intake import Intake
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import Draft, FollowUpLease, Misfit, Settlement
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.operations import Operation
from fbsessiond.route import Route
from fbsessiond.testing import EPOCH

AGENT: Final = "agent1"
CHANNEL: Final = "/v2/me/facebooksession"
STATES: Final = ("Invited", "Chatting", "LeftChat", "Completed")
SESSIONS: Final = 7
"""How many are under way at a time."""

LEFT: Final = "LeftChat"
CLOSING: Final = "close"
NOTING: Final = "note"
STEPS: Final = (Operation.add_comment, Operation.complete)
"""What `close` asks for when a customer has left."""

LONG_NOTE: Final = 12_000
MISFIT_EVERY: Final = 7
CHAIN_BATCHES: Final = 10
"""A chain of proofs holds for so many batches; then comes a gap."""

PRUNE_EVERY: Final = 8
RETAINED_BATCHES: Final = 30
FAILED_STATUS: Final = 74
"""The exit status of what stops since its journal failed, as the daemon's."""

TESTS = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Task:
    """What to do, and to which journal."""

    journal: str
    batches: int
    """Up to which batch."""
    seed: int = 1
    checkpoint_pages: int = 1000
    """After about so many pages the write-ahead log goes into the file: as it is by default, or fewer, so that it
    happens."""
    synchronous: str = "FULL"
    """As the daemon has it; less is for seeing that a power cut finds it."""

    @property
    def command(self) -> list[str]:
        """The command line that does it."""
        return [sys.executable, "-m", "crashes.workload", json.dumps(asdict(self))]


# What there is to take: functions of the seed and a number.


@dataclass(frozen=True, slots=True)
class Notified:
    """A notification, and what the journal has to make of it."""

    session: str
    before: str | None
    after: str
    text: bytes


def notified(seed: int, number: int) -> Notified:
    """Return the notification with a number, from 1: also the number of its entry."""
    life, step = divmod(number - 1, SESSIONS * len(STATES))
    age, place = divmod(step, SESSIONS)
    session = f"S{life * SESSIONS + place}"
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  content that can be repeated
    length = LONG_NOTE if number % 23 == 0 else chance.randrange(1500)
    note = "".join(chance.choices("abcdefgh Zoë\u2028", k=length))
    before = STATES[age - 1] if age else None
    shown = {"id": session, "state": STATES[age], "userData": {"Number": number, "Note": note}}
    text = json.dumps({"messageType": "FacebooksessionStateChangeMessage", "facebooksession": shown}).encode()
    return Notified(session, before, STATES[age], text)


def last_number(batch: int) -> int:
    """Return the number of the last notification that is in the batches up to one: they have 2, 3, 4, 5, 1, 2, …."""
    cycles, rest = divmod(batch, 5)
    return cycles * 15 + sum((2, 3, 4, 5)[:rest])


def misfits(seed: int, batch: int) -> Sequence[bytes]:
    """Return the messages of a batch that don't validate."""
    return [] if batch % MISFIT_EVERY else [b'{"seed":%d,"batch":%d' % (seed, batch)]


def time_of(batch: int) -> datetime:
    """Return when a batch arrives."""
    return EPOCH + timedelta(seconds=batch)


def gap_bounds(batches: int) -> Iterator[tuple[datetime, datetime]]:
    """Yield the gaps up to a batch: each chain begins when its first batch arrives, and the last one's end is known."""
    for batch in range(1, batches + 1):
        if batch == 1 or batch % CHAIN_BATCHES == 0:
            yield time_of(batch - 1), time_of(batch)


def make_batch(seed: int, number: int) -> Batch:
    """Return a batch."""
    numbers = range(last_number(number - 1) + 1, last_number(number) + 1)
    messages = [
        *(Message(b"", CHANNEL, notified(seed, each).text) for each in numbers),
        *(Message(raw, CHANNEL, None) for raw in misfits(seed, number)),
    ]
    chain = number // CHAIN_BATCHES
    since = time_of(max(chain * CHAIN_BATCHES, 1))
    proof = Proof(f"chain {chain}", since, time_of(number), b"%d" % number)
    return Batch(AGENT, Origin.LIVE, time_of(number), tuple(messages), proof)


# What is done with it.


class Note(Handler):
    """A handler that asks for nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:  # noqa: ARG002  there is nothing to note here
        """Be done."""
        return Done()


class Close(Handler):
    """A handler that asks for follow-ups."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Ask for a comment, and then to complete the session."""
        session = delivery.transition.session.id
        return Done(Operation.add_comment(session, f"closed by {delivery.id}"), Operation.complete(session))


ROUTES: Final = (Route(NOTING, Note()), Route(CLOSING, Close(), [Condition(to=(LEFT,))]))


@dataclass
class BatchClock:
    """A clock that shows when the last batch arrived."""

    batch: int = 0

    def now(self) -> datetime:
        """Return that time."""
        return time_of(self.batch)

    def monotonic(self) -> float:
        """Return it in seconds."""
        return float(self.batch)

    def stepped(self) -> timedelta:
        """Nobody sets it."""
        return timedelta()


class ReportingJournal(SqliteJournal):
    """The journal, and a line for each thing as soon as the journal says that it is on disk."""

    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        """Append, and say which batch it was."""
        first_seq = await super().append(batch, drafts, misfits)
        assert isinstance(batch.proof, Proof)
        report("batch", (batch.proof.position or b"").decode())
        return first_seq

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> None:
        """Settle, and say which deliveries these were."""
        await super().settle(settlements, now)
        for settlement in settlements:
            report("settled", settlement.lease.id)

    async def record_follow_up(self, lease: FollowUpLease, progress: Progress, now: datetime) -> None:
        """Record, and say how far the follow-up has come."""
        await super().record_follow_up(lease, progress, now)
        report("follow-up", lease.id, progress.state)


def report(*words: str) -> None:
    """Write a line that whoever waits for it has at once, also if this process doesn't live any longer."""
    os.write(1, (" ".join(words) + "\n").encode())


async def work(task: Task) -> None:
    """Take the batches that the journal hasn't got yet, and do all that follows."""
    clock = BatchClock()
    journal = ReportingJournal(Path(task.journal), clock.now())
    journal.connection.execute(f"PRAGMA synchronous = {task.synchronous}")
    journal.log.most_bytes = task.checkpoint_pages * 4096
    dispatch = Dispatch(journal, ROUTES, clock, SeededChance(1))
    parts: list[asyncio.Task[None]] = []
    try:
        watched = await journal.watch(AGENT, clock.now())
        clock.batch = int(watched.position or b"0")  # before anything is leased: leases end by this clock
        report("open", str(clock.batch))
        parts += (asyncio.create_task(part) for part in (take_all(task, journal, dispatch, clock), dispatch.run()))
        first, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        first.pop().result()
    except JournalError as error:
        report("failed", str(error))
        await try_again(journal, task.seed, clock.batch + 1)
        sys.exit(FAILED_STATUS)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        journal.close()


async def take_all(task: Task, journal: Journal, dispatch: Dispatch, clock: BatchClock) -> None:
    """Take one batch after the other, and do all that follows from each before the next."""
    intake = Intake(journal, ROUTES, clock)
    await settle_all(journal, dispatch, clock)
    while clock.batch < task.batches:
        clock.batch += 1
        await intake.take(make_batch(task.seed, clock.batch))
        await settle_all(journal, dispatch, clock)
        await keep_house(journal, clock)
    report("done")


async def settle_all(journal: Journal, dispatch: Dispatch, clock: BatchClock) -> None:
    """Run handlers for all that is due, and carry out what they ask for."""
    await dispatch.drain()
    while leases := await journal.lease_follow_ups(8, clock.now(), clock.now() + timedelta(minutes=1)):
        await asyncio.gather(*(carry_out(journal, lease, clock.now()) for lease in leases))


async def carry_out(journal: Journal, lease: FollowUpLease, now: datetime) -> None:
    """Take a follow-up from where it is to its end, each step on disk before the next."""
    states = (FollowUpState.SENT, FollowUpState.ACCEPTED, FollowUpState.CONFIRMED)
    reached = lease.progress.state
    for state in states[states.index(reached) + 1 if reached in states else 0 :]:
        await journal.record_follow_up(lease, Progress(state, 1, now, lease.seq), now)


async def keep_house(journal: Journal, clock: BatchClock) -> None:
    """Forget what is old, and close gaps, now and then."""
    if clock.batch % PRUNE_EVERY == 0:
        await journal.agree(AGENT, clock.now())
        while await journal.prune(time_of(clock.batch - RETAINED_BATCHES), None):
            pass


async def try_again(journal: Journal, seed: int, number: int) -> None:
    """Show that a journal that has failed refuses everything."""
    try:
        await journal.append(make_batch(seed, number), (), ())
    except JournalError:
        report("refused")


def begin(task: Task) -> int:
    """Do a task; return the status with which a process ends that did."""
    try:
        asyncio.run(work(task))
    except JournalError as error:  # it couldn't even be opened
        report("failed", str(error))
        return FAILED_STATUS
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def main(arguments: Iterable[str]) -> int:
    """Do what the one argument says."""
    (text,) = arguments
    given: dict[str, Any] = json.loads(text)
    return begin(Task(**given))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

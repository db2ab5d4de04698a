"""From the journal to handlers, and back: lease what is due, run the handler, settle how it ended.

Intake and dispatch share the journal and nothing else. Each handler has a worker of its own, so that one that hangs
holds up neither intake nor another handler; within it, sessions run side by side up to the handler's concurrency, and
one session's deliveries one after the other (the journal hands out only the first).
"""

import asyncio
import contextlib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from fbsessiond import limits
from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.errors import DiskError
from fbsessiond.handler import Defer, Delivery, Done, Outcome, Reject
from fbsessiond.journal.documents import document_of
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import DeliveryState, Lease, Settlement
from fbsessiond.route import Route
from fbsessiond.session import session_from
from fbsessiond.transition import Transition

log = structlog.get_logger(__name__)

LEASE_SLACK = timedelta(seconds=30)
"""How much longer than its time-out a delivery is leased."""

FINISH_SECONDS = 5.0
"""How long what runs may go on when the daemon stops."""

CANCEL_SECONDS = 5.0
"""How long a cancelled handler may take to clean up before the log says that it doesn't stop."""

LONGEST_BACKOFF = timedelta(hours=1)

POLL_SECONDS = 1.0
"""How often a worker looks for what nothing in this process announced: a person's retry, another daemon's work."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended, in the journal's words."""

    state: DeliveryState
    failed: bool = False
    because: str | None = None
    pause: timedelta | None = None


class Dispatch:
    """Runs the handlers of all routes until it is cancelled."""

    def __init__(self, journal: Journal, routes: Sequence[Route], clock: Clock, chance: Chance) -> None:
        self._workers = [Worker(journal, route, clock, chance) for route in routes]

    async def run(self) -> None:
        """Carry out deliveries until cancelled; then hand back what runs, which costs it no attempt."""
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.run(), name=f"dispatch {worker.route.name}")

    async def drain(self) -> None:
        """Return when nothing is due any more and nothing runs."""
        for worker in self._workers:
            await worker.drain()


class Worker:
    """Carries out one handler's deliveries."""

    def __init__(self, journal: Journal, route: Route, clock: Clock, chance: Chance) -> None:
        self.route = route
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._running: dict[asyncio.Task[None], Lease] = {}
        self._is_leasing = False
        self._failure: BaseException | None = None
        self._wake = journal.wakes(route.name)

    async def run(self) -> None:
        """Lease and start what is due, then wait for the next reason to look. Raises `JournalError`."""
        try:
            while True:
                self._wake.clear()
                self._raise_failure()
                due_at = await self._journal.next_due(self.route.name)
                if self._has_room() and due_at is not None and due_at <= self._clock.now():
                    await self._start_due()
                else:
                    await self._rest(due_at)
        finally:
            await self._hand_back()

    async def drain(self) -> None:
        """Return when nothing is due any more and nothing runs."""
        while True:
            due_at = await self._journal.next_due(self.route.name)
            if not self._is_leasing and not self._running and (due_at is None or due_at > self._clock.now()):
                return
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED) if self._running else None
            await asyncio.sleep(0)

    def _has_room(self) -> bool:
        return len(self._running) < self.route.delivery.concurrency

    async def _start_due(self) -> None:
        """Start as many deliveries as are due and as there is room for."""
        room = self.route.delivery.concurrency - len(self._running)
        now = self._clock.now()
        self._is_leasing = True
        leases = await self._journal.lease(self.route.name, room, now, now + self.route.delivery.timeout + LEASE_SLACK)
        self._is_leasing = False
        for lease in leases:
            task = asyncio.create_task(self._carry_out(lease), name=f"delivery {self._id(lease)}")
            self._running[task] = lease
            task.add_done_callback(self._ended)

    async def _rest(self, due_at: datetime | None) -> None:
        """Wait until something may be due: an announcement, a clock, or the next poll."""
        pause = POLL_SECONDS
        if due_at is not None and self._has_room():
            pause = min(pause, max(0.0, (due_at - self._clock.now()).total_seconds()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
        self._wake.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _hand_back(self) -> None:
        """Let what runs finish, cancel it after a while, and make what was interrupted due again."""
        running = dict(self._running)
        if running:
            _, late = await asyncio.wait(running, timeout=FINISH_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2 * CANCEL_SECONDS)
        interrupted = [lease for task, lease in running.items() if not task.done() or task.cancelled()]
        if interrupted:
            await self._journal.release(interrupted, self._clock.now())
            log.info("deliveries.handed_back", handler=self.route.name, count=len(interrupted))

    async def _carry_out(self, lease: Lease) -> None:
        verdict = await self._attempt(lease)
        now = self._clock.now()
        attempts = lease.attempts + (verdict.failed or verdict.state is not DeliveryState.DUE)
        due_at = None
        if verdict.state is DeliveryState.DUE:
            due_at = now + (verdict.pause or self._backoff(attempts))
            if verdict.failed and attempts >= self.route.delivery.attempts:
                verdict = Verdict(DeliveryState.DEAD, failed=True, because=verdict.because)
        await self._journal.settle([Settlement(lease, verdict.state, attempts, verdict.because, due_at)], now)
        self._say(lease, verdict, attempts, due_at)

    async def _attempt(self, lease: Lease) -> Verdict:
        """Run the handler once, within its time-out. Whatever it does ends as a verdict."""
        seconds = self.route.delivery.timeout.total_seconds()
        handling = asyncio.create_task(self._handle(lease), name=f"handler {self.route.name}")
        try:
            done, _ = await asyncio.wait({handling}, timeout=seconds)
        except asyncio.CancelledError:
            handling.cancel()
            await asyncio.wait({handling}, timeout=CANCEL_SECONDS)
            raise
        if done:
            return self._verdict(handling)
        await self._stop(handling, lease)
        return Verdict(DeliveryState.DUE, failed=True, because=f"took longer than {seconds:g} s")

    async def _handle(self, lease: Lease) -> Outcome:
        try:
            return await self.route.handler.handle(self._delivery(lease))
        except SystemExit as error:
            raise RuntimeError("the handler called sys.exit(), which ends nothing here") from error

    async def _stop(self, handling: asyncio.Task[Outcome], lease: Lease) -> None:
        """Cancel a handler that takes too long, and wait until it has stopped: its session's next delivery has to."""
        handling.cancel()
        while not (await asyncio.wait({handling}, timeout=CANCEL_SECONDS))[0]:
            log.error("handler.does_not_stop", handler=self.route.name, delivery=self._id(lease))

    def _verdict(self, handling: asyncio.Task[Outcome]) -> Verdict:
        if handling.cancelled():
            return Verdict(DeliveryState.DUE, failed=True, because="the handler cancelled itself")
        if isinstance(error := handling.exception(), DiskError):
            raise error
        if error is not None:
            return Verdict(DeliveryState.DUE, failed=True, because=_describe(error))
        outcome: object = handling.result()  # a handler without type checks returns anything
        match outcome:
            case Done():
                return Verdict(DeliveryState.DELIVERED)
            case Defer(pause=pause):
                return Verdict(DeliveryState.DUE, because="deferred by the handler", pause=max(pause, timedelta(0)))
            case Reject(reason=reason):
                return Verdict(
                    DeliveryState.DEAD, because=f"rejected by the handler\n{reason}"[: limits.PROBLEM_CHARACTERS]
                )
            case _:
                because = f"handle() returned {type(outcome).__name__}; it returns Done(…), Defer(…) or Reject(…)"
                return Verdict(DeliveryState.DUE, failed=True, because=because)

    def _delivery(self, lease: Lease) -> Delivery:
        entry = lease.entry
        late = max(timedelta(0), self._clock.now() - lease.due_at)
        transition = Transition(
            seq=entry.seq,
            at=entry.received_at,
            origin=entry.origin,
            agent=entry.agent,
            session=session_from(document_of(entry), entry.agent),
            before=entry.before,
            after=entry.after or "",
            notification=msgspec.json.decode(entry.notification),
        )
        key = f"{self._journal.identity}/{self._id(lease)}"
        return Delivery(self._id(lease), key, self.route.name, lease.attempts + 1, lease.due_at, late, transition)

    def _id(self, lease: Lease) -> str:
        return f"{lease.entry.seq}/{self.route.name}"

    def _backoff(self, failures: int) -> timedelta:
        """Return a pause of full jitter: anything up to a limit that doubles with each failure."""
        longest = min(LONGEST_BACKOFF, self.route.delivery.backoff * 2 ** min(failures - 1, 20))
        return timedelta(seconds=self._chance.between(0, longest.total_seconds()))

    def _say(self, lease: Lease, verdict: Verdict, attempts: int, due_at: datetime | None) -> None:
        if verdict.state is DeliveryState.DELIVERED:
            return
        fields = {"handler": self.route.name, "delivery": self._id(lease), "session": lease.entry.session}
        because = (verdict.because or "").partition("\n")[0]
        if verdict.state is DeliveryState.DEAD:
            log.error("delivery.dead", **fields, attempts=attempts, because=because)
        elif verdict.failed:
            log.warning("delivery.failed", **fields, attempts=attempts, because=because, again_at=str(due_at))


def _describe(error: BaseException) -> str:
    """Say which error and where on the first line, which may be logged, and its text, which may not, on the next."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}\n{error}"[: limits.PROBLEM_CHARACTERS]

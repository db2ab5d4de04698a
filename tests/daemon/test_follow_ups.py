"""The lane of follow-ups: from the journal to the simulated GWS and back, on virtual time."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import PrivateAttr
from structlog.testing import capture_logs

from daemon.journal.suite.follow_ups import ask, lease_follow_ups
from fbsessiond import Defer, Delivery, DiskError, Done, Handler, Operation, Outcome, Reject, Webhook
from fbsessiond.chance import SeededChance
from fbsessiond.dispatch import Dispatch
from fbsessiond.errors import RefusedError
from fbsessiond.events import Event, FollowUpBegan, FollowUpPaused
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.follow_ups import LEASE_SLACK, REFUSED_PAUSE, CapturingLane, FollowUpLane, FollowUpSettings
from fbsessiond.gws.access import Access, Basic
from fbsessiond.gws.rest import REFUSAL_SECONDS, Rest
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.testing import EPOCH, VirtualClock
from floor import AGENT, PATIENCE, WRAP_UP, Asking, Floor, asking, floor
from journal_parts import retry
from virtual_network import networked

CONFIRMED = FollowUpState.CONFIRMED
WRITTEN = "my number is 555-1234"
"""What is in a parameter: it must not be logged."""


def switch(here: Floor, **faults: Any) -> None:
    """Switch faults on, in place of those that were."""
    here.simulator.faults.switch(FaultTable.model_validate(faults))


def comments(*texts: str) -> Callable[[Delivery], Sequence[Operation]]:
    """Ask for comments on the session."""
    return lambda delivery: [Operation.add_comment(delivery.transition.session, text) for text in texts]


def dispatch_of(journal: Journal, lane: FollowUpLane) -> Dispatch:
    """Return a dispatch of follow-ups alone."""
    return Dispatch(journal, (), VirtualClock(), SeededChance(1), lane)


async def carry_out_all(journal: Journal, lane: FollowUpLane) -> None:
    """Carry out what is due, and stop."""
    dispatch = dispatch_of(journal, lane)
    running = asyncio.create_task(dispatch.run())
    await dispatch.drain()
    running.cancel()
    await asyncio.wait([running])


@networked
async def test_side_by_side() -> None:
    """Sessions run side by side, and of one session one follow-up at a time."""
    async with floor(WRAP_UP) as here:
        sessions = [await here.chat(), await here.chat()]
        switch(here, slow={"on": ["operations"], "pause": "10s"})
        await asyncio.gather(*(here.rest.operate(Operation.leave(session)) for session in sessions))
        most = 0

        def have_ended() -> bool:
            nonlocal most
            running = [sum(one.is_running for one in here.follow_ups(session)) for session in sessions]
            assert max(running) <= 1
            most = max(most, sum(running))
            return all(here.states(session) == [CONFIRMED] * 2 for session in sessions)

        await here.until(have_ended)
        assert most == 2


@networked
async def test_steps_after_a_failure() -> None:
    """A step that fails withdraws those after it, which are never sent; the log says what a person needs to know."""
    twice = asking("twice", "LeftChat", lambda delivery: _of(delivery, Operation.send_message))
    with capture_logs() as logged:
        async with floor(twice) as here:
            session = await here.chat()
            await here.rest.operate(Operation.leave(session))
            failed, withdrawn = await here.settled(session, 2)
            assert here.simulator.platform.count(session, "Complete") == 0
    assert [failed.progress.state, withdrawn.progress.state] == [FollowUpState.FAILED, FollowUpState.WITHDRAWN]
    (line,) = [each for each in logged if each["event"] == "follow_up.failed"]
    assert line == {
        "event": "follow_up.failed",
        "follow_up": failed.id,
        "operation": "SendMessage",
        "session": session,
        "attempts": 0,
        "because": "not sent: in LeftChat the session doesn't allow SendMessage",
        "log_level": "error",
    }


def _of(delivery: Delivery, first: Callable[[str, str], Operation]) -> Sequence[Operation]:
    session = delivery.transition.session.id
    return [first(session, WRITTEN), Operation.complete(session)]


@networked
async def test_tried_again() -> None:
    """What didn't happen is tried again after a pause."""
    async with floor(asking("note", "LeftChat", comments("seen"))) as here:
        session = await here.chat()
        await here.rest.operate(Operation.leave(session))
        switch(here, **{"5xx": {"count": 2, "on": ["operations"]}})
        with capture_logs() as logged:
            (ended,) = await here.settled(session)
        assert (ended.progress.state, ended.progress.attempts) == (CONFIRMED, 3)
        told = [
            (each["event"].partition(".")[2], each["attempts"], each["log_level"])
            for each in logged
            if each["event"].startswith("follow_up.")
        ]
        assert told == [("again", 1, "warning"), ("again", 2, "warning"), ("confirmed", 3, "info")]
        assert here.simulator.platform.count(session, "AddComment") == 1


@networked
async def test_refused_credentials() -> None:
    """Refused credentials end the dispatch, and reach its caller; the follow-up stays intended, and isn't in doubt.

    As they were good before, they are tried again for a minute.
    """
    patient = FollowUpSettings(replace(PATIENCE, attempts=1_000), timedelta(seconds=1))
    async with floor(asking("note", "LeftChat", comments("seen")), settings=patient) as here:
        session = await here.chat()
        await here.rest.operate(Operation.leave(session))
        switch(here, **{"403": {"on": ["operations", "reads"]}})
        dispatching = here.daemon.tasks[1]
        began = VirtualClock().monotonic()
        await asyncio.wait([dispatching], timeout=7200)
        assert VirtualClock().monotonic() - began > REFUSAL_SECONDS
        assert isinstance(dispatching.exception(), RefusedError)
        (left,) = here.follow_ups(session)
        assert (left.progress.state, left.is_running) == (FollowUpState.INTENDED, False)


@pytest.mark.parametrize("fault", [{"lose": {"count": 1}}, {"ignore": {"count": 1}}], ids=["done", "not done"])
@networked
async def test_stop_in_the_middle(tmp_path: Path, fault: dict[str, Any]) -> None:
    """A stop hands back what runs with its progress; the next daemon goes on, and it takes effect once."""
    url, parts = "sqlite:journal.db", list[Floor]()

    def ask_with_fault(delivery: Delivery) -> Sequence[Operation]:
        switch(parts[0], **fault)
        return comments("seen")(delivery)

    first = open_journal(url, tmp_path, EPOCH)
    async with floor(asking("note", "LeftChat", ask_with_fault), journal=first) as here:
        parts.append(here)
        session = await here.chat()
        await here.rest.operate(Operation.leave(session))
        await here.until(lambda: here.states(session) == [FollowUpState.ACCEPTED])
        for task in here.daemon.tasks:
            task.cancel()
        await asyncio.wait(here.daemon.tasks)
        (left,) = here.follow_ups(session)
        assert (left.progress.state, left.progress.attempts, left.is_running) == (FollowUpState.ACCEPTED, 1, False)
        first.close()
        again = open_journal(url, tmp_path, VirtualClock().now())
        lane = FollowUpLane(again, {AGENT: here.rest}, VirtualClock(), SeededChance(1), FollowUpSettings(PATIENCE))
        running = asyncio.create_task(dispatch_of(again, lane).run())
        await here.until(lambda: not next(again.reader().follow_ups()).progress.state.is_open)
        running.cancel()
        await asyncio.wait([running])
        (ended,) = again.reader().follow_ups()
        is_done = "lose" in fault
        assert (ended.progress.state, ended.progress.attempts) == (FollowUpState.OBSERVED, 1 if is_done else 2)
        assert here.simulator.platform.count(session, "AddComment") == 1
        again.close()


@networked
async def test_agent_gone() -> None:
    """A follow-up for an agent that isn't configured any more has failed, and says so; a person can try it again."""
    journal = SqliteJournal(MEMORY, EPOCH)
    await ask(journal, Operation.complete("S1"))
    with capture_logs() as logged:
        await carry_out_all(journal, FollowUpLane(journal, {}, VirtualClock(), SeededChance(1)))
    (failed,) = journal.reader().stuck_follow_ups()
    assert failed.progress == Progress(
        FollowUpState.FAILED, because="the configuration has no agent 'agent1' any more: without it nothing is sent"
    )
    assert [line["event"] for line in logged] == ["follow_up.failed"]
    assert retry(journal.reader(), failed, EPOCH)
    journal.close()


@networked
async def test_agent_that_cannot_sign_in() -> None:
    """One of an agent without credentials at the moment waits for them, and that is no attempt."""
    journal = SqliteJournal(MEMORY, EPOCH)
    await ask(journal, Operation.complete("S1"))
    lane = FollowUpLane(journal, {AGENT: None}, VirtualClock(), SeededChance(1))
    running = asyncio.create_task(dispatch_of(journal, lane).run())
    await asyncio.sleep(2 * REFUSED_PAUSE.total_seconds())
    (waiting,) = journal.reader().follow_ups()
    assert (waiting.progress.state, waiting.progress.attempts) == (FollowUpState.INTENDED, 0)
    assert waiting.progress.because == "GWS refuses the agent's credentials, or they can't be had"
    running.cancel()
    await asyncio.wait([running])
    journal.close()


@networked
async def test_refused_among_others() -> None:
    """Who bears that an agent is refused has its follow-up wait as it is, until GWS takes the credentials again."""
    journal = SqliteJournal(MEMORY, EPOCH)
    borne: list[str] = []

    def bear(agent: str, error: RefusedError) -> None:
        borne.append(f"{agent}: {type(error).__name__}")

    async with floor() as here:
        session = await here.chat()
        await ask(journal, Operation.leave(session))
        switch(here, **{"403": {"on": ["operations", "reads"]}})
        rests: dict[str, Rest | None] = {AGENT: here.rest}
        lane = FollowUpLane(journal, rests, VirtualClock(), SeededChance(1), bear=bear)
        running = asyncio.create_task(dispatch_of(journal, lane).run())
        await here.until(lambda: borne)
        assert borne == [f"{AGENT}: RefusedError"]
        switch(here, **{"403": None})
        async with Access(Basic(AGENT, "simulated")) as access:
            rests[AGENT] = Rest(here.simulator.url, access)
            await here.until(lambda: here.simulator.platform.count(session, "Leave") == 1)
            running.cancel()
            await asyncio.wait([running])
    journal.close()


@networked
async def test_unknown_operation() -> None:
    """An operation that another version wrote down is parked, with the reason, and holds nothing else up."""
    journal = SqliteJournal(MEMORY, EPOCH)
    await ask(journal, Operation.complete("S1"))
    await ask(journal, Operation.complete("S1"))
    journal.connection.execute("UPDATE follow_ups SET operation = 'Wave', attempts = 3 WHERE seq = 1")
    await carry_out_all(journal, FollowUpLane(journal, {}, VirtualClock(), SeededChance(1)))
    parked, other = journal.reader().stuck_follow_ups()
    assert (parked.progress.state, parked.progress.attempts) == (FollowUpState.PARKED, 3)
    assert (parked.progress.because or "").startswith("not sent by this version: there is no operation 'Wave'")
    assert other.progress.state is FollowUpState.FAILED
    journal.close()


@networked
async def test_captured() -> None:
    """What is captured is never sent: it has ended, for every daemon that opens this journal later, too."""
    journal = SqliteJournal(MEMORY, EPOCH)
    await ask(journal, Operation.set_disposition("S1", "resolved"), Operation.complete("S1"))
    with capture_logs() as logged:
        await carry_out_all(journal, CapturingLane(journal, VirtualClock(), SeededChance(1)))
    assert [one.progress for one in journal.reader().follow_ups()] == [Progress(FollowUpState.CAPTURED)] * 2
    assert await lease_follow_ups(journal) == []
    assert logged == []
    journal.close()


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        ({}, "confirmed"),
        ({"5xx": {"count": 1, "on": ["operations"]}}, "again"),
        ({"drop-request": {"count": 1, "on": ["operations"]}}, "again"),
        ({"lose": {"count": 1}}, "observed"),
        ({"ignore": {}}, "failed"),
    ],
)
@networked
async def test_parameters_in_no_log(caplog: pytest.LogCaptureFixture, fault: dict[str, Any], event: str) -> None:
    """No line of the log holds a parameter's value, whatever becomes of the follow-up."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logged:
        async with floor(asking("note", "LeftChat", comments(WRITTEN, f"{WRITTEN}!"))) as here:
            session = await here.chat()
            await here.rest.operate(Operation.leave(session))
            await here.until(lambda: here.states(session))
            switch(here, **fault)
            await here.settled(session, 2)
    assert f"follow_up.{event}" in {line["event"] for line in logged}
    assert WRITTEN not in repr(logged)
    assert WRITTEN not in caplog.text


class Posting(Handler):
    """A handler that posts what it is asked to, and answers in turn."""

    _answers: list[Outcome | Exception] = PrivateAttr(default_factory=list[Outcome | Exception])
    _posted: list[tuple[Webhook, str]] = PrivateAttr(default_factory=list[tuple[Webhook, str]])
    _at: list[datetime] = PrivateAttr(default_factory=list[datetime])

    @classmethod
    def answering(cls, *answers: Outcome | Exception) -> Self:
        """Return one that answers like this, and at last with `Done`."""
        handler = cls()
        handler._answers += answers
        return handler

    @property
    def posted(self) -> list[tuple[Webhook, str]]:
        """What was posted, with its keys."""
        return self._posted

    @property
    def pauses(self) -> list[timedelta]:
        """How long it was from each attempt to the next."""
        return [later - earlier for earlier, later in pairwise(self._at)]

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()

    async def post(self, webhook: Webhook, key: str, at: datetime) -> Outcome:
        """Post."""
        self._posted.append((webhook, key))
        self._at.append(at)
        answer = self._answers.pop(0) if self._answers else Done()
        if isinstance(answer, Exception):
            raise answer
        return answer


TOLD = Webhook("crm", "S1", {"case": 7})


async def posted(handler: Handler, *asked: Webhook | Operation) -> list[Progress]:
    """Carry follow-ups out with a handler named crm, and return how they ended."""
    journal = SqliteJournal(MEMORY, EPOCH)
    await ask(journal, *asked)
    settings = FollowUpSettings(PATIENCE)
    lane = FollowUpLane(journal, {}, VirtualClock(), SeededChance(1), settings, {"crm": handler})
    running = asyncio.create_task((dispatch := dispatch_of(journal, lane)).run())
    await asyncio.sleep(100)
    await dispatch.drain()
    running.cancel()
    await asyncio.wait([running])
    ended = [record.progress for record in journal.reader().follow_ups()]
    journal.close()
    return ended


@pytest.mark.parametrize(
    ("answers", "state", "attempts", "because"),
    [
        ([], CONFIRMED, 1, None),
        ([Defer(timedelta(seconds=3)), Done()], CONFIRMED, 1, None),
        ([ConnectionError("no"), ConnectionError("no"), Done()], CONFIRMED, 3, None),
        ([ConnectionError("no")] * PATIENCE.attempts, FollowUpState.FAILED, PATIENCE.attempts, "ConnectionError"),
        ([ConnectionError("no"), Defer(timedelta(0)), Done()], CONFIRMED, 2, None),
        ([Reject("410")], FollowUpState.FAILED, 1, "rejected by the handler\n410"),
        ([None, Done()], CONFIRMED, 2, None),
    ],
)
@networked
async def test_webhook(answers: list[Any], state: FollowUpState, attempts: int, because: str | None) -> None:
    """A webhook is posted by the handler that it names, again where that may help, each time with the same key."""
    handler = Posting.answering(*answers)
    (progress,) = await posted(handler, TOLD)
    assert (progress.state, progress.attempts, progress.because) == (state, attempts, because)
    assert [webhook for webhook, _ in handler.posted] == [TOLD] * max(1, len(answers))
    assert len({key for _, key in handler.posted}) == 1


@pytest.mark.parametrize(
    ("answer", "pause", "attempts", "because"),
    [
        (Defer(timedelta(seconds=3)), timedelta(seconds=3), 0, "deferred by the handler"),
        (Defer(timedelta(0)), timedelta(milliseconds=100), 0, "deferred by the handler"),
        (ConnectionError("no"), timedelta(milliseconds=10), 1, "ConnectionError"),
    ],
    ids=["deferred", "deferred at once", "failed"],
)
@networked
async def test_webhook_again(answer: Outcome | Exception, pause: timedelta, attempts: int, because: str) -> None:
    """A webhook is posted again after a pause, never at once; the log says why."""
    handler = Posting.answering(answer)
    with capture_logs() as logged:
        await posted(handler, TOLD)
    (waited,) = handler.pauses
    assert waited >= pause
    (line,) = [each for each in logged if each["event"] == "follow_up.again"]
    assert (line["attempts"], line["because"]) == (attempts, because)


@pytest.mark.parametrize(
    ("to", "because"),
    [
        ("cmr", "the configuration has no handler 'cmr': without it nothing is posted"),
        ("crm", "rejected by the handler\ncrm posts no webhooks: it is a Asking"),
    ],
)
@networked
async def test_webhook_to_nobody(to: str, because: str) -> None:
    """A webhook to a handler that isn't there, or that posts none, fails with the reason."""
    (progress,) = await posted(Asking(), Webhook(to, "S1"))
    assert (progress.state, progress.because) == (FollowUpState.FAILED, because)


@networked
async def test_keys_of_webhooks() -> None:
    """Each webhook has a key of its own, which begins with the journal's identity."""
    handler = Posting()
    await posted(handler, TOLD, replace(TOLD, data={"case": 8}))
    (first, second) = (key.split("/", 1) for _, key in handler.posted)
    assert first[0] == second[0]
    assert len(first[0]) == 32
    assert (first[1], second[1]) == ("1/wrap-up/1", "1/wrap-up/2")


async def test_lease(tmp_path: Path) -> None:
    """A follow-up is leased for longer than all its waiting together can take."""
    journal = SqliteJournal(tmp_path / "journal.db", EPOCH)
    await ask(journal, TOLD)
    lane = FollowUpLane(journal, {}, VirtualClock(), SeededChance(1), FollowUpSettings(PATIENCE))
    (leased,) = await lane.lease(1, EPOCH)
    assert leased.operation == TOLD
    assert await lane.next_due() == EPOCH + PATIENCE.confirmation + PATIENCE.settling + LEASE_SLACK
    journal.close()


@networked
async def test_webhook_after_a_failure() -> None:
    """A webhook waits for the steps before it, and is withdrawn where one doesn't succeed."""
    handler = Posting()
    failed, withdrawn = await posted(handler, Operation.complete("S1"), TOLD)
    assert (failed.state, withdrawn.state) == (FollowUpState.FAILED, FollowUpState.WITHDRAWN)
    assert handler.posted == []


@networked
async def test_webhook_and_a_failed_disk() -> None:
    """A disk that fails while a webhook is posted ends the dispatch, as it does in any handler."""
    journal = SqliteJournal(MEMORY, EPOCH)
    await ask(journal, TOLD)
    handler = Posting.answering(DiskError("the disk"))
    lane = FollowUpLane(journal, {}, VirtualClock(), SeededChance(1), handlers={"crm": handler})
    with pytest.raises(DiskError, match="the disk"):
        await dispatch_of(journal, lane).run()
    journal.close()


@networked
async def test_told() -> None:
    """Each time that a follow-up is carried on is told: when it begins, and where it is when that is on disk."""
    told: list[Event] = []
    clock = VirtualClock()
    await asyncio.sleep(1)
    journal = open_journal("sqlite::memory:", Path(), clock.now())
    await ask(journal, Operation.leave("S1"))
    lane = FollowUpLane(journal, {}, clock, SeededChance(1), observe=told.append)
    await carry_out_all(journal, lane)
    (began, paused) = told
    assert isinstance(began, FollowUpBegan)
    assert isinstance(paused, FollowUpPaused)
    assert began.lease == paused.lease
    assert (paused.lease.id, paused.progress.state, paused.seconds) == ("1/wrap-up/1", FollowUpState.FAILED, 0)
    journal.close()

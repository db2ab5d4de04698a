"""Carrying an operation out so that it takes effect once: against the simulated GWS and its faults, on virtual time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from fbsessiond import Operation
from fbsessiond.carrying import Carrying, Patience
from fbsessiond.errors import RefusedError, UnavailableError
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.journal_evidence import JournalEvidence
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.testing import VirtualClock
from floor import AGENT, PATIENCE, Floor, floor
from virtual_network import networked

CONFIRMED, OBSERVED, FAILED = FollowUpState.CONFIRMED, FollowUpState.OBSERVED, FollowUpState.FAILED
PARKED, UNCONFIRMED = FollowUpState.PARKED, FollowUpState.UNCONFIRMED


class Carried:
    """One operation, carried out step by step, with what was written down of it."""

    def __init__(self, here: Floor, operation: Operation, patience: Patience = PATIENCE) -> None:
        self._patience = patience
        self.recorded: list[Progress] = []
        self.operation = operation
        self._here = here

    async def go_on(self, progress: Progress | None = None) -> Progress:
        """Go on from where it was last written down, or from there."""
        carrying = Carrying(
            self.operation,
            self._here.rest,
            JournalEvidence(self._here.journal, AGENT, self.operation.session, VirtualClock()),
            clock=VirtualClock(),
            patience=self._patience,
            record=self._record,
            pause=lambda failures: timedelta(seconds=failures),
        )
        return await carrying.go_on(progress or Progress())

    async def to_the_end(self) -> Progress:
        """Go on, with the pauses it asks for, until it has ended."""
        progress = await self.go_on()
        while progress.state.is_open:
            assert progress.again_at is not None
            await asyncio.sleep((progress.again_at - VirtualClock().now()).total_seconds())
            progress = await self.go_on(progress)
        return progress

    async def _record(self, progress: Progress) -> None:
        self.recorded.append(progress)


def switch(here: Floor, **faults: Any) -> None:
    """Switch faults on, in place of those that were."""
    here.simulator.faults.switch(FaultTable.model_validate(faults))


@networked
async def test_way() -> None:
    """Intended, sent and accepted are written down before the next step; the notification confirms it."""
    async with floor() as here:
        carried = Carried(here, Operation.leave(await here.chat()))
        ended = await carried.go_on()
        assert [each.state for each in carried.recorded] == [FollowUpState.SENT, FollowUpState.ACCEPTED]
        assert ended.state is CONFIRMED
        assert ended.attempts == 1
        assert here.simulator.platform.count(carried.operation.session, "Leave") == 1


@networked
async def test_what_is_written_down() -> None:
    """What GWS took is written down with the time at which it did, and its notification is waited for from then on."""
    async with floor() as here:
        carried = Carried(here, Operation.leave(await here.chat()))
        switch(here, slow={"on": ["operations"], "pause": "4s", "count": 1})
        await carried.go_on()
        sent, accepted = carried.recorded
        assert sent.sent_at is not None
        assert accepted.sent_at is not None
        assert accepted.sent_at - sent.sent_at >= timedelta(seconds=4)


@networked
async def test_reference_is_written_down() -> None:
    """The reference that GWS answers with is written down: its notification can be told by it after a restart, too."""
    async with floor() as here:
        carried = Carried(here, Operation.transfer(await here.chat(), "/queues/2"))
        await carried.go_on()
        assert [each.reference_id is None for each in carried.recorded] == [True, False]


def test_patience() -> None:
    """Half a minute for a notification, five seconds for a doubt, ten attempts."""
    assert Patience() == Patience(confirmation=timedelta(seconds=30), settling=timedelta(seconds=5), attempts=10)


@networked
async def test_already_so() -> None:
    """What the session shows already isn't sent."""
    async with floor() as here:
        session = await here.chat()
        await Carried(here, Operation.add_comment(session, "seen")).go_on()
        ended = await Carried(here, Operation.add_comment(session, "seen")).go_on()
        assert (ended.state, ended.attempts) == (OBSERVED, 0)
        assert here.simulator.platform.count(session, "AddComment") == 1


@networked
async def test_capability_gone() -> None:
    """What the session doesn't allow any more isn't sent, and the reason names what is missing."""
    async with floor() as here:
        session = await here.chat()
        await Carried(here, Operation.leave(session)).go_on()
        ended = await Carried(here, Operation.send_message(session, "hello")).go_on()
        assert (ended.state, ended.attempts) == (FAILED, 0)
        assert ended.because == "not sent: in LeftChat the session doesn't allow SendMessage"


@networked
async def test_capabilities_not_known() -> None:
    """Where no notification has said yet what a session allows, GWS is asked: not known isn't none."""
    async with floor() as here:
        switch(here, lose={})
        session = await here.chat()
        switch(here, lose=None)
        publish(here, session, "StatusChange", 1)
        await asyncio.sleep(1)
        assert await here.journal.known(AGENT, session) == {"id": session, "state": "Chatting"}
        ended = await Carried(here, Operation.leave(session)).go_on()
        assert (ended.state, ended.attempts) == (CONFIRMED, 1)


@networked
async def test_unknown_session() -> None:
    """A session that isn't known is asked about by sending; GWS says that it isn't there."""
    async with floor() as here:
        ended = await Carried(here, Operation.add_comment("0002NOTTHERE", "x")).go_on()
        assert ended.state is FAILED
        assert "status code 6" in (ended.because or "")


@networked
async def test_gone_is_left() -> None:
    """Leaving a session that isn't there any more has happened already."""
    async with floor() as here:
        ended = await Carried(here, Operation.leave("0002NOTTHERE")).go_on()
        assert ended.state is OBSERVED


@networked
async def test_nothing_shows_it() -> None:
    """An operation of which nothing more shows is confirmed when GWS took it."""
    async with floor() as here:
        ended = await Carried(here, Operation.start_typing(await here.chat())).go_on()
        assert ended.state is CONFIRMED
        assert ended.because == "GWS took it; nothing more shows of it"


ALL: list[Callable[[str], Operation]] = [
    Operation.leave,
    lambda session: Operation.send_message(session, "How may I help you?"),
    lambda session: Operation.send_to_agents(session, "look"),
    lambda session: Operation.send_url(session, "https://example.com/"),
    lambda session: Operation.add_comment(session, "asks for a refund"),
    lambda session: Operation.set_disposition(session, "resolved", "DispositionCode"),
    Operation.set_in_focus,
    lambda session: Operation.attach_user_data(session, {"Case": 7}),
    lambda session: Operation.update_user_data(session, {"Case": 8}),
    lambda session: Operation.delete_user_data(session, ["Subject"]),
    Operation.complete,
]


@pytest.mark.parametrize("make", ALL)
@networked
async def test_every_operation(make: Callable[[str], Operation]) -> None:
    """Each operation takes effect once, and its own notification confirms it."""
    async with floor() as here:
        operation = make(await here.chat())
        ended = await Carried(here, operation).to_the_end()
        assert ended.state is CONFIRMED
        await here.until(lambda: here.simulator.platform.count(operation.session, operation.name) == 1)


@networked
async def test_answer_cut_off() -> None:
    """A connection that breaks after the request leaves a doubt; the notification clears it; nothing is repeated."""
    async with floor() as here:
        session = await here.chat()
        switch(here, drop={"count": 1, "on": ["operations"]})
        ended = await Carried(here, Operation.send_message(session, "hello")).to_the_end()
        assert ended.state is CONFIRMED
        assert here.simulator.platform.count(session, "SendMessage") == 1


@networked
async def test_answer_and_notification_lost() -> None:
    """Without answer and notification the session is read back: it shows what happened, and nothing is repeated."""
    async with floor() as here:
        session = await here.chat()
        switch(here, drop={"count": 1, "on": ["operations"]}, lose={"count": 1})
        ended = await Carried(here, Operation.leave(session)).to_the_end()
        assert (ended.state, ended.because) == (OBSERVED, "in doubt, and the session shows it")
        assert here.simulator.platform.count(session, "Leave") == 1


@networked
async def test_nothing_to_settle() -> None:
    """Without a time to settle, what is in doubt is read back at once."""
    async with floor() as here:
        session = await here.chat()
        switch(here, **{"drop-request": {"count": 1, "on": ["operations"]}})
        impatient = replace(PATIENCE, settling=timedelta(0))
        began = VirtualClock().monotonic()
        progress = await Carried(here, Operation.leave(session), impatient).go_on()
        assert progress.because == "in doubt, and the session shows that it didn't happen"
        assert (progress.state, VirtualClock().monotonic() - began < 1) == (FollowUpState.INTENDED, True)


@networked
async def test_request_lost() -> None:
    """A request that never arrived is in doubt, too: the session shows that it didn't happen, and it is sent again."""
    async with floor() as here:
        session = await here.chat()
        switch(here, **{"drop-request": {"count": 1, "on": ["operations"]}})
        ended = await Carried(here, Operation.leave(session)).to_the_end()
        assert (ended.state, ended.attempts) == (CONFIRMED, 2)
        assert here.simulator.platform.count(session, "Leave") == 1


@networked
async def test_parked() -> None:
    """In doubt, and without a way to tell, an operation is parked for a person: it is never sent twice."""
    async with floor() as here:
        session = await here.chat()
        switch(here, **{"drop-request": {"count": 1, "on": ["operations"]}})
        ended = await Carried(here, Operation.send_message(session, "hello")).to_the_end()
        assert ended.state is PARKED
        assert "nothing tells whether it was done" in (ended.because or "")
        assert "interrupted" not in (ended.because or "")
        assert here.simulator.platform.count(session, "SendMessage") == 0


@networked
async def test_interrupted() -> None:
    """What a crash left as sent is in doubt after it."""
    async with floor() as here:
        session = await here.chat()
        sent = Progress(FollowUpState.SENT, 1, VirtualClock().now(), here.journal.last_place())
        ended = await Carried(here, Operation.send_message(session, "hello")).go_on(sent)
        assert (ended.state, ended.because) == (
            PARKED,
            "interrupted before the answer; nothing tells whether it was done",
        )


@networked
async def test_interrupted_after_the_effect() -> None:
    """What happened before the crash is found in the notifications since it was sent, and isn't sent again."""
    async with floor() as here:
        session = await here.chat()
        carried = Carried(here, Operation.send_message(session, "hello"))
        await carried.go_on()
        ended = await carried.go_on(carried.recorded[0])
        assert ended.state is CONFIRMED
        assert here.simulator.platform.count(session, "SendMessage") == 1


@networked
async def test_accepted_and_nothing_happens() -> None:
    """GWS takes it and does nothing: the session shows that, and it is sent again, until the attempts are used up."""
    async with floor() as here:
        session = await here.chat()
        switch(here, ignore={})
        ended = await Carried(here, Operation.leave(session)).to_the_end()
        assert (ended.state, ended.attempts) == (FAILED, PATIENCE.attempts)
        assert ended.because == "GWS took it, and the session shows that it didn't happen"


@networked
async def test_accepted_and_nothing_can_tell() -> None:
    """GWS takes it, no notification comes, and no session can tell: unconfirmed, and not sent again."""
    async with floor() as here:
        session = await here.chat()
        switch(here, lose={"count": 1})
        ended = await Carried(here, Operation.send_message(session, "hello")).to_the_end()
        assert (ended.state, ended.attempts) == (UNCONFIRMED, 1)
        assert here.simulator.platform.count(session, "SendMessage") == 1


@networked
async def test_accepted_long_ago() -> None:
    """What GWS took before a restart isn't waited for as long again."""
    async with floor() as here:
        session = await here.chat()
        now = VirtualClock().now()
        accepted = Progress(FollowUpState.ACCEPTED, 1, now, here.journal.last_place(), again_at=now)
        await asyncio.sleep(PATIENCE.confirmation.total_seconds() - 1)
        began = VirtualClock().monotonic()
        ended = await Carried(here, Operation.send_message(session, "hello")).go_on(accepted)
        assert (ended.state, ended.again_at) == (UNCONFIRMED, None)
        assert 0.9 < VirtualClock().monotonic() - began < 2


@networked
async def test_notification_lost() -> None:
    """GWS takes it and the notification is lost: the session shows it."""
    async with floor() as here:
        session = await here.chat()
        switch(here, lose={"count": 1})
        ended = await Carried(here, Operation.leave(session)).to_the_end()
        assert (ended.state, ended.because) == (OBSERVED, "no notification, but the session shows it")


@networked
async def test_server_errors() -> None:
    """A status code that says "not now" is tried again after a pause."""
    async with floor() as here:
        session = await here.chat()
        switch(here, **{"5xx": {"count": 2, "on": ["operations"]}})
        ended = await Carried(here, Operation.leave(session)).to_the_end()
        assert (ended.state, ended.attempts) == (CONFIRMED, 3)
        assert here.simulator.platform.count(session, "Leave") == 1


async def ask_for_a_minute(here: Floor) -> None:
    """Read the list again and again: credentials that were good are tried again for a while."""
    for _ in range(20):
        with suppress(UnavailableError):
            await here.rest.sessions()
        await asyncio.sleep(5)


@networked
async def test_refused_credentials() -> None:
    """A request whose credentials are refused changed nothing: it is intended again, not in doubt, for after that."""
    async with floor() as here:
        session = await here.chat()
        carried = Carried(here, Operation.send_message(session, "hello"))
        switch(here, **{"403": {}})
        with suppress(RefusedError):
            await ask_for_a_minute(here)
        with pytest.raises(RefusedError):
            await carried.go_on()
        assert [each.state for each in carried.recorded] == [FollowUpState.SENT, FollowUpState.INTENDED]
        assert carried.recorded[-1].attempts == 1
        assert (carried.recorded[-1].because or "").startswith("GWS refuses the credentials")
        assert here.simulator.platform.count(session, "SendMessage") == 0


@pytest.mark.parametrize("state", [FollowUpState.SENT, FollowUpState.ACCEPTED])
@networked
async def test_platform_gone(state: FollowUpState) -> None:
    """While it can't be read back, it stays where it is, and is looked at again later."""
    async with floor() as here:
        session = await here.chat()
        switch(here, **{"5xx": {"on": ["reads"]}})
        progress = Progress(state, 3, VirtualClock().now(), here.journal.last_place())
        waiting = await Carried(here, Operation.leave(session)).go_on(progress)
        assert waiting.again_at == VirtualClock().now() + timedelta(seconds=3)
        assert waiting.state is state
        assert "can't be read back" in (waiting.because or "")
        switch(here, **{"5xx": None})
        ended = await Carried(here, Operation.leave(session)).go_on(waiting)
        assert ended.state is FollowUpState.INTENDED


@networked
async def test_refused_and_not_readable() -> None:
    """A refusal stays one where the session can't be read back to see whether it was needed."""
    async with floor() as here:
        switch(here, **{"5xx": {"on": ["reads"]}})
        ended = await Carried(here, Operation.leave("0002NOTTHERE")).go_on()
        assert ended.state is FAILED


@networked
async def test_ended_stays_ended() -> None:
    """What has ended is left as it is."""
    async with floor() as here:
        ended = Progress(PARKED, 1)
        assert await Carried(here, Operation.leave("0002X")).go_on(ended) is ended


def publish(here: Floor, session: str, kind: str, reference: int | None) -> None:
    """Send a notification with a reference; of the kind Error no sample is known, so this one is synthetic."""
    data = {
        "messageType": "FacebooksessionStateChangeMessage",
        "notificationType": kind,
        "referenceId": reference,
        "facebooksession": {"id": session, "state": "Chatting"},
    }
    here.simulator.bayeux.publish(AGENT, "/v2/me/facebooksession", data)


CONSULT, LEAVE = partial(Operation.consult, target_path="/users/2"), Operation.leave


@pytest.mark.parametrize(
    ("make", "own", "reference", "state"),
    [
        (CONSULT, 35, 35, FAILED),
        (CONSULT, 35, 36, UNCONFIRMED),
        (CONSULT, None, None, UNCONFIRMED),
        (LEAVE, 35, 35, FAILED),
    ],
    ids=["own", "another's", "nobody's", "own, of what the session would show"],
)
@networked
async def test_error_notified(
    make: Callable[[str], Operation], own: int | None, reference: int | None, state: FollowUpState
) -> None:
    """An error with the request's reference ends it as failed; another request's error doesn't, nor nobody's."""
    async with floor() as here:
        session = await here.chat()
        accepted = Progress(FollowUpState.ACCEPTED, 1, VirtualClock().now(), here.journal.last_place(), own)
        going = asyncio.ensure_future(Carried(here, make(session)).go_on(accepted))
        await asyncio.sleep(1)
        publish(here, session, "Error", reference)
        assert (await going).state is state


@networked
async def test_reference_alone() -> None:
    """Where nothing else would show it, the notification with the request's reference confirms it."""
    async with floor() as here:
        session = await here.chat()
        accepted = Progress(FollowUpState.ACCEPTED, 1, VirtualClock().now(), here.journal.last_place(), 35)
        going = asyncio.ensure_future(Carried(here, Operation.send_message(session, "hello")).go_on(accepted))
        await asyncio.sleep(1)
        publish(here, session, "PropertiesUpdated", 35)
        assert (await going).state is CONFIRMED


@networked
async def test_reference_without_the_effect() -> None:
    """Where the session would show it, the reference alone confirms nothing: another client may count as this one."""
    async with floor() as here:
        session = await here.chat()
        accepted = Progress(FollowUpState.ACCEPTED, 1, VirtualClock().now(), here.journal.last_place(), 35)
        going = asyncio.ensure_future(Carried(here, Operation.leave(session)).go_on(accepted))
        await asyncio.sleep(1)
        publish(here, session, "PropertiesUpdated", 35)
        assert (await going).because == "GWS took it, and the session shows that it didn't happen"


@networked
async def test_slow_answer_cut_off() -> None:
    """A doubt begins when the connection breaks, however long that took: only then is the effect waited for."""
    async with floor(gws={"delay": ["3s", "3s"]}) as here:
        session = await here.chat()
        operations = {"count": 1, "on": ["operations"]}
        switch(here, slow={**operations, "pause": "10s"}, drop=operations)
        ended = await Carried(here, Operation.add_comment(session, "asks for a refund")).to_the_end()
        await asyncio.sleep(10)
        assert here.simulator.platform.count(session, "AddComment") == 1
        assert (ended.state, ended.attempts) == (CONFIRMED, 1)

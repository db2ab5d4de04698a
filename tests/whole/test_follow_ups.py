"""Follow-ups, from a transition to their confirmation, against the simulated GWS over real sockets."""

from fbsessiond import Operation
from fbsessiond.follow_up import FollowUpState
from floor import WRAP_UP, floor
from virtual_network import networked


@networked
async def test_leave_and_wrap_up() -> None:
    """Leave is passed on, LeftChat is notified and journaled, and what the handler asks for then is confirmed."""
    async with floor(WRAP_UP) as here:
        session = await here.chat()
        answer = await here.rest.operate(Operation.leave(session))
        assert answer.body == {"statusCode": 0}
        disposition, complete = await here.settled(session, 2)
        assert disposition.operation == Operation.set_disposition(session, "resolved")
        assert complete.operation == Operation.complete(session)
        assert [one.progress.state for one in (disposition, complete)] == [FollowUpState.CONFIRMED] * 2
        states = [entry.after for entry in here.journal.reader().entries(session=session) if entry.after]
        assert states == ["Invited", "Chatting", "LeftChat", "Completed"]
        assert here.simulator.platform.count(session, "Complete") == 1
        assert here.simulator.platform.count(session, "SetDisposition") == 1

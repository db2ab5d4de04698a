"""What `fbsessiond new-handler` writes: a handler, its test, and notifications to try it with."""

HANDLER = '''\
"""The handler `{name}`."""

from fbsessiond import Delivery, Done, Handler, Operation, Outcome


class {kind}(Handler):
    """Write a comment into a session that its agent left."""

    comment: str = "left by its agent"
    """What it says: an option, `comment = "…"` under [handlers.{name}]."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """React to one transition. An exception is a failed attempt, and is tried again."""
        transition = delivery.transition
        if transition.after != "LeftChat":
            return Done()
        return Done(Operation.add_comment(transition.session, self.comment))
'''

TEST = '''\
"""What the handler `{name}` does."""

from fbsessiond import Done, Operation
from fbsessiond.testing import make_transition, outcome_of
from {module} import {kind}


def test_session_that_was_left() -> None:
    """A session that its agent left gets the comment."""
    transition = make_transition("LeftChat", before="Chatting")
    outcome = outcome_of({kind}(comment="gone"), transition)
    assert outcome == Done(Operation.add_comment(transition.session, "gone"))


def test_other_transition() -> None:
    """Nothing follows from any other transition."""
    assert outcome_of({kind}(), make_transition("Chatting", before="Invited")) == Done()
'''

_NOTIFICATION = (
    '{"channel": "/v2/me/facebooksession", "data": {"messageType": "FacebooksessionStateChangeMessage", '
    '"notificationType": "StatusChange", "facebooksession": {"id": "0002DaAVKJ0V0095", "state": "%s", '
    '"capabilities": [%s], "participants": [%s], "userData": {"Subject": "My order"}}}}\n'
)
_CUSTOMER = '{"participantId": "007355E6EDFA0107", "type": "Customer", "nickname": "Ann", "visibility": "All"}'
_AGENT = '{"participantId": "007355E6EDFA0108", "type": "Agent", "nickname": "Bo", "visibility": "All"}'

NOTIFICATIONS = "".join(
    _NOTIFICATION % parts
    for parts in (
        ("Invited", '"Accept", "Reject"', _CUSTOMER),
        ("Chatting", '"SendMessage", "Leave", "Complete"', f"{_CUSTOMER}, {_AGENT}"),
        ("LeftChat", '"SetDisposition", "Complete"', _CUSTOMER),
        ("Completed", "", ""),
    )
)
"""One session, from its invitation to its end, as GWS tells it."""

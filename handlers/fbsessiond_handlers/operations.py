"""The handler `operations`: follow-ups on GWS from configuration alone.

[handlers.wrap-up]
use = "operations"
on = { to = "LeftChat" }
steps = [ { operation = "SetDisposition", disposition = "{user_data.DISP_KEY}" }, { operation = "Complete" } ]
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from fbsessiond import Delivery, Done, Handler, Operation, Outcome, Reject
from fbsessiond_handlers.templates import MissingFieldError, check_template, fill_in

SESSION = "id"
"""Stands for the session while the steps are checked."""


def _checked(step: dict[str, Any]) -> dict[str, Any]:
    """Check a step when the daemon starts, as far as that can be done before its values are known."""
    if not isinstance(step.get("operation"), str):
        raise ValueError('a step needs its operation: { operation = "Complete" }')  # noqa: TRY004  pydantic's
    check_template(step)
    _to_operation(step, SESSION)
    return step


def _to_operation(step: Mapping[str, Any], session: str) -> Operation:
    return Operation(step["operation"], session, {name: value for name, value in step.items() if name != "operation"})


Step = Annotated[
    dict[str, Any],
    AfterValidator(_checked),
    Field(json_schema_extra={"properties": {"operation": {"type": "string"}}, "required": ["operation"]}),
]
"""An operation of GWS and its parameters; texts may hold fields of the session, such as `{user_data.DISP_KEY}`."""


class Operations(Handler):
    """Ask for operations on the session, one after the other: the next one when the one before took effect."""

    steps: list[Step] = Field(min_length=1, max_length=20, examples=[[{"operation": "Complete"}]])
    """What is asked for, in this order: an operation, and its parameters by the platform's names."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Fill the steps in. A field that the session doesn't have makes the delivery a dead letter."""
        session = delivery.transition.session
        fields = {
            "session": {"id": session.id, "state": session.state, "comment": session.comment, "type": session.type},
            "user_data": session.user_data,
            "agent": delivery.transition.agent,
            "before": delivery.transition.before,
            "after": delivery.transition.after,
        }
        try:
            return Done(*(_to_operation(fill_in(step, fields), session.id) for step in self.steps))
        except (MissingFieldError, ValueError) as error:
            return Reject(str(error))

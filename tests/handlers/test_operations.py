from typing import Any

import pytest
from pydantic import ValidationError

from fbsessiond import Done, Operation, Reject
from fbsessiond.testing import SESSION, make_delivery, make_transition
from fbsessiond_handlers.operations import Operations

LEFT = make_transition("LeftChat", "Chatting", userData={"DISP_KEY": "resolved", "Case": 7}, comment="hm")


def with_steps(*steps: dict[str, Any]) -> Operations:
    """Return the handler as its configuration says."""
    return Operations.model_validate({"steps": list(steps)})


async def test_steps() -> None:
    """The steps become operations on the delivery's session, in order, with its fields filled in."""
    handler = with_steps(
        {"operation": "SetDisposition", "disposition": "{user_data.DISP_KEY}"},
        {"operation": "AddComment", "comment": "{agent}: {before} to {after}, {session.id}, was {session.comment}"},
        {"operation": "AttachUserData", "userData": {"Copy": "{user_data.Case}", "Fixed": 1}},
        {"operation": "Complete"},
    )
    assert await handler.handle(make_delivery(LEFT)) == Done(
        Operation.set_disposition(SESSION, "resolved"),
        Operation.add_comment(SESSION, f"agent1: Chatting to LeftChat, {SESSION}, was hm"),
        Operation.attach_user_data(SESSION, {"Copy": 7, "Fixed": 1}),
        Operation.complete(SESSION),
    )


async def test_missing_field() -> None:
    """A field that the session doesn't have rejects the delivery, and names it; nothing is asked for."""
    handler = with_steps({"operation": "Complete"}, {"operation": "AddComment", "comment": "{user_data.NOBODY}"})
    assert await handler.handle(make_delivery(LEFT)) == Reject("the session has no user_data.NOBODY")


async def test_value_that_does_not_fit() -> None:
    """A field's value that the operation can't take rejects the delivery, and the reason doesn't hold the value."""
    handler = with_steps({"operation": "AddComment", "comment": "{user_data.Case}"})
    outcome = await handler.handle(make_delivery(LEFT))
    assert outcome == Reject("AddComment: comment should be a text, at most 100000 characters")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({}, "a step needs its operation"),
        ({"operation": 5}, "a step needs its operation"),
        ({"operation": "Levae"}, "there is no operation 'Levae'; there are Accept, "),
        ({"operation": "AddComment"}, "AddComment needs comment"),
        ({"operation": "AddComment", "text": "x"}, "AddComment has no parameter 'text'; it has comment"),
        ({"operation": "AddComment", "comment": "{}"}, "a field is written as {user_data.KEY}"),
        ({"operation": "AddComment", "comment": "{a"}, "expected '}' before end of string"),
        ({"operation": "AddComment", "comment": ""}, "comment should be a text"),
    ],
)
def test_wrong_step(step: dict[str, Any], words: str) -> None:
    """A step that can't be is found when the daemon starts."""
    with pytest.raises(ValidationError) as caught:
        with_steps(step)
    assert words in str(caught.value)


@pytest.mark.parametrize("count", [0, 21])
def test_number_of_steps(count: int) -> None:
    """There is at least one step, and a limit on them."""
    with pytest.raises(ValidationError):
        with_steps(*[{"operation": "Complete"}] * count)

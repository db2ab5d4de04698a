import pytest

from fbsessiond import Operation, Webhook
from fbsessiond.follow_up import FollowUpState, Progress, written


def test_states() -> None:
    """A state is spelled in the journal, in exports and in metrics as outside readers know it."""
    assert {str(state) for state in FollowUpState} == {
        *("intended", "sent", "accepted", "confirmed", "observed", "unconfirmed", "parked", "failed", "captured"),
        "withdrawn",
    }


def test_open() -> None:
    """More is to come of what is intended, sent or accepted, and of nothing else."""
    still_open = {state for state in FollowUpState if state.is_open}
    assert still_open == {FollowUpState.INTENDED, FollowUpState.SENT, FollowUpState.ACCEPTED}


def test_succeeded() -> None:
    """The next step may be taken after what GWS took and nothing speaks against, and after what a replay captured."""
    succeeded = {state for state in FollowUpState if state.has_succeeded}
    assert succeeded == {
        FollowUpState.CONFIRMED,
        FollowUpState.OBSERVED,
        FollowUpState.UNCONFIRMED,
        FollowUpState.CAPTURED,
    }
    assert not any(state.is_open for state in succeeded)


def test_beginning() -> None:
    """Progress begins with the intent, and with no attempt."""
    assert Progress() == Progress(FollowUpState.INTENDED, attempts=0, sent_at=None, after=0, again_at=None)


@pytest.mark.parametrize("asked", [Operation.leave("S1"), Webhook("crm", "S1", {"case": 7})])
def test_written(asked: Operation | Webhook) -> None:
    """What is written down of a follow-up by its name, session and parameters is read back as it was."""
    assert written(asked.name, asked.session, asked.parameters) == asked


def test_parameters() -> None:
    """A webhook is written down under its own name; an operation is none, whatever its parameters are called."""
    asked = Webhook("crm", "S1")
    assert (asked.name, asked.parameters) == ("Webhook", {"to": "crm", "data": {}})
    assert isinstance(written("Leave", "S1", {"data": {}}), Operation)


@pytest.mark.parametrize("parameters", [{}, {"to": "crm"}, {"to": "crm", "data": 7}])
def test_broken_webhook(parameters: dict[str, object]) -> None:
    """A webhook that isn't written as this version does is one that `check` refuses."""
    with pytest.raises(ValueError, match="there is no operation 'Webhook'"):
        written("Webhook", "S1", parameters).check()


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_data_that_json_has_no_words_for(value: object) -> None:
    """A webhook that couldn't be written down isn't made."""
    with pytest.raises(ValueError, match="a webhook's data should be JSON"):
        Webhook("crm", "S1", {"case": value})

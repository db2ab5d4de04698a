from fbsessiond.follow_up import FollowUpState, Progress


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

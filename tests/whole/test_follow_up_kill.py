"""Follow-ups of a daemon that is killed again and again, on a platform that errs: `make proof` goes on for longer."""

from crashes.follow_up_kills import FOLLOW_UP_KILLS


def test_each_effect_once() -> None:
    """Each follow-up takes effect once, or not and says so, or is parked with its reason; none twice, none is lost."""
    assert not FOLLOW_UP_KILLS.run(10, 1, lambda _: None).problems

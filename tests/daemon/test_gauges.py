from datetime import timedelta

from fbsessiond import limits
from fbsessiond.follow_up import FollowUpState
from fbsessiond.gauges import Gauges, Readings
from fbsessiond.journal.records import Backlog, DeliveryState
from fbsessiond.readiness import Standing


def values(readings: Readings) -> dict[str, float]:
    """Return what is shown of these readings, each by its name and the values of its labels."""
    gauges = Gauges()
    gauges.read = lambda: readings
    return {
        " ".join([sample.name.removeprefix("fbsessiond_"), *sample.labels.values()]): sample.value
        for family in gauges.collect()
        for sample in family.samples
        if not sample.name.endswith("build_info")
    }


def test_at_first() -> None:
    """As long as nothing is there to be asked, nothing is ready, and what isn't known is left out."""
    assert values(Gauges().read()) == {
        "ready": 0,
        "agents default": 0,
        "agents_connected default": 0,
        "agents_in_gap default": 0,
        "intake_paused": 0,
        "journal_bytes": 0,
        **{f"unsettled_follow_ups {state}": 0 for state in ("intended", "sent", "accepted", "parked", "failed")},
        "oldest_due_follow_up_seconds": 0,
        "quarantined": 0,
    }


def test_standing() -> None:
    """How the daemon and its agents stand is shown, by group."""
    standings = [Standing(3, 2, 1, 0.25, timedelta(seconds=12)), Standing(1, group="night")]
    shown = values(Readings(standings=standings, is_ready=True, is_intake_paused=True, free_bytes=4096))
    expected = {
        "ready": 1,
        "agents default": 3,
        "agents night": 1,
        "agents_connected default": 2,
        "agents_in_gap default": 1,
        "coverage_ratio default": 0.25,
        "poll_age_seconds default": 12,
        "intake_paused": 1,
        "free_bytes": 4096,
    }
    assert {name: shown[name] for name in expected} == expected
    assert "coverage_ratio night" not in shown


def test_backlog() -> None:
    """What is still to be done is shown by handler and state, and what waits for a person."""
    backlog = Backlog(
        deliveries={"log": {DeliveryState.DUE: 3, DeliveryState.RUNNING: 1}, "audit": {}},
        due_for={"log": timedelta(minutes=2), "audit": timedelta()},
        dead={"log": 2, "gone": 1},
        follow_ups={FollowUpState.PARKED: 4},
        follow_ups_due_for=timedelta(seconds=1.5),
        quarantined=5,
        bytes=8192,
    )
    shown = values(Readings(backlog=backlog))
    expected = {
        "pending_deliveries log waiting": 0,
        "pending_deliveries log due": 3,
        "pending_deliveries log running": 1,
        **{f"pending_deliveries audit {state}": 0 for state in ("waiting", "due", "running")},
        "oldest_due_seconds log": 120,
        "oldest_due_seconds audit": 0,
        "dead_letters log": 2,
        "dead_letters audit": 0,
        "dead_letters gone": 1,
        "unsettled_follow_ups parked": 4,
        "unsettled_follow_ups failed": 0,
        "oldest_due_follow_up_seconds": 1.5,
        "quarantined": 5,
        "journal_bytes": 8192,
    }
    assert {name: shown[name] for name in expected} == expected


def test_build() -> None:
    """What runs is shown with its versions."""
    (family,) = [family for family in Gauges().collect() if family.name == "fbsessiond_build_info"]
    (sample,) = family.samples
    assert (sorted(sample.labels), sample.value) == (["python", "version"], 1)
    assert all(sample.labels.values())


def test_limit() -> None:
    """The limit to which deliveries are counted is said where they are."""
    helps = [each.documentation for each in Gauges().collect() if "pending_deliveries" in each.name]
    assert [str(limits.BACKLOG_COUNTED) in text for text in helps] == [True]

import re
import subprocess
import sys
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from fbsessiond.gap import GapCause
from fbsessiond.metrics import OUTCOMES, Metrics, Standing

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def values(metrics: Metrics) -> dict[str, float]:
    """Return all that is exposed, each by its name and the values of its labels."""
    body, _ = metrics.exposition()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_from_zero() -> None:
    """Each counter is there from the start with 0, for each value of its label that is known, and with no other."""
    assert values(Metrics()) == {
        **{f"fbsessiond_gaps_total {cause}": 0 for cause in GapCause},
        **{f"fbsessiond_gap_seconds_total {cause}": 0 for cause in GapCause},
        "fbsessiond_silences_total": 0,
        **{f"fbsessiond_snapshots_total {outcome}": 0 for outcome in ("agreed", "differed", "unavailable")},
        "fbsessiond_agents": 0,
        "fbsessiond_agents_connected": 0,
        "fbsessiond_agents_in_gap": 0,
    }


def test_counting() -> None:
    """What is counted is exposed under its own name and label, in the format of its content type."""
    metrics = Metrics()
    metrics.gaps.labels(GapCause.SESSION_LOST).inc()
    metrics.gap_seconds.labels(cause="network").inc(1.5)
    metrics.silences.inc()
    metrics.snapshots.labels(outcome="agreed").inc(3)
    metrics.differences.labels("state").inc(2)
    assert {name: value for name, value in values(metrics).items() if value} == {
        "fbsessiond_gaps_total session lost": 1,
        "fbsessiond_gap_seconds_total network": 1.5,
        "fbsessiond_silences_total": 1,
        "fbsessiond_snapshots_total agreed": 3,
        "fbsessiond_snapshot_differences_total state": 2,
    }
    body, content_type = metrics.exposition()
    assert b'fbsessiond_gaps_total{cause="session lost"} 1.0\n' in body
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"


def test_gauges() -> None:
    """Gauges are asked for at each scrape, of whom the daemon names at first, or later."""
    standings = iter([Standing(3, 2, 1, 0.25), Standing(3, 3, 0, 0.5)])
    metrics = Metrics(lambda: next(standings))
    for expected in ([3, 2, 1, 0.25], [3, 3, 0, 0.5]):
        assert list(values(metrics).values())[-4:] == expected
    metrics.standing = lambda: Standing(coverage=1.0)
    assert values(metrics)["fbsessiond_coverage_ratio"] == 1.0


def test_own_registry() -> None:
    """Two daemons in one process count for themselves, and nothing is counted where other libraries do."""
    one, other = Metrics(), Metrics()
    one.silences.inc()
    assert values(one)["fbsessiond_silences_total"] == 1
    assert values(other)["fbsessiond_silences_total"] == 0
    assert not any(family.name.startswith("fbsessiond") for family in REGISTRY.collect())


def test_page() -> None:
    """The page on metrics has each one with its type, labels and meaning, and each label with its known values."""
    metrics = Metrics(lambda: Standing(coverage=1.0))
    metrics.differences.labels("state").inc()
    body, _ = metrics.exposition()
    rows: list[str] = []
    for family in text_string_to_metric_families(body.decode()):
        (sample, *_) = family.samples
        labels = "".join(f"`{label}` " for label in sample.labels)
        rows.append(f"| `{sample.name}` | {family.type} | {labels}| {family.documentation} |")
    assert re.findall(r"^\| `fbsessiond_.*$", PAGE, re.MULTILINE) == rows
    for label, known in (("cause", GapCause), ("outcome", OUTCOMES)):
        assert re.findall(rf"^\| `{label}` \| `(.*?)` \|", PAGE, re.MULTILINE) == list(known)


def test_import() -> None:
    """The commands' own start doesn't pay for the library."""
    program = "import sys, fbsessiond.cli; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

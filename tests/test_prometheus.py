"""What Prometheus and Grafana are given: metrics, alert rules and a dashboard, judged by Prometheus' own tool."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.test_metrics import exposed
from test_docs import load_module

ROOT = Path(__file__).parent.parent
HERE = ROOT / "docs" / "prometheus"
ALERTS = (HERE / "alerts.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads((HERE / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES: list[str] = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]

PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="Prometheus' promtool isn't installed: apt install prometheus"
)


def promtool(*arguments: str | Path, given: str = "") -> tuple[int, str]:
    """Run it; return its exit status and all that it says."""
    assert PROMTOOL is not None
    command = [PROMTOOL, *map(str, arguments)]
    ended = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def names() -> Iterator[str]:
    """Yield the names under which each metric can be asked for."""
    for family in text_string_to_metric_families(exposed()):
        yield from (sample.name for sample in family.samples)


def asked(expression: str) -> set[str]:
    """Return the metrics that an expression is about."""
    return set(re.findall(r"\b(?:fbsessiond|process)_\w+", expression))


@with_promtool
def test_exposition() -> None:
    """Prometheus' own check of metrics finds nothing to say about ours, but that the library's names are its own."""
    assert promtool("check", "metrics", given=exposed()) == (0, "")


@with_promtool
def test_rules() -> None:
    """Each alert fires on what it is for, and doesn't where it needn't."""
    status, words = promtool("check", "rules", HERE / "alerts.yml")
    assert status == 0, words
    status, words = promtool("test", "rules", ROOT / "tests" / "prometheus" / "alerts.yml")
    assert status == 0, words


def test_each_alert_is_tested() -> None:
    """Of each alert it is tested that it fires, and that it doesn't."""
    tests = (ROOT / "tests" / "prometheus" / "alerts.yml").read_text()
    for alert in re.findall(r"alert: (\w+)", ALERTS):
        assert f"name: {alert} fires\n" in tests
        assert f"name: {alert} doesn't fire\n" in tests


def test_alerts() -> None:
    """Each alert is about metrics that there are, says what is the matter, and where it's written what to do."""
    known = set(names())
    page = (ROOT / "docs" / "operating.md").read_text()
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    alerts = ALERTS.split("- alert: ")[1:]
    for alert in alerts:
        expression = re.search(r"expr: (.*)", alert)
        assert expression is not None
        assert asked(expression[1])
        assert asked(expression[1]) <= known
        assert re.search(r"severity: (critical|warning)\n", alert)
        assert re.search(r"summary: \w", alert)
        assert re.search(r"description: >-\n +\w", alert) or "description: >-\n            {{" in alert
        runbook = re.search(r"runbook: docs/operating\.md#(\w+)", alert)
        assert runbook is not None
        assert runbook[1] in headings


def test_dashboard() -> None:
    """The dashboard is what its program writes."""
    assert (HERE / "dashboard.json").read_text() == load_module(HERE / "dashboard.py").written()


def test_panels() -> None:
    """Panels have numbers of their own, don't overlap, and have what Grafana needs to draw them."""
    numbers = [panel["id"] for panel in PANELS]
    assert len(numbers) == len(set(numbers))
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    for panel in PANELS:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert [target["refId"] for target in panel["targets"]] == list("ABC"[: len(panel["targets"])])
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "job"]


def test_queries() -> None:
    """Each query is about metrics that there are, and each of ours is in the dashboard."""
    known = set(names())
    used = set[str]().union(*map(asked, QUERIES))
    assert used <= known
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in known if name.startswith("fbsessiond")}
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in used}
    elsewhere = {"build_info", "batches_total", "gap_seconds_total", "silences_total", "snapshot_differences_total"}
    elsewhere |= {"quarantined_messages_total", "oldest_due_follow_up_seconds"}
    assert families - shown == {f"fbsessiond_{name}" for name in elsewhere}


@with_promtool
def test_syntax(tmp_path: Path) -> None:
    """Each query is one that Prometheus can answer."""
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$job", "fbsessiond")}
        for number, query in enumerate(QUERIES)
    ]
    path = tmp_path / "rules.yml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    status, words = promtool("check", "rules", path)
    assert (status, f"{len(QUERIES)} rules found" in words) == (0, True), words

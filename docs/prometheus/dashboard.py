"""Write the Grafana dashboard: `python docs/prometheus/dashboard.py`. A panel is a line of the table below."""

import json
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
WIDTH, HEIGHT = 8, 7
"""A panel's, of a dashboard that is 24 wide."""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Panel(NamedTuple):
    """What it is called, its unit, and its queries with their legends; each is about one `$job`."""

    title: str
    unit: str
    queries: dict[str, str]


def rate(name: str, by: str) -> str:
    """Return how often something is counted a second."""
    return f'sum by ({by}) (rate(fbsessiond_{name}_total{{job="$job"}}[$__rate_interval]))'


def quantile(name: str, share: float, by: str = "le") -> str:
    """Return what a share of a histogram's values stays below."""
    rates = f'rate(fbsessiond_{name}_seconds_bucket{{job="$job"}}[$__rate_interval])'
    return f"histogram_quantile({share}, sum by ({by}) ({rates}))"


def gauge(name: str, more: str = "") -> str:
    """Return a gauge as it is."""
    return f'fbsessiond_{name}{{job="$job"{more}}}'


ROWS = {
    "How it is": [
        Panel("Ready", "short", {gauge("ready"): "ready", gauge("intake_paused"): "intake paused"}),
        Panel(
            "Agents",
            "short",
            {
                gauge("agents"): "watched, {{group}}",
                gauge("agents_connected"): "connected, {{group}}",
                gauge("agents_in_gap"): "in a gap, {{group}}",
            },
        ),
        Panel("Coverage", "percentunit", {gauge("coverage_ratio"): "covered, {{group}}"}),
    ],
    "What comes in": [
        Panel("Notifications", "ops", {rate("notifications", "kind"): "{{kind}}"}),
        Panel(
            "From received to durable",
            "s",
            {quantile("durable", 0.5): "half", quantile("durable", 0.99): "99 of 100"},
        ),
        Panel(
            "The connection",
            "ops",
            {rate("lost_exchanges", "cause"): "lost: {{cause}}", rate("handshakes", "job"): "handshakes"},
        ),
        Panel("Since the last poll", "s", {gauge("poll_age_seconds"): "age, {{group}}"}),
        Panel("Gaps", "ops", {rate("gaps", "cause"): "{{cause}}"}),
        Panel("Comparisons", "ops", {rate("snapshots", "outcome"): "{{outcome}}"}),
    ],
    "What handlers do": [
        Panel("Deliveries", "ops", {rate("deliveries", "handler, outcome"): "{{handler}} {{outcome}}"}),
        Panel("Handling, 99 of 100", "s", {quantile("handling", 0.99, "le, handler"): "{{handler}}"}),
        Panel("Pending", "short", {gauge("pending_deliveries"): "{{handler}} {{state}}"}),
        Panel("The oldest due", "s", {gauge("oldest_due_seconds"): "{{handler}}"}),
    ],
    "What GWS is asked": [
        Panel("Follow-ups", "ops", {rate("follow_ups", "operation, state"): "{{operation}} {{state}}"}),
        Panel("Requests", "ops", {rate("requests", "result"): "{{result}}"}),
        Panel("A request, 99 of 100", "s", {quantile("request", 0.99): "seconds"}),
    ],
    "What waits for a person": [
        Panel("Dead letters", "short", {gauge("dead_letters"): "{{handler}}"}),
        Panel("Follow-ups", "short", {gauge("unsettled_follow_ups"): "{{state}}"}),
        Panel("Quarantine", "short", {gauge("quarantined"): "messages"}),
    ],
    "The machine": [
        Panel(
            "The journal",
            "s",
            {quantile("commit", 0.99): "a commit, 99 of 100", quantile("checkpoint", 0.99): "a checkpoint, 99 of 100"},
        ),
        Panel("Disk", "bytes", {gauge("free_bytes"): "free", gauge("journal_bytes"): "journal"}),
        Panel("The event loop is late, 99 of 100", "s", {quantile("loop_lag", 0.99): "seconds"}),
        Panel("Memory", "bytes", {'process_resident_memory_bytes{job="$job"}': "resident"}),
        Panel("Processor", "percentunit", {'rate(process_cpu_seconds_total{job="$job"}[$__rate_interval])': "used"}),
        Panel("Open files", "short", {'process_open_fds{job="$job"}': "open"}),
    ],
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    numbers, y = count(1), 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append({"id": next(numbers), "type": "row", "title": title, "collapsed": False, "gridPos": place})
        for index, panel in enumerate(row):
            place = {"x": index % 3 * WIDTH, "y": y + 1 + index // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append({"id": next(numbers), "gridPos": place, **_drawn(panel)})
        y += 1 + -(-len(row) // 3) * HEIGHT
    return {
        "uid": "fbsessiond",
        "title": "fbsessiond",
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), _job()]},
        "panels": panels,
    }


def _drawn(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        for index, (expression, legend) in enumerate(panel.queries.items())
    ]
    defaults = {"unit": panel.unit, "min": 0}
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _job() -> dict[str, Any]:
    query = "label_values(fbsessiond_ready, job)"
    return {"name": "job", "type": "query", "datasource": SOURCE, "query": query, "refresh": 2, "label": "job"}


def written() -> str:
    """Return the dashboard as it is written."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    (HERE / "dashboard.json").write_text(written())

"""The catalogue, its memory layout and its page of documentation agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.metrics.catalogue import (
    CONNECT_BUCKETS_S,
    DURATION_BUCKETS_S,
    INTERNAL,
    KEYS,
    LAYOUTS,
    METRICS,
    Kind,
    Metric,
    Scope,
    Source,
)

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

CONTRACT = {
    "gateway_requests_total": "route application service version method code",
    "gateway_request_duration_seconds": "route application service version",
    "gateway_upstream_connect_seconds": "application service",
    "gateway_in_flight_requests": "application service",
    "gateway_upstream_errors_total": "application service reason",
    "gateway_retries_total": "application service",
    "gateway_spilled_requests_total": "route application service",
    "gateway_sticky_requests_total": "route application service result",
    "gateway_route_weight": "route application service",
    "gateway_route_invalid": "route reason",
    "gateway_provider_up": "provider",
    "gateway_instances": "application service state",
    "gateway_open_connections": "entrypoint",
    "gateway_websockets_open": "application service",
    "gateway_config_generation": None,
    "gateway_snapshot_age_seconds": None,
    "gateway_control_up": None,
    "gateway_apply_lag_seconds": None,
    "gateway_worker_restarts_total": None,
    "gateway_request_bytes_total": "route application service version",
    "gateway_response_bytes_total": "route application service version",
}
"""Names that dashboards rely on; labels where they are promised."""


def test_every_promised_metric_is_there_with_its_labels() -> None:
    known = {m.name: m for m in METRICS}
    assert len(known) == len(METRICS)
    for name, labels in CONTRACT.items():
        assert name in known
        if labels is not None:
            assert known[name].labels == tuple(labels.split())


def test_the_documentation_lists_exactly_the_catalogue() -> None:
    section = PAGE.read_text().partition("# The access log")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", section, re.M)
    assert rows == [
        (m.name, m.kind.value, ", ".join(f"`{name}`" for name in m.labels) or "none", m.help)
        for m in METRICS
    ]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("gateway_request_duration_seconds", DURATION_BUCKETS_S),
        ("gateway_upstream_connect_seconds", CONNECT_BUCKETS_S),
    ],
)
def test_the_documentation_gives_the_buckets(name: str, bounds: tuple[float, ...]) -> None:
    found = re.search(rf"^\* `{name}`: (.+)$", PAGE.read_text(), re.M)
    assert found is not None
    assert tuple(map(float, found[1].split(", "))) == bounds
    assert list(bounds) == sorted(set(bounds))


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"gateway_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


@pytest.mark.parametrize("metric", [*METRICS, *INTERNAL], ids=lambda m: m.name)
def test_labels_come_from_the_record(metric: Metric) -> None:
    if metric.scope is None:
        assert metric.source is Source.CONTROL
        return
    shown = metric.labels[:-1] if metric.variants else metric.labels
    key = set(KEYS[metric.scope])
    assert set(shown) <= (key | {"application"} if "service" in key else key)
    if metric.kind is not Kind.GAUGE:
        # Application and version follow from the service; all else tells records apart.
        assert key - set(shown) <= {"application", "version"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_the_short_name_of_a_service_always_has_its_application_before_it(metric: Metric) -> None:
    if "service" in metric.labels:
        place = metric.labels.index("service")
        assert metric.labels[:place][-1:] == ("application",)


@pytest.mark.parametrize("scope", Scope)
def test_the_metrics_of_a_scope_share_its_records_without_overlap(scope: Scope) -> None:
    layout = LAYOUTS[scope]
    taken: list[int] = []
    for metric in (*METRICS, *INTERNAL):
        if metric.scope is scope:
            begin = layout.start[metric.name]
            cells = range(begin, begin + metric.cells)
            taken += cells
            assert set(cells) <= set(layout.gauges) or not set(cells) & set(layout.gauges)
    assert sorted(taken) == list(range(layout.cells))
    assert layout.cells > 0


def test_a_worker_does_not_carry_the_prometheus_client() -> None:
    code = "import sys, gateway.metrics.worker; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"

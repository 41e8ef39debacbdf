"""Alerts fire when they must and not otherwise, by Prometheus' own judgement; rules and dashboards
name only metrics that somebody really tells.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.monitoring import alerts, dashboards
from controllers.exporter import table
from controllers.registrator import metrics as registrator_metrics
from probe.agent import status as probe_status
from sync_engine import metrics as engine_metrics
from tests.components.monitoring.cases import CASES, Series

_BOUND_S = 120
ALERTS = {alert.name: alert for group in alerts.GROUPS.values() for alert in group}
# What HAProxy 2.6 tells of itself, of what is used here; the edge's tests ask a real one.
HAPROXY = {"haproxy_backend_active_servers", "haproxy_backend_http_responses_total"}
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_OURS = re.compile(r"(?:mesos|marathon|zksync|probe|haproxy|registrator)_\w+")


def told() -> set[str]:
    """Every metric that exporter, engine, registrator, probe and proxy tell."""
    probe = set(re.findall(r"probe_agent_\w+", Path(str(probe_status.__file__)).read_text()))
    ours = {*table.NAMES, *engine_metrics.METRICS, *registrator_metrics.NAMES}
    return {*ours, *probe, *HAPROXY}


def run(promtool: str, *words: str) -> str:
    done = subprocess.run(
        [promtool, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_BOUND_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(alerts.rules_file())
    return path


def unit(name: str, series: Series, at: str, *, fires: bool) -> dict[str, Any]:
    """A unit test of promtool: only whether it fires, which labels it has is its own matter."""
    query = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) > bool 0 or vector(0)'
    return {
        "interval": "1m",
        "name": f"{name} {'fires' if fires else 'does not fire'}",
        "input_series": [{"series": key, "values": value} for key, value in series.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": float(fires)}],
            }
        ],
    }


def test_prometheus_takes_the_rules(promtool: str, rules: Path) -> None:
    assert f"{len(ALERTS)} rules found" in run(promtool, "check", "rules", str(rules))


@pytest.mark.long
def test_every_alert_fires_when_it_must_and_not_otherwise(
    promtool: str, rules: Path, tmp_path: Path
) -> None:
    assert CASES.keys() == ALERTS.keys()
    units = [
        unit(name, series, case.at, fires=fires)
        for name, case in CASES.items()
        for series, fires in ((case.fires, True), (case.not_, False))
    ]
    tests = tmp_path / "tests.yaml"
    tests.write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": units})
    )

    assert "SUCCESS" in run(promtool, "test", "rules", str(tests))


def test_a_case_that_is_wrong_is_noticed(promtool: str, rules: Path, tmp_path: Path) -> None:
    """Otherwise cases would prove nothing."""
    name = "SyncSideLost"
    units = [unit(name, CASES[name].not_, CASES[name].at, fires=True)]
    tests = tmp_path / "tests.yaml"
    tests.write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": units})
    )

    with pytest.raises(AssertionError, match="FAILED"):
        run(promtool, "test", "rules", str(tests))


def test_alerts_name_only_metrics_that_somebody_tells() -> None:
    unknown = {alert.name: named(alert.expr) - told() for alert in ALERTS.values()}

    assert {name: found for name, found in unknown.items() if found} == {}


def named(expr: str) -> set[str]:
    """Metrics that a query names; a histogram by its own name."""
    plain = re.sub(r'"[^"]*"', "", expr)
    return {
        re.sub(r"_(bucket|count|sum)$", "", word)
        for word in _WORD.findall(plain)
        if _OURS.fullmatch(word)
    }


def test_what_is_said_of_zookeeper_names_only_metrics_that_its_servers_tell() -> None:
    """Whose names have no prefix; `test_zookeeper_image` asks real servers for them."""
    queries = [alert.expr for alert in alerts.ZOOKEEPER]
    queries += [q for panel in dashboards.ZOOKEEPER.panels for q in panel.queries.values()]
    named = {name for query in queries for name in re.findall(r"(\w+)\{", query)}

    assert named == {*alerts.ZOOKEEPER_METRICS, "up"}


@pytest.mark.parametrize("dashboard", dashboards.DASHBOARDS, ids=lambda one: one.uid)
def test_dashboards_name_only_metrics_that_somebody_tells(
    dashboard: dashboards.Dashboard, promtool: str, tmp_path: Path
) -> None:
    document = dashboards.document(dashboard)
    queries = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    assert queries
    assert set().union(*map(named, queries)) <= told()
    # Prometheus parses each: as recording rules, for want of a command that parses a query.
    file = tmp_path / "queries.yaml"
    recorded = [{"record": f"q:{n}", "expr": q} for n, q in enumerate(queries)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    run(promtool, "check", "rules", str(file))
    # As it is put into a ConfigMap.
    assert json.loads(json.dumps(document))["uid"] == dashboard.uid

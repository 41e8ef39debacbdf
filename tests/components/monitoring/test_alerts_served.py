"""The rules in a running Prometheus, as an operator of it would load them: it takes all of them,
and every query can be evaluated there.

What promtool says of the same rules stands in `test_alerts`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.monitoring import alerts
from tests import ports
from tests.leaving import leave_out
from tests.waiting import block_until

_STARTS_S_MAX = 60
_ENDS_S_MAX = 30
_ASK_S_MAX = 5.0
_EVALUATED_EVERY = "1s"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server with the rules and nothing to scrape; left out where it is not installed."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        leave_out("no prometheus on PATH: run `make tools-packages`")
    (tmp_path / "rules.yaml").write_text(alerts.rules_file())
    config = tmp_path / "prometheus.yaml"
    every = {"evaluation_interval": _EVALUATED_EVERY}
    config.write_text(yaml.safe_dump({"global": every, "rule_files": ["rules.yaml"]}))
    address = f"127.0.0.1:{ports.free_port()}"
    words = [
        prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(words, stderr=log) as process:
        try:
            block_until(lambda: is_ready(address, process), "a ready Prometheus", _STARTS_S_MAX)
            yield address
        finally:
            process.terminate()
            process.wait(_ENDS_S_MAX)


def is_ready(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Prometheus has ended"
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=_ASK_S_MAX) as answer:
            return answer.status == 200
    except OSError:
        return False


def groups(address: str) -> dict[str, list[dict[str, Any]]]:
    with urllib.request.urlopen(f"http://{address}/api/v1/rules", timeout=_ASK_S_MAX) as answer:
        told = json.load(answer)
    assert told["status"] == "success"
    return {group["name"]: group["rules"] for group in told["data"]["groups"]}


def test_a_running_prometheus_has_every_rule_and_can_evaluate_it(address: str) -> None:
    declared = {
        name: {alert.name: alert for alert in group} for name, group in alerts.GROUPS.items()
    }

    told = groups(address)
    assert {name: {rule["name"] for rule in rules} for name, rules in told.items()} == {
        name: set(group) for name, group in declared.items()
    }

    def evaluated() -> list[dict[str, Any]] | None:
        found = [rule for rules in groups(address).values() for rule in rules]
        return None if any(rule["health"] == "unknown" for rule in found) else found

    for rule in block_until(evaluated, "evaluated rules", _STARTS_S_MAX):
        assert (rule["health"], rule.get("lastError")) == ("ok", None), rule["name"]
        assert (rule["type"], rule["state"]) == ("alerting", "inactive")

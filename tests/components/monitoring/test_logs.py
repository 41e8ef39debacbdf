"""What Filebeat is told to read and to send, and what Elasticsearch is told to keep.

How lines are taken apart is looked at in `test_log_lines`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from components.errors import ArgumentsError
from components.monitoring import logs
from components.monitoring.log_lines import GLOG, JAVA, SANDBOX_PATH
from components.monitoring.logs import Keeping, Sources

SOURCES = Sources(
    {"blue": ("/var/log/pods/mesos_blue-masters-*_*/masters/*.log",)},
    {"blue": ("/var/lib/mesos-platform/blue-agents/work",)},
    {"blue": ("/var/log/pods/mesos_blue-zookeeper-*_*/zookeeper/*.log",)},
    ("/var/log/pods/mesos_frameworks-marathon-[0-9]*_*/frameworks/*.log",),
)


def test_a_sandbox_s_path_tells_whose_it_is() -> None:
    path = (
        "/var/lib/mesos-platform/blue-agents/work/slaves/S0/frameworks/F1/executors/web.1/runs/"
        "53413926-260b-4ae9-943b-db19695338ac/stderr"
    )
    # Dissect takes what stands between fixed texts; the last may hold no slash.
    pattern = re.sub(r"%\{\}", ".*", SANDBOX_PATH)
    pattern = re.sub(r"%\{([^}]+)\}", lambda m: f"(?P<{m[1].replace('.', '__')}>[^/]+)", pattern)

    found = re.fullmatch(pattern, path)

    assert found is not None
    assert found.groupdict() == {
        "mesos__agent__id": "S0",
        "mesos__framework__id": "F1",
        "mesos__executor__id": "web.1",
        "mesos__container__id": "53413926-260b-4ae9-943b-db19695338ac",
        "mesos__stream": "stderr",
    }


def test_filebeat_reads_each_run_once_and_sends_no_secret() -> None:
    output = logs.output_of(("https://logs:9200",), password_variable="LOGS_PASSWORD")
    document: dict[str, Any] = logs.filebeat(SOURCES, output)

    glog, zookeeper, marathon, sandboxes = document["filebeat.inputs"]
    assert glog["paths"] == ["/var/log/pods/mesos_blue-masters-*_*/masters/*.log"]
    for one, kind in ((glog, GLOG), (zookeeper, JAVA), (marathon, JAVA)):
        # What a container's runtime puts before a line is taken off before lines are joined.
        assert [list(parser) for parser in one["parsers"]] == [["container"], ["multiline"]]
        joins = one["parsers"][1]["multiline"]
        assert (joins["pattern"], joins["negate"], joins["match"]) == (kind.begins, True, "after")
        assert one["fields"]["mesos.stream"] == kind.kind
        sent = {"pipeline": kind.pipeline, "when.equals": {"mesos.stream": kind.kind}}
        assert sent in document["output.elasticsearch"]["pipelines"]
    # Marathon is of no colour.
    assert "mesos.color" not in marathon["fields"]
    assert sandboxes["prospector.scanner.exclude_files"] == ["/runs/latest/"]
    assert document["output.elasticsearch"]["password"] == "${LOGS_PASSWORD}"
    assert yaml.safe_load(yaml.safe_dump(document)) == document
    ids = [each["id"] for each in document["filebeat.inputs"]]
    # Two inputs of one id would read everything twice.
    assert len(set(ids)) == len(ids)


def test_old_logs_go_and_new_indices_begin_before_they_grow_too_large() -> None:
    phases = logs.policy(Keeping(days=7, warm_after_days=2, index_gib=5))["policy"]["phases"]

    assert phases["hot"]["actions"]["rollover"]["max_primary_shard_size"] == "5gb"
    assert (phases["warm"]["min_age"], phases["delete"]["min_age"]) == ("2d", "7d")
    assert logs.template()["template"]["settings"]["index.lifecycle.name"] == logs.POLICY
    assert [path for path, _ in logs.requests(Keeping())] == [
        f"/_ilm/policy/{logs.POLICY}",
        "/_ingest/pipeline/mesos-platform-glog",
        "/_ingest/pipeline/mesos-platform-java",
        f"/_index_template/{logs.TEMPLATE}",
    ]


@pytest.mark.parametrize("given", [{"days": 1}, {"warm_after_days": 0}, {"index_gib": 0}])
def test_a_keeping_that_cannot_be_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(ArgumentsError, match="warm_after_days"):
        Keeping(**given)

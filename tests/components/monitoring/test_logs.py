"""Lines of real masters and agents are taken apart by the pattern that Elasticsearch is given."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import ArgumentsError
from components.monitoring import logs
from components.monitoring.logs import Keeping, Sources

LINES = (Path(__file__).parents[2] / "fixtures" / "logs" / "mesos.log").read_text().splitlines()
SOURCES = Sources(
    {"blue": ("/var/log/pods/mesos_blue-masters-*_*/masters/*.log",)},
    {"blue": ("/var/lib/mesos-platform/blue-agents/work",)},
)


def taken_apart(line: str) -> dict[str, str]:
    found = logs.as_python(logs.GROK).match(line)
    assert found is not None, line
    return {key.replace("__", "."): value for key, value in found.groupdict().items()}


@pytest.mark.parametrize("line", LINES)
def test_every_real_line_is_taken_apart(line: str) -> None:
    fields = taken_apart(line)

    assert logs.LEVELS[fields["glog.level"]] == "info"
    assert re.fullmatch(r"[a-z_]+\.[ch]pp", fields["log.origin.file.name"])
    assert line.endswith(f"{fields['log.origin.file.line']}] {fields['message']}")
    at = f"2024 {fields['glog.day']} {fields['glog.time']}"
    # The format that the date processor is given.
    assert datetime.strptime(f"{at} +0000", "%Y %m%d %H:%M:%S.%f %z")


def test_fields_of_a_line_are_what_they_are_called() -> None:
    assert taken_apart(LINES[3]) == {
        "glog.level": "I",
        "glog.day": "0916",
        "glog.time": "22:22:28.686725",
        "process.thread.id": "841",
        "log.origin.file.name": "slave.cpp",
        "log.origin.file.line": "1249",
        "message": LINES[3].partition("] ")[2],
    }


def test_what_does_not_begin_a_line_belongs_to_the_one_before() -> None:
    begins = re.compile(logs.LINE_BEGINS)
    plain = [line for line in LINES if not line.startswith("Sep")]

    assert all(begins.search(line) for line in plain)
    for line in ("    @     0x7f process::dispatch()", "*** Aborted at 1 ***", "", "I am a task"):
        assert not begins.search(line)
    event = f"{LINES[0]}\n    @     0x7f process::dispatch()\n"
    assert taken_apart(event)["message"].endswith("dispatch()\n")


@pytest.mark.parametrize("line", ["", "I am a task", "I0909 22:47:01.240617 21904 no source] text"])
def test_a_line_of_somebody_else_is_left_whole(line: str) -> None:
    assert logs.as_python(logs.GROK).match(line) is None
    assert {"append": {"field": "tags", "value": "not-glog"}} in logs.pipeline()["on_failure"]


def test_a_sandbox_s_path_tells_whose_it_is() -> None:
    path = (
        "/var/lib/mesos-platform/blue-agents/work/slaves/S0/frameworks/F1/executors/web.1/runs/"
        "53413926-260b-4ae9-943b-db19695338ac/stderr"
    )
    # Dissect takes what stands between fixed texts; the last may hold no slash.
    pattern = re.sub(r"%\{\}", ".*", logs.SANDBOX_PATH)
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

    glog, sandboxes = document["filebeat.inputs"]
    assert glog["paths"] == ["/var/log/pods/mesos_blue-masters-*_*/masters/*.log"]
    # What a container's runtime puts before a line is taken off before lines are joined.
    assert [list(parser) for parser in glog["parsers"]] == [["container"], ["multiline"]]
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
        f"/_ingest/pipeline/{logs.PIPELINE}",
        f"/_index_template/{logs.TEMPLATE}",
    ]


@pytest.mark.parametrize("given", [{"days": 1}, {"warm_after_days": 0}, {"index_gib": 0}])
def test_a_keeping_that_cannot_be_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(ArgumentsError, match="warm_after_days"):
        Keeping(**given)

"""Logs of masters, agents, ZooKeeper, Marathon and tasks: where they lie, how long they stay.

Filebeat reads, and joins what belongs to one line (components.monitoring.log_lines); an ingest
pipeline of Elasticsearch takes lines apart; a life cycle removes old indices. What tasks write is
theirs and stays as it is: agent, framework, executor and container stand in its path.

Documents alone; `components.monitoring.log_stack` puts them where they are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.errors import ArgumentsError
from components.monitoring.log_lines import GLOG, JAVA, KINDS, SANDBOX_PATH, Lines

POLICY = "mesos-platform-logs"
TEMPLATE = "mesos-platform-logs"
STREAM = "logs-mesos.platform-default"
"""The data stream that all of it goes to."""
_MULTILINE_LINES_MAX = 500
_DAYS_MAX = 3650


@dataclass(frozen=True)
class Keeping:
    """How long logs are kept. A new index begins after a day or `index_gib`, whichever is first.

    Raises:
        ArgumentsError: that cannot be.
    """

    days: int = 30
    warm_after_days: int = 3
    index_gib: int = 30

    def __post_init__(self) -> None:
        if not 1 <= self.warm_after_days < self.days <= _DAYS_MAX or self.index_gib < 1:
            msg = (
                f"expected 1 ≤ warm_after_days < days ≤ {_DAYS_MAX} and indices of 1 GiB or more, "
                f"saw {self.warm_after_days}, {self.days} and {self.index_gib}"
            )
            raise ArgumentsError(msg)


def policy(keeping: Keeping) -> dict[str, Any]:
    """The life cycle of indices."""
    return {
        "policy": {
            "phases": {
                "hot": {
                    "actions": {
                        "rollover": {
                            "max_age": "1d",
                            "max_primary_shard_size": f"{keeping.index_gib}gb",
                        }
                    }
                },
                "warm": {
                    "min_age": f"{keeping.warm_after_days}d",
                    "actions": {
                        "forcemerge": {"max_num_segments": 1},
                        "set_priority": {"priority": 50},
                    },
                },
                "delete": {"min_age": f"{keeping.days}d", "actions": {"delete": {}}},
            }
        }
    }


def template() -> dict[str, Any]:
    """What a new index of the data stream is made from."""
    keyword = {"type": "keyword", "ignore_above": 1024}
    ids = {"agent", "framework", "executor", "container"}
    names = (
        *("log.level", "log.logger", "log.origin.file.name", "log.origin.function"),
        *("process.thread.name", "mesos.color", "mesos.role", "mesos.stream"),
    )
    return {
        "index_patterns": [f"{STREAM}*"],
        "data_stream": {},
        "priority": 500,
        "template": {
            "settings": {"index.lifecycle.name": POLICY, "index.codec": "best_compression"},
            "mappings": {
                "properties": {
                    "@timestamp": {"type": "date"},
                    "message": {"type": "match_only_text"},
                    "error.stack_trace": {"type": "match_only_text"},
                    "log.origin.file.line": {"type": "integer"},
                    **dict.fromkeys(names, keyword),
                    **{f"mesos.{name}.id": keyword for name in sorted(ids)},
                }
            },
        },
    }


def requests(keeping: Keeping) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Path and body of each PUT that Elasticsearch needs, in order; each may be made again."""
    return (
        (f"/_ilm/policy/{POLICY}", policy(keeping)),
        *((f"/_ingest/pipeline/{kind.pipeline}", kind.document()) for kind in KINDS),
        (f"/_index_template/{TEMPLATE}", template()),
    )


def mark(body: Mapping[str, Any]) -> str:
    """What tells a document's content from another's."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Sources:
    """Patterns of a node's paths: by colour logs of pods that write glog, agents' work folders and
    logs of ZooKeeper's pods; and those of Marathon's, which has no colour."""

    glog: Mapping[str, tuple[str, ...]]
    work_dirs: Mapping[str, tuple[str, ...]]
    zookeeper: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    marathon: tuple[str, ...] = ()


def filebeat(sources: Sources, output: Mapping[str, Any]) -> dict[str, Any]:
    """Filebeat's configuration; `output` says where Elasticsearch is, as far as nobody else does.

    Raises:
        ArgumentsError: there is nothing to read.
    """
    inputs = [
        *(
            _lines(GLOG, f"glog-{color}", folders, {"mesos.color": color})
            for color, folders in sources.glog.items()
            if folders
        ),
        *(
            _lines(JAVA, f"zookeeper-{color}", folders, {"mesos.color": color})
            for color, folders in sources.zookeeper.items()
            if folders
        ),
        *([_lines(JAVA, "marathon", sources.marathon, {})] if sources.marathon else []),
        *(_sandboxes(color, folders) for color, folders in sources.work_dirs.items() if folders),
    ]
    if not inputs:
        msg = "expected logs to read, saw none"
        raise ArgumentsError(msg)
    return {
        "filebeat.inputs": inputs,
        "output.elasticsearch": {
            **output,
            "index": STREAM,
            "pipelines": [
                {"pipeline": kind.pipeline, "when.equals": {"mesos.stream": kind.kind}}
                for kind in KINDS
            ],
        },
        # Templates and life cycle are ours: see `requests`.
        "setup.template.enabled": False,
        "setup.ilm.enabled": False,
        "processors": [{"add_host_metadata": {}}],
        "logging.level": "warning",
        "http.enabled": True,
        "http.host": "127.0.0.1",
    }


def output_of(
    hosts: tuple[str, ...], *, password_variable: str, ca_file: str | None = None
) -> dict[str, Any]:
    """Where Elasticsearch is. The password is the environment's, under that name.

    Raises:
        ArgumentsError: there is nowhere to send to.
    """
    if not hosts:
        msg = "expected an address of Elasticsearch, saw none"
        raise ArgumentsError(msg)
    output: dict[str, Any] = {
        "hosts": list(hosts),
        "username": "elastic",
        "password": f"${{{password_variable}}}",
    }
    if ca_file:
        output["ssl.certificate_authorities"] = [ca_file]
    return output


def _lines(
    kind: Lines, name: str, paths: tuple[str, ...], fields: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "type": "filestream",
        "id": name,
        "paths": list(paths),
        # Of a file that was rotated, the rest is read under its new name. Lines begin with a time
        # in nanoseconds, so the first bytes tell one file from another.
        "prospector.scanner.fingerprint": {"enabled": True, "length": 64},
        # Not null, as its documentation writes it: an operator's object has no such value.
        "file_identity.fingerprint.enabled": True,
        "parsers": [
            # A container's lines begin with time, stream and a mark; long ones are in parts.
            {"container": {"stream": "all", "format": "auto"}},
            {
                "multiline": {
                    "type": "pattern",
                    "pattern": kind.begins,
                    "negate": True,
                    "match": "after",
                    "max_lines": _MULTILINE_LINES_MAX,
                }
            },
        ],
        "fields": {**fields, "mesos.stream": kind.kind},
        "fields_under_root": True,
    }


def _sandboxes(color: str, folders: tuple[str, ...]) -> dict[str, Any]:
    pattern = "slaves/*/frameworks/*/executors/*/runs/*"
    return {
        "type": "filestream",
        "id": f"sandboxes-{color}",
        "paths": [
            f"{folder}/{pattern}/{name}" for folder in folders for name in ("stdout", "stderr")
        ],
        # Two tasks may begin with equal words, and end before they have said many: by the file, not
        # by what it begins with, which is the default of newer versions.
        "prospector.scanner.fingerprint.enabled": False,
        "file_identity.native.enabled": True,
        # `latest` is another name of a run that is read already.
        "prospector.scanner.exclude_files": ["/runs/latest/"],
        "close.on_state_change.inactive": "5m",
        "clean_removed": True,
        "fields": {"mesos.color": color},
        "fields_under_root": True,
        "processors": [
            {"dissect": {"tokenizer": SANDBOX_PATH, "field": "log.file.path", "target_prefix": ""}}
        ],
    }

"""Examples of clusters as they are declared, in the middle of a migration, against mocks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pulumi
import yaml

from stacks import program
from tests.components.conftest import Recorder, Run

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "examples" / "clusters"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
_MIGRATION = {"position": "2", "client_groups": {"traffic": "source"}}


def declared(
    run: Run, example: Path, tmp_path: Path, images: Mapping[str, str] | None = None
) -> Recorder:
    """What a stack of an example registers, with these images besides its own."""
    values = yaml.safe_load(example.read_text())["config"]
    values["mesos-platform:kubernetes"]["images"] |= images or {}
    values["mesos-platform:migration"] |= _MIGRATION

    def stack() -> None:
        config = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
        pulumi.runtime.set_all_config(config)
        program.declare(tmp_path)

    try:
        return run(stack)
    finally:
        pulumi.runtime.set_all_config({})


def pods(recorder: Recorder) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Namespace, name and specification of every pod that Kubernetes itself makes of the stack,
    and of those that Elastic's operator makes."""
    for one in recorder.resources:
        spec: Any = one.inputs.get("spec")
        if not isinstance(spec, dict):
            continue
        spec = cast("dict[str, Any]", spec)
        templates: list[dict[str, Any] | None] = [
            spec.get("template"),
            spec.get("daemonSet", {}).get("podTemplate"),
            *(node["podTemplate"] for node in spec.get("nodeSets", ())),
        ]
        for template in filter(None, templates):
            if "containers" in template.get("spec", {}):
                yield one.inputs["metadata"]["namespace"], one.name, template["spec"]

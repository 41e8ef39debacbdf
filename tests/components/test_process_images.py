"""A process runs in the image that is made for it, where configuration names that one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from stacks.kubernetes_config import ImagesConfig
from tests.components.conftest import Run
from tests.components.examples import EXAMPLES, declared, pods
from tools.images import build, dockerfile

_MODULE = re.compile(r"python -m ([a-z_.]+)")
_DIGEST = f"sha256:{'0' * 64}"
# These are named elsewhere, or are other people's.
_OTHERS = {"zookeeper", "mesos", "platform", "marathon", "networks"}
_KEYS = sorted(ImagesConfig.model_fields.keys() - _OTHERS)


def image(key: str) -> str:
    """That of a key, as its target of components/images is called."""
    return f"registry.invalid/{key.replace('_', '-')}@{_DIGEST}"


def module_of(container: dict[str, Any]) -> str | None:
    """Which of our modules a container runs."""
    found = _MODULE.search(" ".join(container.get("command") or ()))
    return found and found[1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_a_process_runs_in_the_image_with_its_command(
    example: Path, run: Run, tmp_path: Path
) -> None:
    recorder = declared(run, example, tmp_path, {key: image(key) for key in _KEYS})

    stages = dockerfile.read(build.DOCKERFILE.read_text())
    targets = {stage.entrypoint[2]: name for name, stage in stages.items() if stage.entrypoint[2:]}
    seen: set[str] = set()
    for _, name, spec in pods(recorder):
        for container in [*spec["containers"], *(spec.get("initContainers") or ())]:
            module = module_of(container)
            if module is None:
                continue
            # `services.probe.image` names its own.
            expected = "platform" if module == "probe.cli" else targets.get(module, "mesos")
            told = container["image"].partition("@")[0].rpartition("/")[2]
            assert told == expected, f"{name} runs {module}"
            seen.add(told)
    assert {"caretaker", "framework", "mesos", "traffic"} <= seen


def test_every_process_with_a_key_has_an_image() -> None:
    assert {key.replace("_", "-") for key in _KEYS} < set(build.TARGETS)


def test_a_process_without_an_image_runs_in_the_one_that_holds_all() -> None:
    images = ImagesConfig(zookeeper=image("a"), mesos=image("b"), platform=image("platform"))

    assert images.own(images.sync_engine) == image("platform")
    assert images.own(image("sync_engine")) == image("sync_engine")

"""What pods and containers are held to stands in one module, and whoever departs from it is known.

Every example is declared in the middle of a migration against Pulumi's mocks, so that all that is
said of it is looked at without a cluster; a real server admits and refuses in `tests/kubernetes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.targets import hardening
from components.targets.hardening import ROOT, Container, Pod
from tests.components.conftest import Recorder, Run
from tests.components.examples import CHECKOUT, EXAMPLES, declared, pods

LEVEL, WHY = "pod-security.kubernetes.io/enforce", "mesos-platform/why-privileged"
# As arguments of Kubernetes' own kinds, and as others write them. Accounts of the API have the last
# field of pods too.
_SECURED = re.compile(
    r"(SecurityContext|Capabilities|SeccompProfile)Args\("
    r"|\b(allow_privilege_escalation|read_only_root_filesystem|run_as_\w+|fs_group)="
    r"|\benable_service_links="
    r'|"(allowPrivilegeEscalation|readOnlyRootFilesystem|runAs\w+|fsGroup|seccompProfile|drop)"'
    r'|"(enableServiceLinks|automountServiceAccountToken)"'
)
_DEPARTURE = '"runAsNonRoot": False'
# The fields that hardening is, and what each who departs has instead, with a word of the reason
# that its namespace tells.
POD = ("enableServiceLinks", "automountServiceAccountToken", "securityContext")
DEPARTING: Mapping[str, tuple[Pod, Container, str]] = {
    "agents": (Pod(ROOT), Container(is_node=True), "agents start other people's containers"),
    "probe-agent": (
        Pod(user=None),
        Container(
            adds=("DAC_READ_SEARCH", "NET_ADMIN", "SYS_PTRACE"), user=ROOT, app_armor="Unconfined"
        ),
        "agents look at the node",
    ),
    "filebeat": (
        Pod(user=None),
        Container(adds=("DAC_READ_SEARCH",), user=ROOT),
        "Filebeat reads logs",
    ),
}


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(run: Run, tmp_path: Path, request: pytest.FixtureRequest) -> Recorder:
    return declared(run, request.param, tmp_path)


def departure(name: str) -> tuple[Pod, Container, str] | None:
    """What a pod has instead of the defaults."""
    kind = next((kind for kind in DEPARTING if kind in name), "")
    return DEPARTING.get(kind if "caretaker" not in name else "")


def without_user(security: Mapping[str, Any]) -> dict[str, Any]:
    """A pod's own user is its image's: which one is no matter here."""
    numbers = {"runAsUser", "runAsGroup", "fsGroup"}
    return {key: value for key, value in security.items() if key not in numbers}


def test_every_pod_is_held_to_the_defaults_or_departs_as_it_says(example: Recorder) -> None:
    seen = 0
    for _, name, spec in pods(example):
        departing = departure(name)
        expected = (Pod() if departing is None else departing[0]).document()
        # Those who look after pods, and who watches the cluster, use the API.
        expected[POD[1]] = name.endswith(("-caretaker", "probe-cluster"))
        found = {field: spec[field] for field in POD}
        if departing is None:
            assert found[POD[2]]["runAsUser"] > 0
            assert without_user(found[POD[2]]) == without_user(expected[POD[2]]), name
            found[POD[2]] = expected[POD[2]]
        assert found == expected, name
        for container in spec["containers"]:
            if name == "logs" and "securityContext" not in container:
                continue  # The operator completes it.
            security = dict(container["securityContext"])
            # It says it itself, whatever an operator says of its pod.
            assert security.pop("runAsNonRoot", False) is False
            expected = (Container() if departing is None else departing[1]).document()
            assert security == expected, name
            seen += 1
    assert seen > 5


def test_a_namespace_that_is_not_restricted_says_why_of_each_who_lies_in_it(
    example: Recorder,
) -> None:
    metadata = [
        one.inputs["metadata"] for one in example.resources if one.type.endswith(":Namespace")
    ]
    levels = {one["name"]: one["labels"][LEVEL] for one in metadata}
    reasons = {one["name"]: one["annotations"].get(WHY, "") for one in metadata}
    told: set[str] = set()
    for namespace, name, _ in pods(example):
        departing = departure(name)
        assert levels[namespace] == ("restricted" if departing is None else "privileged"), name
        if departing is not None:
            assert departing[2] in reasons[namespace]
            told.add(departing[2])
    # Nor of anybody who does not.
    for _, _, reason in DEPARTING.values():
        assert reason in told or not any(reason in text for text in reasons.values())


def test_defaults_are_written_in_one_module() -> None:
    own = Path(hardening.__file__)
    files = [path for path in (CHECKOUT / "components").rglob("*.py") if path != own]
    assert files

    lines = [
        f"{path.relative_to(CHECKOUT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _SECURED.search(line)
    ]

    assert [line for line in lines if _DEPARTURE not in line] == []

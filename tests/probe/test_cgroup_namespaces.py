"""Groups of version 2 as a reader within a cgroup namespace of its own is told of them.

A runtime gives one to each container by version 2, so an agent in a pod reads paths from its own
group on: `/` is itself, and `/../..` leads up to what it has in common with others.
https://man7.org/linux/man-pages/man7/cgroup_namespaces.7.html
"""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.agent import cgroup
from probe.agent.files import OpenFiles

PODS = "kubepods.slice/kubepods-burstable.slice"
OTHER, SIBLING, OWN, ALONE = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
GROUPS = {
    OTHER: f"{PODS}/kubepods-burstable-pod1.slice/cri-containerd-{OTHER}.scope",
    SIBLING: f"{PODS}/kubepods-burstable-pod2.slice/cri-containerd-{SIBLING}.scope",
    OWN: f"{PODS}/kubepods-burstable-pod2.slice/cri-containerd-{OWN}.scope",
    ALONE: f"system.slice/docker-{ALONE}.scope",
}


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    """A hierarchy with the groups of an agent and of others."""
    place = tmp_path / "cgroup"
    for used, path in enumerate(GROUPS.values(), 1):
        folder = place / path
        folder.mkdir(parents=True)
        (folder / "cpu.stat").write_text(f"usage_usec {used}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.max").write_text("max\n")
    (place / "cgroup.controllers").write_text("cpu memory\n")
    return place


def memory_of(cgroups: Path, path: str, container: str) -> int | None:
    """What a container uses whose group is told by this path."""
    place = cgroups.parent / "proc" / "7"
    place.mkdir(parents=True, exist_ok=True)
    (place / "cgroup").write_text(f"0::{path}\n")
    found = cgroup.find(OpenFiles(), str(place.parent), str(cgroups), 7, container)
    return None if found is None else found.memory_bytes()


@pytest.mark.parametrize(
    ("path", "container", "used"),
    [
        # Of a pod of the same class, of the same pod, of the reader itself, and of no pod.
        (f"/../../kubepods-burstable-pod1.slice/cri-containerd-{OTHER}.scope", OTHER, 1),
        (f"/../cri-containerd-{SIBLING}.scope", SIBLING, 2),
        ("/", OWN, 3),
        (f"/../../../../system.slice/docker-{ALONE}.scope", ALONE, 4),
        # What is nested is within; and a reader without a namespace is told all of it.
        (f"/../cri-containerd-{SIBLING}.scope/init", SIBLING, 2),
        (f"/{GROUPS[OTHER]}", OTHER, 1),
        (f"/{GROUPS[OTHER]}/init", OTHER, 1),
    ],
)
def test_a_group_is_found_from_wherever_its_path_is_told(
    cgroups: Path, path: str, container: str, used: int
) -> None:
    assert memory_of(cgroups, path, container) == used


@pytest.mark.parametrize(
    "path", ["/", "/..", "/../..", "/../../other-pod.slice/x.scope", "/../../*", "/../..//"]
)
def test_nobody_else_is_taken_for_it(cgroups: Path, path: str) -> None:
    assert memory_of(cgroups, path, "e" * 64) is None

"""What a node lacks for the agent that is declared: facts in, reasons out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MB = 1024 * 1024


@dataclass(frozen=True)
class Wanted:
    """What is declared. `cgroups`: version of control groups; None: none are used."""

    cpus: float
    mem_mb: int
    disk_mb: int
    cgroups: int | None = None
    docker_socket: str | None = None


@dataclass(frozen=True)
class Facts:
    """What the node has. `cgroups` None: none are mounted, or of both versions at once;
    `docker` is what keeps its socket from answering, None when it does."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    cgroups: int | None
    docker: str | None = None
    work_dir: str | None = None
    """What keeps the agent's folder from being used; None: nothing."""
    programs_missing: tuple[str, ...] = ()
    """Programs that the agent calls, and its image does not have."""


def reasons(wanted: Wanted, facts: Facts) -> tuple[str, ...]:
    """Why an agent may not start there; none when it may."""
    return tuple(_reasons(wanted, facts))


def _reasons(wanted: Wanted, facts: Facts) -> Iterator[str]:
    if wanted.cgroups is not None and facts.cgroups != wanted.cgroups:
        seen = "none, or both at once" if facts.cgroups is None else f"version {facts.cgroups}"
        yield (
            f"expected control groups of version {wanted.cgroups}, saw {seen}: set `cgroups` of "
            "the pool, or boot the node with the other hierarchy"
        )
    if facts.cpus < wanted.cpus:
        yield (
            f"expected {wanted.cpus:g} processors to offer, saw {facts.cpus}: lower `cpus` of the "
            "pool, or choose other nodes"
        )
    if facts.memory_bytes < wanted.mem_mb * _MB:
        yield (
            f"expected {wanted.mem_mb} MB of memory to offer, saw {facts.memory_bytes // _MB}: "
            "lower `mem_mb` of the pool, or choose other nodes"
        )
    if facts.disk_bytes < wanted.disk_mb * _MB:
        yield (
            f"expected a file system of {wanted.disk_mb} MB for sandboxes, saw "
            f"{facts.disk_bytes // _MB}: lower `disk_mb` of the pool, or mount a larger one"
        )
    if wanted.docker_socket is not None and facts.docker is not None:
        yield (
            f"expected a Docker engine behind {wanted.docker_socket}, saw {facts.docker}: install "
            "one, or leave `docker` out of the pool's containerizers"
        )
    if facts.work_dir is not None:
        yield f"expected a folder that an agent can use, saw {facts.work_dir}"
    for program in facts.programs_missing:
        yield (
            f"expected {program} in the agent's image, which networks of containers need, saw "
            "none: take an image that has it, or leave out `cluster.networks`"
        )

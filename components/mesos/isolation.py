"""How far tasks are kept apart on an agent, as flags of its containerizer.

Profiles, because isolators depend on each other, on the control groups of the host and on how the
program was built; a list that somebody puts together fails on the host. They are for the Mesos
containerizer: what the Docker containerizer starts is isolated by Docker.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from components.errors import ArgumentsError
from components.mesos.engine import CgroupVersion, Release


class Profile(StrEnum):
    """`posix`: none, tasks share all. `cgroups`: processors, memory and disk are held to what was
    asked, images have a root of their own. `hardened`: besides, no capability but a few, no new
    privileges, and process and IPC namespaces of their own."""

    POSIX = "posix"
    CGROUPS = "cgroups"
    HARDENED = "hardened"


class Containerizer(StrEnum):
    """What starts tasks."""

    MESOS = "mesos"
    DOCKER = "docker"


_IN_GROUPS = ("cgroups/cpu", "cgroups/mem", "cgroups/devices", "disk/du", "filesystem/linux",
              "docker/runtime", "volume/sandbox_path", "volume/host_path", "network/cni",
              "posix/rlimits")  # fmt: skip
# Controllers that version 2 has no counterpart of in the agents that know it.
_IN_GROUPS_1 = ("cgroups/pids", "cgroups/blkio")
_LIMITING = frozenset({"cgroups/cpu", "cgroups/mem"})
_HARDENING = ("linux/capabilities", "linux/nnp", "namespaces/pid", "namespaces/ipc")
# What a process needs that begins as root and becomes its user; Docker's default has more.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")


@dataclass(frozen=True)
class Isolation:
    """What agents of a pool do. `cgroups` is what its hosts have.

    Raises:
        ArgumentsError: the release cannot use those control groups, or nothing would start tasks.
    """

    profile: Profile = Profile.CGROUPS
    cgroups: CgroupVersion = CgroupVersion.V2
    containerizers: tuple[Containerizer, ...] = (Containerizer.MESOS,)

    def check(self, release: Release) -> None:
        """Refuse what a release cannot do on such a host.

        Raises:
            ArgumentsError: as said above.
        """
        if not self.containerizers or len(set(self.containerizers)) < len(self.containerizers):
            msg = f"expected containerizers, each once, saw {list(self.containerizers)}"
            raise ArgumentsError(msg)
        if self.profile is Profile.POSIX:
            return
        if self.cgroups not in release.cgroup_versions:
            known = ", ".join(str(int(one)) for one in sorted(release.cgroup_versions))
            msg = (
                f"expected hosts with control groups of a version that {release.engine} "
                f"{release.version} knows ({known}), saw version {int(self.cgroups)}: take another "
                "release, other hosts, or the profile posix, which isolates nothing"
            )
            raise ArgumentsError(msg)

    @property
    def isolators(self) -> Sequence[str]:
        """Names of its isolators, in the order that Mesos' documentation lists them."""
        if self.profile is Profile.POSIX:
            return ("posix/cpu", "posix/mem", "filesystem/posix")
        more = _IN_GROUPS_1 if self.cgroups is CgroupVersion.V1 else ()
        hardening = _HARDENING if self.profile is Profile.HARDENED else ()
        return (*_IN_GROUPS, *more, *hardening)

    def flags(self, cgroups_root: str) -> dict[str, str]:
        """Flags of an agent; `cgroups_root` must be its own where several share a host: each ends
        what it does not know below its root."""
        found = {
            "containerizers": ",".join(self.containerizers),
            "isolation": ",".join(self.isolators),
            "launcher": "posix" if self.profile is Profile.POSIX else "linux",
            # There is no systemd in a pod, and control groups of version 2 exclude it.
            "systemd_enable_support": "false",
        }
        if self.profile is Profile.POSIX:
            return found
        found |= {
            "cgroups_enable_cfs": "true",
            "cgroups_root": cgroups_root,
            "image_providers": "docker",
            "image_provisioner_backend": "overlay",
            "enforce_container_disk_quota": "true",
        }
        if self.profile is Profile.HARDENED:
            capabilities = json.dumps({"capabilities": list(_CAPABILITIES)})
            found |= {
                "effective_capabilities": capabilities,
                "bounding_capabilities": capabilities,
                "disallow_sharing_agent_pid_namespace": "true",
                "disallow_sharing_agent_ipc_namespace": "true",
            }
        return found


def limits_tasks(isolation: str | None) -> bool:
    """Whether agents that run with that flag hold tasks to their share, so that a task sees limits
    of its own."""
    return _LIMITING.issubset((isolation or "").split(","))

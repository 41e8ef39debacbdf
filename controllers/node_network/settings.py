"""What is put on a node. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from controllers.node_network.profiles import Bridge, Overlay, Profile, check
from controllers.settings import ControllerSettings

# Folders of plugins and of addresses.
_TAKEN = frozenset({"bin", "leases"})
# The system's, and those where Kubernetes, its runtimes and CNI have theirs: a network less in
# there, or another plugin of that name, and pods of the node start no more.
_OTHERS = tuple(
    Path(one)
    for one in (
        *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin"),
        *("/sys", "/usr", "/var/run", "/opt/cni", "/opt/containerd", "/var/lib/cni"),
        *("/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/lib/kubelet"),
    )
)


class NodeNetworkSettings(ControllerSettings):
    """All of it."""

    folder: Path
    """Folder of the node that agents see under the same path; plugins, configuration and addresses
    that are taken lie below it."""
    configuration: Path
    """Folder of configuration files, below `folder`; agents are told it by a flag."""
    plugins: Path = Path("/opt/mesos-platform/plugins")
    """Where the plugins lie in this image."""
    ready_file: Path = Path("/tmp/networks-ready")  # noqa: S108 - the pod's own
    """Made once everything is in place."""
    bridges: tuple[Bridge, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    every_s: Annotated[float, Field(gt=0)] = 10.0
    """Between two looks at these settings."""

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """All networks."""
        return (*self.bridges, *self.overlays)

    @field_validator("folder")
    @classmethod
    def _is_nobody_elses(cls, folder: Path) -> Path:
        if why := unfit(folder):
            raise ValueError(why)
        return folder

    @model_validator(mode="after")
    def _owns_its_folders(self) -> NodeNetworkSettings:
        below: tuple[str, ...] = ()
        if self.configuration.is_relative_to(self.folder):
            below = self.configuration.relative_to(self.folder).parts
        # What nobody declares there is removed, as another runtime's networks would be.
        if not below or below[0] in _TAKEN or ".." in below:
            msg = (
                f"expected a folder of its own below {self.folder}, and not of {sorted(_TAKEN)}, "
                f"saw {self.configuration}: every other file in it is removed"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _can_be_together(self) -> NodeNetworkSettings:
        check(self.profiles)
        return self


def unfit(folder: Path) -> str | None:
    """Why networks may not be put below a folder of a node; None: they may."""
    wanted = "expected a folder of the networks' own, such as /var/lib/mesos-platform/networks, saw"
    if not folder.is_absolute() or ".." in folder.parts:
        return f"{wanted} {folder}: name it from the root, without '..'"
    for other in _OTHERS:
        if folder.is_relative_to(other) or other.is_relative_to(folder):
            lies = "lies in" if folder.is_relative_to(other) else "holds"
            return (
                f"{wanted} {folder}, which {lies} {other}: plugins there would be replaced and "
                "configuration removed, name another"
            )
    return None

"""What is put on a node. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from controllers.node_network.profiles import Bridge, Overlay, Profile, check
from controllers.settings import ControllerSettings

# Folders of plugins and of addresses.
_TAKEN = frozenset({"bin", "leases"})


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

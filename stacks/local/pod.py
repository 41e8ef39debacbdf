"""What a process learns of its pod, where one file of settings serves those of many pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from stacks.local.settings import AgentSettings, MasterSettings

# Set by host targets that schedule pods.
_POD_IP = "POD_IP"
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared, not bound
S = TypeVar("S", MasterSettings, AgentSettings)


def in_pod(settings: S, variables: Mapping[str, str]) -> S:
    """The settings of a process that binds every address of its pod: it has to tell others one that
    leads to it."""
    own = variables.get(_POD_IP)
    if own is None or settings.ip != _EVERY_ADDRESS or settings.advertise_ip is not None:
        return settings
    return settings.model_copy(update={"advertise_ip": own})

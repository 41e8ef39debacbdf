"""Networks for containers of the Mesos containerizer: `bridge` and `overlay`, on agents' nodes.

What a profile is, and what becomes of it on a node, is `controllers.node_network`'s: a container in
front of each agent puts plugins and configuration there, and stays beside it, because overlays have
to learn of nodes that come and go. This module says what a pool's agents are told.

Agents read configuration at each launch, but learn of a new name only at their start. So the folder
that they are told is named after the networks in it: the flag of a running agent says which names
it knows, and an agent that names others was started before (`migrate check`).

Both colours' agents may stand on one node, so what is there belongs to the node: one folder, with
the addresses that are taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from components.errors import ArgumentsError
from components.workload import NodeSetup, Program
from controllers.node_network.profiles import (
    Bridge,
    Overlay,
    Profile,
    check,
    check_apart,
)

FOLDER = "/var/lib/mesos-platform/networks"
"""Of a node, and in its agents under the same path."""
LAUNCHER_DIR = "/usr/libexec/mesos"
"""Where Mesos' own plugins lie in an agent's image."""
CONFIG_FLAG = "network_cni_config_dir"
PLUGINS_FLAG = "network_cni_plugins_dir"
_CONFIGURATIONS = f"{FOLDER}/by-name"
_SEPARATOR = "+"
# Of a path's part, by most file systems.
_PART_MAX = 255


@dataclass(frozen=True)
class Networks:
    """Networks of all agents, and what puts them on nodes: `program` executes
    `controllers.node_network`, in an image that holds the plugins, `ip`, `bridge` and `iptables`.

    Raises:
        ProfileError: two of them cannot be on one node.
        ArgumentsError: there is none, or they are too many to be named together.
    """

    profiles: tuple[Profile, ...]
    program: Program

    def __post_init__(self) -> None:
        check(self.profiles)
        joined = _SEPARATOR.join(sorted(self.names))
        if not 0 < len(joined) <= _PART_MAX:
            msg = (
                f"expected networks whose names have up to {_PART_MAX} characters together, saw "
                f"{len(joined)}: shorten them"
            )
            raise ArgumentsError(msg)

    @property
    def names(self) -> frozenset[str]:
        """Names that an agent with these must know."""
        return frozenset(profile.name for profile in self.profiles)

    @property
    def map_ports(self) -> bool:
        """Whether an agent's image has to hold Mesos' own plugin."""
        return any(isinstance(one, Bridge) and one.ports for one in self.profiles)

    def flags(self) -> dict[str, str]:
        """What agents are told."""
        places = [f"{FOLDER}/bin", *([LAUNCHER_DIR] if self.map_ports else [])]
        return {CONFIG_FLAG: _configuration(self.names), PLUGINS_FLAG: ":".join(places)}

    def setup(self) -> NodeSetup:
        """What stands in front of an agent, and beside it."""
        bridges = [asdict(one) for one in self.profiles if isinstance(one, Bridge)]
        overlays = [asdict(one) for one in self.profiles if isinstance(one, Overlay)]
        ready_file = "/tmp/networks-ready"  # noqa: S108 - the pod's own
        config = {
            "folder": FOLDER,
            "configuration": _configuration(self.names),
            "ready_file": ready_file,
            "bridges": bridges,
            "overlays": overlays,
        }
        return NodeSetup(
            name="networks",
            program=self.program,
            config=json.dumps(config, indent=2) + "\n",
            folder=FOLDER,
            ready_file=ready_file,
            # Devices, ways and filter rules are an overlay's; files are all that a bridge needs.
            capabilities=("NET_ADMIN", "NET_RAW") if overlays else (),
        )


def check_beside(profiles: Sequence[Profile], node_networks: Sequence[str]) -> None:
    """Refuse networks that hide those of nodes from them.

    Raises:
        ProfileError: as said above.
    """
    check_apart(profiles, node_networks, "the network of nodes")


def known(flags: Mapping[str, str]) -> frozenset[str]:
    """Names of the networks that an agent with these flags knows; none without any."""
    folder, _, joined = flags.get(CONFIG_FLAG, "").rpartition("/")
    return frozenset(joined.split(_SEPARATOR)) if folder == _CONFIGURATIONS else frozenset()


def _configuration(names: frozenset[str]) -> str:
    return f"{_CONFIGURATIONS}/{_SEPARATOR.join(sorted(names))}"

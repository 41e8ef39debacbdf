"""Networks for containers of the Mesos containerizer: profiles, as CNI configuration lists.

A profile is a name that tasks ask for and the list of plugins that makes it: `bridge` keeps
containers of one agent on a network of its own and lets them out by address translation; `overlay`
joins all agents' containers by VXLAN, each agent with a part of one network. Agents read the files
at each launch, but learn of a new name only at their start.

Values and the script of an init container that puts plugins and files where the agent looks for
them: no component declares it yet. An agent that does not tell a declared name has not taken it
(see `names`).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import ArgumentsError

VERSION = "1.0.0"
"""Of the CNI specification; agents of Mesos 1.11 pass the configuration on as it is."""
PLUGINS = ("bridge", "host-local", "portmap", "loopback")
"""Of github.com/containernetworking/plugins, what profiles use."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
# Names of devices have at most 15 characters.
_DEVICE_MAX = 15
_VXLAN_OVERHEAD = 50
_MTU = 1500
_VNI_MAX = 2**24 - 1
_VXLAN_PORT = 4789
_AGENT_BITS_MIN = 2


@dataclass(frozen=True)
class Bridge:
    """Containers of one agent on a bridge of its own; `subnet` is the same on every agent.

    Raises:
        ArgumentsError: the name or network cannot be.
    """

    name: str
    subnet: str = "172.31.254.0/24"
    mtu: int = _MTU

    def __post_init__(self) -> None:
        _check_name(self.name)
        _network(self.subnet, self.name)

    def document(self, agent: int = 0) -> dict[str, Any]:
        """The configuration list; the same on every agent."""
        del agent
        return _list(self.name, _bridge(self.name, self.subnet, self.mtu, masquerade=True))

    def setup(
        self, agent: int = 0, peers: Sequence[str] = (), address: str = ""
    ) -> list[list[str]]:
        """Commands that a node needs besides; none."""
        del agent, peers, address
        return []


@dataclass(frozen=True)
class Overlay:
    """Containers of all agents on one network: agent `n` has the `n`-th part of `network` with
    `agent_prefix` bits, and reaches the others' through VXLAN `vni`.

    Raises:
        ArgumentsError: the name, a network or number cannot be.
    """

    name: str
    network: str = "10.200.0.0/16"
    agent_prefix: int = 24
    vni: int = 4711
    mtu: int = _MTU - _VXLAN_OVERHEAD

    def __post_init__(self) -> None:
        _check_name(self.name)
        network = _network(self.network, self.name)
        smallest = network.max_prefixlen - _AGENT_BITS_MIN
        if not network.prefixlen < self.agent_prefix <= smallest:
            msg = (
                f"{self.name}: expected agents' parts smaller than {self.network} that hold "
                f"a container, saw /{self.agent_prefix}"
            )
            raise ArgumentsError(msg)
        if not 0 < self.vni <= _VNI_MAX:
            msg = f"{self.name}: expected a VXLAN number up to {_VNI_MAX}, saw {self.vni}"
            raise ArgumentsError(msg)
        if self.mtu > _MTU - _VXLAN_OVERHEAD:
            msg = (
                f"{self.name}: VXLAN adds {_VXLAN_OVERHEAD} bytes to each packet: expected an MTU "
                f"of at most {_MTU - _VXLAN_OVERHEAD}, saw {self.mtu}"
            )
            raise ArgumentsError(msg)

    @property
    def agents_max(self) -> int:
        """For how many agents there is room."""
        return 2 ** (self.agent_prefix - _network(self.network, self.name).prefixlen)

    @property
    def vxlan(self) -> str:
        """Name of the device that packets to other agents go through."""
        return f"vx{self.vni}"

    def part(self, agent: int) -> ipaddress.IPv4Network:
        """An agent's part.

        Raises:
            ArgumentsError: there is none left for it.
        """
        if not 0 <= agent < self.agents_max:
            msg = f"{self.name}: room for {self.agents_max} agents in {self.network}, saw {agent}"
            raise ArgumentsError(msg)
        network = _network(self.network, self.name)
        size = 2 ** (network.max_prefixlen - self.agent_prefix)
        return ipaddress.IPv4Network(
            (int(network.network_address) + agent * size, self.agent_prefix)
        )

    def document(self, agent: int = 0) -> dict[str, Any]:
        """The configuration list of an agent."""
        # The plugin would translate what goes to other agents' parts, too: see `setup`.
        bridge = _bridge(self.name, str(self.part(agent)), self.mtu, masquerade=False)
        # The rest of the network is reached like the agent's own part, by the bridge.
        bridge["ipam"]["routes"].insert(0, {"dst": self.network})
        return _list(self.name, bridge)

    def setup(self, agent: int, peers: Sequence[str], address: str) -> list[list[str]]:
        """Commands for a node of this address whose agents' numbers are those of `peers`: its own
        end of the tunnel, and a route and the way to each other part."""
        own = self.part(agent)
        end = own.network_address
        commands = [
            ["ip", "link", "add", self.vxlan, "type", "vxlan", "id", str(self.vni),
             "local", address, "dstport", str(_VXLAN_PORT), "nolearning"],
            ["ip", "link", "set", self.vxlan, "mtu", str(self.mtu), "address", _mac(end), "up"],
            ["ip", "addr", "add", f"{end}/32", "dev", self.vxlan],
            ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"],
            # What leaves the overlay goes out under the node's address; within, nothing does.
            ["iptables", "-t", "nat", "-A", "POSTROUTING", "-s", str(own),
             "!", "-d", self.network, "-j", "MASQUERADE"],
        ]  # fmt: skip
        for number, peer in enumerate(peers):
            if number == agent:
                continue
            other = self.part(number)
            gateway = other.network_address
            commands += [
                ["bridge", "fdb", "append", _mac(gateway), "dev", self.vxlan, "dst", peer],
                ["ip", "neigh", "replace", str(gateway), "lladdr", _mac(gateway),
                 "dev", self.vxlan],
                ["ip", "route", "replace", str(other), "via", str(gateway), "dev", self.vxlan,
                 "onlink"],
            ]  # fmt: skip
        return commands


Profile = Bridge | Overlay


def check(profiles: Sequence[Profile]) -> tuple[Profile, ...]:
    """Refuse profiles that cannot be on one agent together.

    Raises:
        ArgumentsError: two have one name, device or tunnel, or their networks overlap.
    """
    seen: dict[str, Profile] = {}
    for profile in profiles:
        for other in seen.values():
            if _network(_whole(profile), profile.name).overlaps(
                _network(_whole(other), other.name)
            ):
                msg = (
                    f"networks {other.name} ({_whole(other)}) and {profile.name} "
                    f"({_whole(profile)}) overlap: give one of them another"
                )
                raise ArgumentsError(msg)
            tunnels = {one.vni for one in (profile, other) if isinstance(one, Overlay)}
            both = isinstance(profile, Overlay) and isinstance(other, Overlay)
            if both and len(tunnels) == 1:
                msg = f"{other.name} and {profile.name} have VXLAN {tunnels.pop()} both"
                raise ArgumentsError(msg)
        if profile.name in seen:
            msg = f"expected each network once, saw {profile.name} twice"
            raise ArgumentsError(msg)
        device = _device(profile.name)
        if same := [one for one in seen if _device(one) == device]:
            msg = f"{same[0]} and {profile.name} have the device {device} both: shorten a name"
            raise ArgumentsError(msg)
        seen[profile.name] = profile
    return tuple(profiles)


def names(profiles: Sequence[Profile]) -> frozenset[str]:
    """Names that an agent with these profiles must know."""
    return frozenset(profile.name for profile in profiles)


def files(profiles: Sequence[Profile], agent: int = 0) -> dict[str, str]:
    """Files of the configuration folder of an agent, by name."""
    return {
        f"{profile.name}.conflist": json.dumps(profile.document(agent), indent=2) + "\n"
        for profile in check(profiles)
    }


def install_script(*, plugins_from: str, config_from: str, plugins_to: str, config_to: str) -> str:
    """What the init container runs: plugins and files are replaced one by one, each at once, so
    that an agent which launches a container meanwhile finds an old one or a new one, never half."""
    move = (
        'cp "$1" "$2/.$(basename "$1").new" && mv "$2/.$(basename "$1").new" "$2/$(basename "$1")"'
    )
    wanted = " ".join(PLUGINS)
    return "\n".join(
        (
            "set -eu",
            f"put() {{ {move}; }}",
            f"mkdir -p {plugins_to} {config_to}",
            f"for name in {wanted}; do put {plugins_from}/$name {plugins_to}; done",
            # A profile that is declared no more must not be found.
            f"for file in {config_to}/*.conflist; do",
            f'    [ ! -e "$file" ] || [ -e "{config_from}/$(basename "$file")" ] || rm "$file"',
            "done",
            f"for file in {config_from}/*.conflist; do put $file {config_to}; done",
        )
    )


def agent_flags(*, plugins: str, config: str) -> dict[str, str]:
    """Flags of an agent that looks there."""
    return {"network_cni_plugins_dir": plugins, "network_cni_config_dir": config}


def _list(name: str, bridge: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cniVersion": VERSION,
        "name": name,
        "plugins": [
            dict(bridge),
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def _bridge(name: str, subnet: str, mtu: int, *, masquerade: bool) -> dict[str, Any]:
    return {
        "type": "bridge",
        "bridge": _device(name),
        "isGateway": True,
        "ipMasq": masquerade,
        "hairpinMode": True,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }


def _device(name: str) -> str:
    return f"m-{name}"[:_DEVICE_MAX]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        msg = f"expected a network's name of {_NAME.pattern}, saw {name!r}"
        raise ArgumentsError(msg)


def _network(text: str, name: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        msg = f"{name}: expected a network such as 10.200.0.0/16, saw {text!r} ({error})"
        raise ArgumentsError(msg) from None
    if network.prefixlen > network.max_prefixlen - _AGENT_BITS_MIN:
        msg = f"{name}: expected room for a container in {text}"
        raise ArgumentsError(msg)
    return network


def _whole(profile: Profile) -> str:
    return profile.network if isinstance(profile, Overlay) else profile.subnet


def _mac(address: ipaddress.IPv4Address) -> str:
    """A local address that follows from that of the tunnel's end."""
    return ":".join(f"{byte:02x}" for byte in (0x0A, 0x58, *address.packed))

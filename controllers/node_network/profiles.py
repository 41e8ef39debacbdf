"""Networks for containers of the Mesos containerizer, as values.

A profile is a name that tasks ask for and the configuration of the plugin that makes it: `Bridge`
keeps containers of one node on a network of its own and lets them out by address translation;
`Overlay` joins the containers of all nodes by VXLAN, each node with a part of one network.

Agents take one plugin a network, not a list of them, and read results of version 0.2 of the CNI
specification (`NetworkConfig` and `NetworkInfo` in `isolators/network/cni/spec.proto` of Mesos
1.11): a configuration list is one that they skip, and say so in their log alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controllers.errors import ProfileError

VERSION = "0.2.0"
"""Of the CNI specification."""
PLUGINS = ("bridge", "host-local")
"""Of github.com/containernetworking/plugins, what profiles use."""
PORT_MAPPER = "mesos-cni-port-mapper"
"""Mesos' own plugin, which wraps another."""
PORTS_CHAIN = "MESOS-PORTS"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
# Names of devices have at most 15 characters.
_DEVICE_MAX = 15
_VXLAN_OVERHEAD = 50
_MTU = 1500
_VNI_MAX = 2**24 - 1
_VXLAN_PORT = 4789
_NODE_BITS_MIN = 2


class Step(NamedTuple):
    """A command for a node; left out where `unless` succeeds."""

    words: tuple[str, ...]
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bridge:
    """Containers of one node on a bridge of its own; `subnet` is the same on every node.

    With `ports`, ports of the node lead to those that a container maps, by a plugin that Mesos
    brings; the agents' image has to hold it, and `iptables`.

    Raises:
        ProfileError: the name or network cannot be.
    """

    name: str
    subnet: str = "172.31.254.0/24"
    mtu: int = _MTU
    ports: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        _network(self.subnet, self.name)

    @property
    def whole(self) -> str:
        """All addresses of it."""
        return self.subnet

    def document(self, leases: str, node: int = 0) -> dict[str, Any]:
        """Its configuration file; the same on every node. `leases` is a folder for addresses that
        are taken."""
        del node
        bridge = _bridge(self.name, self.subnet, self.mtu, leases, masquerade=True)
        named = {"cniVersion": VERSION, "name": self.name}
        if not self.ports:
            return named | bridge
        mapper = {"chain": PORTS_CHAIN, "excludeDevices": [device(self.name)]}
        return {**named, "type": PORT_MAPPER, **mapper, "delegate": {**named, **bridge}}


@dataclass(frozen=True)
class Overlay:
    """Containers of all nodes on one network: node `n` has the `n`-th part of `network` with
    `node_prefix` bits, and reaches the others' through VXLAN `vni`. `nodes` are addresses by
    number; a number that was given once stays its node's.

    Raises:
        ProfileError: the name, a network, a number or an address cannot be.
    """

    name: str
    network: str = "10.200.0.0/16"
    node_prefix: int = 24
    vni: int = 4711
    mtu: int = _MTU - _VXLAN_OVERHEAD
    nodes: Mapping[int, str] = field(default_factory=dict[int, str])

    def __post_init__(self) -> None:
        _check_name(self.name)
        network = _network(self.network, self.name)
        smallest = network.max_prefixlen - _NODE_BITS_MIN
        if not network.prefixlen < self.node_prefix <= smallest:
            msg = (
                f"{self.name}: expected nodes' parts smaller than {self.network} that hold "
                f"a container, saw /{self.node_prefix}"
            )
            raise ProfileError(msg)
        if not 0 < self.vni <= _VNI_MAX:
            msg = f"{self.name}: expected a VXLAN number up to {_VNI_MAX}, saw {self.vni}"
            raise ProfileError(msg)
        if self.mtu > _MTU - _VXLAN_OVERHEAD:
            msg = (
                f"{self.name}: VXLAN adds {_VXLAN_OVERHEAD} bytes to each packet: expected an MTU "
                f"of at most {_MTU - _VXLAN_OVERHEAD}, saw {self.mtu}"
            )
            raise ProfileError(msg)
        self._check_nodes()

    def _check_nodes(self) -> None:
        for number, address in self.nodes.items():
            self.part(number)
            try:
                ipaddress.IPv4Address(address)
            except ValueError:
                msg = f"{self.name}: expected addresses of nodes, saw {address!r}"
                raise ProfileError(msg) from None
        addresses = list(self.nodes.values())
        if twice := sorted({one for one in addresses if addresses.count(one) > 1}):
            msg = f"{self.name}: expected one number a node, saw several of {', '.join(twice)}"
            raise ProfileError(msg)

    @property
    def whole(self) -> str:
        """All addresses of it."""
        return self.network

    @property
    def nodes_max(self) -> int:
        """For how many nodes there is room."""
        return 2 ** (self.node_prefix - _network(self.network, self.name).prefixlen)

    @property
    def vxlan(self) -> str:
        """Name of the device that packets to other nodes go through."""
        return f"vx{self.vni}"

    def number(self, address: str) -> int:
        """A node's number.

        Raises:
            ProfileError: it has none.
        """
        for number, known in self.nodes.items():
            if known == address:
                return number
        msg = (
            f"expected {address} among the nodes of the network {self.name}, saw "
            f"{', '.join(self.nodes.values()) or 'none'}: give it a number that no other had"
        )
        raise ProfileError(msg)

    def part(self, node: int) -> ipaddress.IPv4Network:
        """A node's part.

        Raises:
            ProfileError: there is none left for it.
        """
        if not 0 <= node < self.nodes_max:
            msg = f"{self.name}: room for {self.nodes_max} nodes in {self.network}, saw {node}"
            raise ProfileError(msg)
        network = _network(self.network, self.name)
        size = 2 ** (network.max_prefixlen - self.node_prefix)
        return ipaddress.IPv4Network((int(network.network_address) + node * size, self.node_prefix))

    def document(self, leases: str, node: int) -> dict[str, Any]:
        """Its configuration file on a node."""
        # The plugin would translate what goes to other nodes' parts, too: see `steps`.
        bridge = _bridge(self.name, str(self.part(node)), self.mtu, leases, masquerade=False)
        # The rest of the network is reached like the node's own part, by the bridge.
        bridge["ipam"]["routes"].insert(0, {"dst": self.network})
        return {"cniVersion": VERSION, "name": self.name, **bridge}

    def steps(self, node: int) -> Iterator[Step]:
        """What a node needs besides: its own end of the tunnel, and the way to each other part.
        All of it may be done again."""
        own = self.part(node)
        end = own.network_address
        yield Step(
            ("ip", "link", "add", self.vxlan, "type", "vxlan", "id", str(self.vni), "local",
             self.nodes[node], "dstport", str(_VXLAN_PORT), "nolearning"),
            unless=("ip", "link", "show", self.vxlan),
        )  # fmt: skip
        yield Step(
            ("ip", "link", "set", self.vxlan, "mtu", str(self.mtu), "address", _mac(end), "up")
        )
        yield Step(("ip", "address", "replace", f"{end}/32", "dev", self.vxlan))
        # What leaves the overlay goes out under the node's address; within, nothing does.
        rule = ("POSTROUTING", "-s", str(own), "!", "-d", self.network, "-j", "MASQUERADE")
        table = ("iptables", "-w", "-t", "nat")
        yield Step((*table, "-A", *rule), unless=(*table, "-C", *rule))
        for number, peer in sorted(self.nodes.items()):
            if number == node:
                continue
            other = self.part(number)
            gateway, device_words = str(other.network_address), ("dev", self.vxlan)
            mac = _mac(other.network_address)
            yield Step(("bridge", "fdb", "replace", mac, *device_words, "dst", peer))
            yield Step(("ip", "neighbour", "replace", gateway, "lladdr", mac, *device_words))
            yield Step(("ip", "route", "replace", str(other), "via", gateway, *device_words,
                        "onlink"))  # fmt: skip

    def ways(self, node: int) -> frozenset[str]:
        """Parts that a node has a way to; others lead nowhere and go."""
        return frozenset(str(self.part(number)) for number in self.nodes if number != node)


Profile = Bridge | Overlay


def check(profiles: Sequence[Profile]) -> tuple[Profile, ...]:
    """Refuse profiles that cannot be on one node together.

    Raises:
        ProfileError: two have one name, device or tunnel, or their networks overlap.
    """
    seen: dict[str, Profile] = {}
    for profile in profiles:
        for other in seen.values():
            if _network(profile.whole, profile.name).overlaps(_network(other.whole, other.name)):
                msg = (
                    f"networks {other.name} ({other.whole}) and {profile.name} "
                    f"({profile.whole}) overlap: give one of them another"
                )
                raise ProfileError(msg)
            tunnels = {one.vni for one in (profile, other) if isinstance(one, Overlay)}
            both = isinstance(profile, Overlay) and isinstance(other, Overlay)
            if both and len(tunnels) == 1:
                msg = f"{other.name} and {profile.name} have VXLAN {tunnels.pop()} both"
                raise ProfileError(msg)
        if profile.name in seen:
            msg = f"expected each network once, saw {profile.name} twice"
            raise ProfileError(msg)
        same = [one for one in seen if device(one) == device(profile.name)]
        if same:
            msg = (
                f"{same[0]} and {profile.name} have the device {device(profile.name)} both: "
                "shorten a name"
            )
            raise ProfileError(msg)
        seen[profile.name] = profile
    return tuple(profiles)


def check_apart(profiles: Sequence[Profile], networks: Sequence[str], whose: str) -> None:
    """Refuse a profile that has addresses of other networks: a node would no longer reach them.

    Raises:
        ProfileError: as said above.
    """
    for profile in profiles:
        own = _network(profile.whole, profile.name)
        for text in networks:
            other = ipaddress.ip_network(text)
            if other.version == own.version and own.overlaps(other):
                msg = (
                    f"network {profile.name} ({profile.whole}) overlaps {whose} ({text}): give "
                    "it another"
                )
                raise ProfileError(msg)


def device(name: str) -> str:
    """The bridge of a network."""
    return f"m-{name}"[:_DEVICE_MAX]


def _bridge(name: str, subnet: str, mtu: int, leases: str, *, masquerade: bool) -> dict[str, Any]:
    return {
        "type": "bridge",
        "bridge": device(name),
        "isGateway": True,
        "ipMasq": masquerade,
        "hairpinMode": True,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            # The default lies on an agent's own root, which nobody writes to, and which agents of
            # the other colour on this node do not see.
            "dataDir": leases,
        },
    }


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        msg = f"expected a network's name of {_NAME.pattern}, saw {name!r}"
        raise ProfileError(msg)


def _network(text: str, name: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        msg = f"{name}: expected a network such as 10.200.0.0/16, saw {text!r} ({error})"
        raise ProfileError(msg) from None
    if network.prefixlen > network.max_prefixlen - _NODE_BITS_MIN:
        msg = f"{name}: expected room for a container in {text}"
        raise ProfileError(msg)
    return network


def _mac(address: ipaddress.IPv4Address) -> str:
    """A local address that follows from that of the tunnel's end."""
    return ":".join(f"{byte:02x}" for byte in (0x0A, 0x58, *address.packed))

"""The first process of a node's namespaces: `python -m tests.kubernetes.sandbox_init FOLDER`.

It makes a machine of them: file systems for what a node writes, below FOLDER; control groups as if
there were no others; an interface, because a kubelet takes no loopback address. Then it says so,
and waits for processes that nobody else waits for, as the first process of a machine must.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

NAME = "node"
ADDRESS = "10.0.0.2"
NETWORK = "10.0.0.0/24"
INTERFACE = "node0"
# What a kubelet would set, and thereby change the whole machine: it finds that it holds already.
_TUNABLES = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
# Those of a network namespace are its own.
_NETWORK_TUNABLES = {"ipv4/ip_forward": 1, "bridge/bridge-nf-call-iptables": 1}
# Bytes of connections, which the probe reads where a node counts them. Not there before anything
# tracks connections, and never on a kernel that cannot.
_COUNTS_BYTES = Path("/proc/sys/net/netfilter/nf_conntrack_acct")
PLACES = ("/var/lib", "/var/log", "/run")
"""Where a node writes: each is its own, and lies under the same path in its folder."""
_CGROUPS = Path("/sys/fs/cgroup")
_IDLE_S = 0.5


def main() -> None:
    """Make the machine, say so, and stay."""
    folder = Path(sys.argv[1])
    _make_files(folder)
    _make_groups()
    _make_network()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(_IDLE_S)


def _make_files(folder: Path) -> None:
    _run("mount", "--make-rprivate", "/")
    # Names of the cluster, for what runs beside it.
    resolver = folder / "resolv.conf"
    resolver.write_text(
        f"nameserver {ADDRESS}\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"
    )
    _run("mount", "--bind", str(resolver), str(Path("/etc/resolv.conf").resolve()))
    for place in PLACES:
        inner = folder / place.strip("/")
        inner.mkdir(parents=True)
        _run("mount", "--bind", str(inner), place)
    Path("/run/lock").mkdir()
    tunables = folder / "tunables"
    for name, value in _TUNABLES.items():
        file = tunables / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        _run("mount", "--bind", str(file), f"/proc/sys/{name}")
    # Its control groups too: programs would find each hierarchy twice.
    _run("umount", "--recursive", "--lazy", "/sys")
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    # A pod may hand its mounts to the node.
    _run("mount", "--make-rshared", "/")


def _make_groups() -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    hierarchies = [line.split(":")[1] for line in lines]
    if hierarchies == [""]:
        _run("mount", "-t", "cgroup2", "cgroup2", str(_CGROUPS))
        return
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(_CGROUPS))
    for controllers in filter(None, hierarchies):
        place = _CGROUPS / controllers.removeprefix("name=")
        place.mkdir()
        _run("mount", "-t", "cgroup", "-o", controllers, "cgroup", str(place))


def _make_network() -> None:
    _run("hostname", NAME)
    _run("ip", "link", "set", "lo", "up")
    # A bridge without ports does what a dummy interface would, which not every kernel has.
    _run("ip", "link", "add", INTERFACE, "type", "bridge")
    _run("ip", "address", "add", f"{ADDRESS}/24", "dev", INTERFACE)
    _run("ip", "link", "set", INTERFACE, "up")
    # Addresses of services are looked for somewhere before they are translated.
    _run("ip", "route", "add", "default", "dev", INTERFACE)
    for name, value in _NETWORK_TUNABLES.items():
        Path("/proc/sys/net", name).write_text(str(value))
    if _COUNTS_BYTES.exists():
        _COUNTS_BYTES.write_text("1")


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main()

"""What a cluster's probe watches of Mesos: ensembles, masters, Marathon.

Those of both colours, whichever of them exists now: no update of a migration changes what the probe
is told, and until a colour is there the probe says that it does not answer. Values only. Addresses
are names of Services, secrets are keys of a Secret that pods mount: nothing here sees a value.

Whoever watches the cluster asks them, so it is asked once and not by every node. A node's own agent
asks the Mesos agents beside it what their containers run, which takes no credential. The sync
engine is not among them: its sides change colours after a migration, when nothing may be touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.errors import ArgumentsError
from components.mesos.access import MARATHON_SECRET, PROBE_SECRET
from components.security.secrets import SecretStore

WATCHED_SECRET = "mesos-platform"  # noqa: S105 - the name of a Secret, as in the stack's namespace
"""Secret of the watchers' namespace with a key a credential."""
CREDENTIALS = "/run/secrets/mesos-platform"
"""Where a watcher finds them."""
_PLACES = ("zookeeper", "masters", "marathon")


class Watch(StrEnum):
    """What may be watched.

    `zookeeper`: servers, which ask for no credential. `mesos`: masters, by a principal of the
    probe's own that sees and does nothing (`principal-probe`). `marathon`: by its one credential,
    which may do everything (`principal-marathon`).
    """

    ZOOKEEPER = "zookeeper"
    MESOS = "mesos"
    MARATHON = "marathon"


@dataclass(frozen=True)
class WatchedCluster:
    """Servers of one colour, `host:port` of each. An agent at `agent_port` of whatever node is of
    this colour."""

    color: str
    zookeeper: tuple[str, ...]
    masters: tuple[str, ...]
    agent_port: int


@dataclass(frozen=True)
class Watched:
    """What there is, where all of it lies, and what of it is watched. `store` fills the Secret with
    credentials; None: somebody else does.

    Raises:
        ArgumentsError: something is to be watched that is not there.
    """

    what: tuple[Watch, ...] = ()
    namespace: str = ""
    clusters: tuple[WatchedCluster, ...] = ()
    marathon: tuple[str, ...] = ()
    store: SecretStore | None = None

    def __post_init__(self) -> None:
        there = {
            Watch.ZOOKEEPER: self.clusters,
            Watch.MESOS: self.clusters,
            Watch.MARATHON: self.clusters and self.marathon,
        }
        for one in self.what:
            if not there[one]:
                msg = (
                    f"expected the probe to watch what is there, saw {one}, of which there is none"
                )
                raise ArgumentsError(msg)
        if self.what and not self.namespace:
            what = ", ".join(self.what)
            msg = f"expected the namespace of what the probe watches ({what}), saw none"
            raise ArgumentsError(msg)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the Secret that watchers mount, each a file."""
        wanted = {
            Watch.MESOS: PROBE_SECRET,
            Watch.MARATHON: MARATHON_SECRET,
        }
        return tuple(str(key) for one, key in wanted.items() if one in self.what)

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports that watchers must reach."""
        told = self.watcher_settings().get("mesos", ())
        places = [place for one in told for kind in _PLACES for place in one.get(kind, ())]
        return tuple(sorted({int(place.rpartition(":")[2]) for place in places}))

    def watcher_settings(self) -> dict[str, Any]:
        """Settings of who watches the cluster; nothing where nothing is watched."""
        return {"mesos": [self._cluster(one) for one in self.clusters]} if self.what else {}

    def agent_settings(self) -> dict[str, Any]:
        """Settings of a node's agent, by the node's own network: an agent of Mesos uses it too."""
        if Watch.MESOS not in self.what:
            return {}
        urls = [f"http://127.0.0.1:{one.agent_port}" for one in self.clusters]
        return {"mesos_agents": [{"url": url} for url in urls]}

    def _cluster(self, one: WatchedCluster) -> dict[str, Any]:
        found: dict[str, Any] = {"cluster": one.color}
        if Watch.ZOOKEEPER in self.what:
            found["zookeeper"] = list(one.zookeeper)
        if Watch.MESOS in self.what:
            found["masters"] = list(one.masters)
            found["agents"] = [f"*:{one.agent_port}"]
            found["credential_file"] = _file(PROBE_SECRET)
        if Watch.MARATHON in self.what:
            # One Marathon, which moves from colour to colour.
            found["marathon"] = list(self.marathon)
            found["marathon_credential_file"] = _file(MARATHON_SECRET)
        return found


NOTHING = Watched()
"""Nothing of Mesos is watched."""


def _file(key: str) -> str:
    return f"{CREDENTIALS}/{key}"

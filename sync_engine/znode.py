"""What ZooKeeper stores under a path, as plain values. No I/O.

The small values are named tuples, which cost half of what frozen dataclasses do: a replicator makes
several for each write.

Null and empty data are different things to clients (Marathon writes empty data for "deleted"), so
`data` is None for null and nothing here treats the two alike. ZooKeeper's data model:
https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#sc_zkDataModel_znodes
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

PERM_READ = 1
PERM_WRITE = 2
PERM_CREATE = 4
PERM_DELETE = 8
PERM_ADMIN = 16
PERM_ALL = 31

_LENGTH = struct.Struct(">q")
_NULL = _LENGTH.pack(-1)
# Trees have a handful of ACLs; the bound only keeps an odd one from growing the cache for ever.
_ACLS_CACHED_MAX = 1024


class Acl(NamedTuple):
    """One entry of an access control list."""

    perms: int
    scheme: str
    id: str

    @property
    def is_masked(self) -> bool:
        """Whether the server hid the digest because the reader has no ADMIN right.

        Written back, such an entry would lock everyone out.
        """
        return self.scheme == "digest" and self.id.endswith(":x")


WORLD_ALL = (Acl(PERM_ALL, "world", "anyone"),)
"""Everybody may do everything; ZooKeeper's own default."""


class Stat(NamedTuple):
    """ZooKeeper's account of a znode. Times are milliseconds on the leader's clock.

    `czxid` is the znode's identity: deleted and created again, it has another one. `aversion`
    counts changes of the ACL, which move no zxid at all.
    """

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int

    @property
    def creates(self) -> int:
        """How many children were ever created, which is the number of the next sequential one."""
        return (self.cversion + self.num_children) // 2


@dataclass(frozen=True, slots=True)
class Znode:
    """One path with everything that is copied of it."""

    path: str
    data: bytes | None
    acl: tuple[Acl, ...]
    stat: Stat


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What a znode is created as: persistent, a container, or with a time to live.

    No Stat tells it: all three look persistent to every client.
    """

    is_container: bool = False
    ttl_ms: int | None = None

    @property
    def expires(self) -> bool:
        """Whether a server may delete it by itself."""
        return self.is_container or self.ttl_ms is not None


PERSISTENT = NodeKind()


def content_hash(data: bytes | None, acl: Iterable[Acl]) -> bytes:
    """SHA-256 of what a copy must have in common with its source.

    The order of ACL entries has no meaning to a server and none here.
    """
    head = _NULL if data is None else _LENGTH.pack(len(data)) + data
    return hashlib.sha256(head + _acl_bytes(tuple(acl))).digest()


@lru_cache(maxsize=_ACLS_CACHED_MAX)
def _acl_bytes(acl: tuple[Acl, ...]) -> bytes:
    # Lengths keep "ab"+"c" and "a"+"bc" apart.
    parts: list[bytes] = []
    for entry in sorted(set(acl)):
        scheme, id_ = entry.scheme.encode(), entry.id.encode()
        parts += [_LENGTH.pack(entry.perms), _LENGTH.pack(len(scheme)), scheme]
        parts += [_LENGTH.pack(len(id_)), id_]
    return b"".join(parts)


def parent(path: str) -> str:
    """The path above; the root is its own parent."""
    return path.rpartition("/")[0] or "/"


def join(path: str, name: str) -> str:
    """The path of a child."""
    return f"/{name}" if path == "/" else f"{path}/{name}"


def is_within(path: str, root: str) -> bool:
    """Whether a path is `root` or lies below it."""
    return root in (path, "/") or path.startswith(f"{root}/")

"""The znodes of one server, and what requests do to them. Pure.

Every server of an ensemble holds a tree and does the same requests in the same order, so all of
them come to the same znodes, versions and sequence numbers.

Source: PrepRequestProcessor, DataTree and PathUtils of ZooKeeper 3.9.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sync_engine.errors import (
    BadArgumentsError,
    BadVersionError,
    InvalidAclError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    ZkError,
)
from sync_engine.watch import EventKind
from sync_engine.wire import ANY_VERSION, Check, Delete, SetData
from sync_engine.znode import (
    PERM_ADMIN,
    PERM_ALL,
    PERM_CREATE,
    PERM_DELETE,
    PERM_READ,
    PERM_WRITE,
    WORLD_ALL,
    Acl,
    Stat,
    parent,
)

# Bounds included. All beyond the first plane are two surrogates.
_NO_CHARS = ((0, 0x1F), (0x7F, 0x9F), (0xD800, 0xF8FF), (0xFFF0, 0xFFFF))
SUPER = ("super", "")
"""Identity to whom ACLs do not apply."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create a znode; a sequential one gets its number behind its path."""

    path: str
    data: bytes | None
    acl: tuple[Acl, ...]
    ephemeral: bool = False
    sequential: bool = False


@dataclass(frozen=True, slots=True)
class SetAcl:
    """Replace an ACL, at an expected aversion."""

    path: str
    acl: tuple[Acl, ...]
    aversion: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """Delete all ephemerals of a session."""

    session: int


Op = Create | SetData | Delete | Check | SetAcl | EndSession


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants something, and under which transaction it happens."""

    zxid: int
    time_ms: int
    session: int
    identities: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation did: the path (numbered, if sequential) and its Stat afterwards."""

    path: str
    stat: Stat | None


@dataclass(frozen=True, slots=True)
class Happened:
    """What a watch is told of an operation, if the znode's ACL lets its session read."""

    kind: EventKind
    path: str
    acl: tuple[Acl, ...]


@dataclass(slots=True)
class Node:
    """One znode. `creates` is what a server keeps for cversion: children ever created."""

    data: bytes | None
    acl: tuple[Acl, ...]
    czxid: int
    mzxid: int
    pzxid: int
    ctime: int
    mtime: int
    owner: int = 0
    version: int = 0
    aversion: int = 0
    creates: int = 0
    children: dict[str, None] = field(default_factory=dict[str, None])

    @property
    def stat(self) -> Stat:
        """As a server tells it."""
        count = len(self.children)
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            2 * self.creates - count,
            self.aversion,
            self.owner,
            len(self.data or b""),
            count,
            self.pzxid,
        )


class RefusedError(Exception):
    """Operation `index` is refused with ZooKeeper's `code`; nothing was done."""

    def __init__(self, index: int, code: int) -> None:
        self.index = index
        self.code = code
        super().__init__(f"operation {index} is refused ({code})")


class _Refusal(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, kind: type[ZkError]) -> None:
        self.code = kind.code
        super().__init__(kind.name)


class Tree:
    """All znodes by path."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._undo: list[Callable[[], None]] = []
        self._events: list[Happened] = []
        for path in ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"):
            self.nodes[path] = Node(b"", WORLD_ALL, 0, 0, 0, 0, 0)
            if path != "/":
                self.nodes[parent(path)].children[path.rpartition("/")[2]] = None

    def do(self, ops: Sequence[Op], request: Request) -> tuple[list[Result], list[Happened]]:
        """Do all operations or none.

        Raises:
            RefusedError: one of them cannot be done.
        """
        self._undo, self._events = [], []
        results: list[Result] = []
        for index, op in enumerate(ops):
            try:
                results.append(self._do(op, request))
            except _Refusal as refusal:
                for undo in reversed(self._undo):
                    undo()
                raise RefusedError(index, refusal.code) from None
        return results, self._events

    def check(self, path: str, perms: int, identities: Sequence[tuple[str, str]]) -> Node:
        """The node, if somebody with these identities may do that to it.

        Raises:
            RefusedError: there is none, or its ACL forbids it.
        """
        try:
            return self._allowed(path, perms, identities)
        except _Refusal as refusal:
            raise RefusedError(0, refusal.code) from None

    def _do(self, op: Op, request: Request) -> Result:
        match op:
            case Create():
                return self._create(op, request)
            case SetData():
                return self._set(op, request)
            case Delete():
                return self._delete(op, request)
            case SetAcl():
                return self._set_acl(op, request)
            case Check():
                node = self._allowed(op.path, PERM_READ, request.identities)
                _expect(node.version, op.version)
                return Result(op.path, None)
            case EndSession():
                gone = [path for path, node in self.nodes.items() if node.owner == op.session]
                for path in gone:
                    self._remove(path, request.zxid)
                return Result("", None)

    def _create(self, op: Create, request: Request) -> Result:
        if "\0" in op.path:
            raise _Refusal(BadArgumentsError)
        acl = resolve(op.acl, request.identities)
        above = self._allowed(parent(op.path), PERM_CREATE, request.identities)
        path = f"{op.path}{above.creates:010d}" if op.sequential else op.path
        if not is_path(path):
            raise _Refusal(BadArgumentsError)
        if path in self.nodes:
            raise _Refusal(NodeExistsError)
        if above.owner:
            raise _Refusal(NoChildrenForEphemeralsError)
        zxid, at = request.zxid, request.time_ms
        owner = request.session if op.ephemeral else 0
        node = self.nodes[path] = Node(op.data, acl, zxid, zxid, zxid, at, at, owner)
        name, before = path.rpartition("/")[2], (above.creates, above.pzxid)
        above.children[name] = None
        above.creates += 1
        above.pzxid = zxid

        def undo() -> None:
            del self.nodes[path], above.children[name]
            above.creates, above.pzxid = before

        self._undo.append(undo)
        self._events.append(Happened(EventKind.CREATED, path, acl))
        return Result(path, node.stat)

    def _set(self, op: SetData, request: Request) -> Result:
        node = self._allowed(op.path, PERM_WRITE, request.identities)
        _expect(node.version, op.version)
        before = (node.data, node.version, node.mzxid, node.mtime)
        node.data, node.version = op.data, node.version + 1
        node.mzxid, node.mtime = request.zxid, request.time_ms

        def undo() -> None:
            node.data, node.version, node.mzxid, node.mtime = before

        self._undo.append(undo)
        self._events.append(Happened(EventKind.CHANGED, op.path, node.acl))
        return Result(op.path, node.stat)

    def _delete(self, op: Delete, request: Request) -> Result:
        if op.path in {"/", "/zookeeper"}:
            raise _Refusal(BadArgumentsError)
        above = self._found(parent(op.path))
        node = self._found(op.path)
        _permit(above.acl, PERM_DELETE, request.identities)
        _expect(node.version, op.version)
        if node.children:
            raise _Refusal(NotEmptyError)
        self._remove(op.path, request.zxid)
        return Result(op.path, None)

    def _remove(self, path: str, zxid: int) -> None:
        node, above = self.nodes.pop(path), self.nodes[parent(path)]
        name, before = path.rpartition("/")[2], above.pzxid
        del above.children[name]
        above.pzxid = zxid

        def undo() -> None:
            self.nodes[path] = node
            above.children[name] = None
            above.pzxid = before

        self._undo.append(undo)
        self._events.append(Happened(EventKind.DELETED, path, node.acl))

    def _set_acl(self, op: SetAcl, request: Request) -> Result:
        acl = resolve(op.acl, request.identities)
        node = self._allowed(op.path, PERM_ADMIN, request.identities)
        _expect(node.aversion, op.aversion)
        # No zxid moves, and no watch is told.
        node.acl = acl
        node.aversion += 1
        return Result(op.path, node.stat)

    def _found(self, path: str) -> Node:
        node = self.nodes.get(path)
        if node is None:
            raise _Refusal(NoNodeError)
        return node

    def _allowed(self, path: str, perms: int, identities: Sequence[tuple[str, str]]) -> Node:
        node = self._found(path)
        _permit(node.acl, perms, identities)
        return node


def is_path(path: str) -> bool:
    """Whether a server creates a znode of this name: PathUtils.validatePath, in Java's chars."""
    names = path.split("/")[1:]
    if any(name in {"", ".", ".."} for name in names):
        return False
    return not any(
        ord(char) > 0xFFFF or any(low <= ord(char) <= high for low, high in _NO_CHARS)
        for char in path
    )


def _expect(version: int, expected: int) -> None:
    if expected not in (ANY_VERSION, version):
        raise _Refusal(BadVersionError)


def _permit(acl: Sequence[Acl], perms: int, identities: Sequence[tuple[str, str]]) -> None:
    if not may(acl, perms, identities):
        raise _Refusal(NoAuthError)


def may(acl: Sequence[Acl], perms: int, identities: Sequence[tuple[str, str]]) -> bool:
    """Whether an ACL allows one of the permissions to one of the identities."""
    if SUPER in identities:
        return True
    granted = (e for e in acl if e.perms & perms)
    return any(
        (e.scheme, e.id) == ("world", "anyone") or (e.scheme, e.id) in identities for e in granted
    )


def resolve(acl: Sequence[Acl], identities: Sequence[tuple[str, str]]) -> tuple[Acl, ...]:
    """An ACL as it is kept: `auth` stands for whoever asks, and nothing stands there twice."""
    found: dict[Acl, None] = {}
    for entry in acl:
        if entry.scheme == "auth":
            own = [id_ for id_ in identities if id_ != SUPER]
            if not own:
                raise _Refusal(InvalidAclError)
            found |= dict.fromkeys(entry._replace(scheme=scheme, id=id_) for scheme, id_ in own)
        elif _is_valid(entry):
            found[entry] = None
        else:
            raise _Refusal(InvalidAclError)
    if not found:
        raise _Refusal(InvalidAclError)
    return tuple(found)


def _is_valid(entry: Acl) -> bool:
    if entry.perms & ~PERM_ALL:
        return False
    match entry.scheme:
        case "world":
            return entry.id == "anyone"
        case "digest":
            return len(entry.id.split(":")) == 2
        case _:
            return False


def digest_id(credentials: bytes) -> str:
    """The id that a server makes of `user:password`."""
    user = credentials.partition(b":")[0]
    # ZooKeeper's own scheme, which no stronger hash can stand in for.
    hashed = hashlib.sha1(credentials).digest()  # noqa: S324 - what ZooKeeper uses
    return f"{user.decode()}:{base64.b64encode(hashed).decode()}"

"""Parts of an ensemble's tree as a digest or as a file, without an engine.

Only persistent znodes count: ephemerals belong to sessions and cannot be copied. Container and TTL
znodes look persistent to clients, so they count too. A tree is never held in memory: the digest is
a sum over its znodes, which needs no order, and the file is written as the scan goes.

The file is one JSON object a line: `{"path", "data", "acl"}` for each znode, parents before
children, data in base64 and null for null, which is not empty; before them a head that names the
format, after them a trailer with the count and the SHA-256 of all bytes before it, so that a file
that was cut short or changed is noticed. Versions and zxids are not in it: no client writes them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import secrets
import struct
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sync_engine.durable import sync_folder
from sync_engine.ensemble import EnsembleAddress, open_lane
from sync_engine.errors import EnsembleError, TreeFileError
from sync_engine.lane import Lane
from sync_engine.reader import ScanOptions
from sync_engine.znode import Acl, Znode, content_hash, is_within

_LINE_BYTES_MAX = 4 * 1024 * 1024
_FORMAT = "zksync-tree-1"
_SUM_BYTES = 32
_MODULUS = 1 << (8 * _SUM_BYTES)
_length = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class TreeDigest:
    """How many znodes, and what they are: path, data and ACL of each."""

    znodes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What a file holds; `bytes` is its size and `sha256` the checksum in its trailer."""

    znodes: int
    bytes: int
    sha256: str


class TreeHash:
    """A digest of a set of znodes, in whatever order they come.

    Each znode's SHA-256 is a number, and their sum is what the digest is made of: a znode can be
    taken out again, and two halves of a tree can be hashed apart. It tells mistakes, not malice.
    """

    def __init__(self) -> None:
        self._sum = 0
        self.znodes = 0

    def add(self, path: str, content: bytes) -> None:
        """Add a znode by its path and `znode.content_hash`.

        Paths may be relative to a root, so that trees under different roots compare.
        """
        self._sum = (self._sum + _number(path, content)) % _MODULUS
        self.znodes += 1

    def remove(self, path: str, content: bytes) -> None:
        """Take a znode out that was added."""
        self._sum = (self._sum - _number(path, content)) % _MODULUS
        self.znodes -= 1

    def digest(self) -> TreeDigest:
        """The digest of what was added so far."""
        whole = _length.pack(self.znodes) + self._sum.to_bytes(_SUM_BYTES, "big")
        return TreeDigest(self.znodes, hashlib.sha256(whole).hexdigest())


def _number(path: str, content: bytes) -> int:
    raw = path.encode()
    return int.from_bytes(hashlib.sha256(_length.pack(len(raw)) + raw + content).digest(), "big")


async def digest(address: EnsembleAddress, paths: Sequence[str]) -> TreeDigest:
    """Digest of the persistent znodes at and below the paths; absent paths hold none.

    Equal trees have equal digests, on whatever ensemble. While clients write it is of no one
    moment.

    Raises:
        EnsembleUnreachableError: no server takes the connection, or it broke.
        EnsembleError: a znode's ACL hides it, or part of its ACL, from us.
    """
    total = TreeHash()
    async with open_lane(address) as lane:
        async for znode in persistent(lane, paths):
            total.add(znode.path, content_hash(znode.data, znode.acl))
    return total.digest()


async def export(
    address: EnsembleAddress,
    paths: Sequence[str],
    file: Path,
    *,
    is_wanted: Callable[[str], bool] | None = None,
    advance: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write the persistent znodes at and below the paths to a file (0600).

    What is not wanted is left out with all below it. `advance` is told of each further znode. A
    file that is there already is replaced whole or not at all.

    Raises:
        EnsembleUnreachableError: no server takes the connection, or it broke.
        EnsembleError: a znode's ACL hides it, or part of its ACL, from us.
        OSError: the file cannot be written.
    """
    checksum = hashlib.sha256()
    znodes = size = 0
    with replacing(file) as out:
        async with open_lane(address) as lane:
            line = _line({"format": _FORMAT, "paths": list(paths)})
            checksum.update(line)
            size += out.write(line)
            async for znode in persistent(lane, paths, is_wanted=is_wanted):
                line = _line(_entry(znode))
                checksum.update(line)
                size += out.write(line)
                znodes += 1
                if advance is not None:
                    advance(1)
        sha256 = checksum.hexdigest()
        size += out.write(_line({"znodes": znodes, "sha256": sha256}))
    return ExportReport(znodes, size, sha256)


async def persistent(
    lane: Lane, paths: Sequence[str], *, is_wanted: Callable[[str], bool] | None = None
) -> AsyncGenerator[Znode]:
    """Persistent znodes at and below the paths, each once, parents first, ZooKeeper's own left out.

    Raises:
        EnsembleError: a znode's ACL hides it, or part of its ACL, from us.
    """
    hidden: list[str] = []
    options = ScanOptions(on_unreadable=hidden.append)
    if is_wanted is not None:
        options["is_wanted"] = is_wanted
    for root in _outermost(paths):
        async with contextlib.aclosing(lane.scan(root, **options)) as batches:
            async for batch in batches:
                for znode in batch:
                    if any(entry.is_masked for entry in znode.acl):
                        hidden.append(znode.path)
                    if hidden:
                        raise EnsembleError(_hidden(hidden[0]))
                    is_own = root == "/" and is_within(znode.path, "/zookeeper")
                    if not znode.stat.ephemeral_owner and not is_own:
                        yield znode
    if hidden:
        raise EnsembleError(_hidden(hidden[0]))


def _outermost(paths: Sequence[str]) -> list[str]:
    return [
        path
        for path in sorted(set(paths))
        if not any(path != other and is_within(path, other) for other in paths)
    ]


def _hidden(path: str) -> str:
    return (
        f"expected to read {path} with its whole ACL, saw that it is hidden from us: give the "
        "super user's credentials"
    )


def _entry(znode: Znode) -> dict[str, Any]:
    data = None if znode.data is None else base64.b64encode(znode.data).decode()
    acl = [[entry.perms, entry.scheme, entry.id] for entry in znode.acl]
    return {"path": znode.path, "data": data, "acl": acl}


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@contextlib.contextmanager
def replacing(file: Path) -> Generator[BinaryIO]:
    """A new file beside the old one, which takes its place only when it is whole and on disk."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(file.parent)


@dataclass(frozen=True, slots=True)
class StoredZnode:
    """A znode of a file; what an ensemble alone decides is not in it."""

    path: str
    data: bytes | None
    acl: tuple[Acl, ...]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Head(_Line):
    format: str
    paths: list[str]


class _Entry(_Line):
    path: str
    data: str | None
    acl: list[Annotated[list[int | str], Field(min_length=3, max_length=3)]]

    def stored(self) -> StoredZnode:
        data = None if self.data is None else base64.b64decode(self.data, validate=True)
        acl = tuple(Acl(int(perms), str(scheme), str(id_)) for perms, scheme, id_ in self.acl)
        return StoredZnode(self.path, data, acl)


class _Trailer(_Line):
    znodes: int
    sha256: str


M = TypeVar("M", bound=_Line)


def verify(file: Path) -> ExportReport:
    """Check a file's count and checksum, and that every line can be read.

    Raises:
        TreeFileError: the file is damaged, cut short, or of another kind.
        OSError: the file cannot be read.
    """
    checksum = hashlib.sha256()
    znodes = 0
    pending: bytes | None = None
    with file.open("rb") as source:
        head = _parse(_Head, source.readline(_LINE_BYTES_MAX), file, 1)
        if head.format != _FORMAT:
            msg = (
                f"expected {_FORMAT} in {file}, saw {head.format}: name a file of `zk-sync export`"
            )
            raise TreeFileError(msg)
        source.seek(0)
        for number, line in enumerate(iter(lambda: source.readline(_LINE_BYTES_MAX), b""), 1):
            if pending is not None:
                checksum.update(pending)
                if number > 2:  # noqa: PLR2004 - the head is no znode
                    _parse_entry(pending, file, number - 1)
                    znodes += 1
            pending = line
        trailer = _parse(_Trailer, pending or b"", file, znodes + 2)
        if (trailer.znodes, trailer.sha256) != (znodes, checksum.hexdigest()):
            msg = (
                f"expected {trailer.znodes} znodes with checksum {trailer.sha256} in {file}, saw "
                f"{znodes} with {checksum.hexdigest()}: the file was changed; take another copy"
            )
            raise TreeFileError(msg)
        return ExportReport(znodes, source.tell(), trailer.sha256)


def stored(file: Path) -> Generator[StoredZnode]:
    """Znodes of a file, parents before children.

    The whole file is verified first: nothing of a damaged one is ever given out.

    Raises:
        TreeFileError: the file is damaged, cut short, or of another kind.
        OSError: the file cannot be read.
    """
    count = verify(file).znodes
    with file.open("rb") as source:
        source.readline(_LINE_BYTES_MAX)
        for number in range(count):
            yield _parse_entry(source.readline(_LINE_BYTES_MAX), file, number + 2)


def _parse_entry(line: bytes, file: Path, number: int) -> StoredZnode:
    try:
        return _parse(_Entry, line, file, number).stored()
    except (binascii.Error, ValueError):
        raise TreeFileError(_damaged(file, number)) from None


def _parse(model: type[M], line: bytes, file: Path, number: int) -> M:
    try:
        return model.model_validate_json(line)
    except ValidationError:
        raise TreeFileError(_damaged(file, number)) from None


def _damaged(file: Path, number: int) -> str:
    return f"expected an exported tree in {file}, saw a damaged line {number}: take another copy"

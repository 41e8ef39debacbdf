"""Reading of many znodes and of whole trees over a lane, with bounded memory.

Data comes by multiRead, many znodes a request, and ACLs by pipelined getACL, because there is no
request for both. The two may see different moments, so a pair is only used when both name the same
znode (czxid) at the same change of its ACL (aversion): then the ACL belongs to the data, however
often the data changed in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sync_engine import wire
from sync_engine.errors import (
    NoAuthError,
    NoNodeError,
    SyncError,
    UnimplementedError,
    UnsettledReadError,
    ZkError,
    zk_error,
)
from sync_engine.wire import OpCode
from sync_engine.znode import Acl, Stat, Znode, join

_CHUNK_MAX = 100
"""Znodes a request; beyond it multiRead gains nothing."""
_CHUNK_BYTES = 512 * 1024
"""What one answer should hold, by the mean size seen; one of larger znodes holds more, up to 1 MB
a znode in a first chunk of `_CHUNK_FIRST`."""
_CHUNK_FIRST = 16
_PATHS_BYTES_MAX = 256 * 1024
_CHUNKS_AHEAD = 4
_ATTEMPTS_MAX = 20
"""Reads of one znode whose ACL changes all the time."""

_Data = tuple[bytes | None, Stat] | ZkError


class AclAt(NamedTuple):
    """The ACL that a znode has as long as this is its identity and its count of ACL changes."""

    czxid: int
    aversion: int
    acl: tuple[Acl, ...]


KnownAcls = Mapping[str, AclAt]
"""By full path."""

NONE_KNOWN: KnownAcls = {}
Reading = tuple[list[Znode | None], int]
"""Znodes or None, and a zxid that the server had applied before it read the first of them; 0 where
that is not known, because the server has no multiRead."""


class Submit(Protocol):
    """`Lane.submit`."""

    def __call__(
        self, code: int, body: bytes, decode: wire.Decoder, path: str | None
    ) -> asyncio.Future[Any]:
        """Make a request."""
        ...


class Reader:
    """Reads over one lane; keeps nothing but what it learned about the sizes of znodes."""

    def __init__(self, submit: Submit, *, in_flight_max: int) -> None:
        self._submit = submit
        self._chunks_ahead = max(1, min(_CHUNKS_AHEAD, in_flight_max // (_CHUNK_MAX + 1)))
        self._has_multi_read = True
        self._bytes_mean: float | None = None

    async def read(self, path: str) -> Znode | None:
        """Data and ACL of one moment, or None."""
        (found,) = await self._read_chunk([path])
        if isinstance(found, ZkError):
            raise found
        return found

    async def read_many(self, paths: Sequence[str]) -> list[Znode | None]:
        """`read` for many paths, in their order."""
        return (await self.read_at(paths))[0]

    async def read_at(self, paths: Sequence[str], acls: KnownAcls = NONE_KNOWN) -> Reading:
        """`read_many` with its moment. ACLs that are known are read again only if they changed."""
        znodes: list[Znode | None] = []
        moments: list[int] = []
        async for chunk in self._read_all(paths, moments, acls):
            for found in chunk:
                if isinstance(found, ZkError):
                    raise found
                znodes.append(found)
        return znodes, min(moments, default=0)

    async def scan(
        self, root: str, *, on_unreadable: Callable[[str], None] | None = None
    ) -> AsyncGenerator[list[Znode]]:
        """Read a tree in batches, parents before their children."""
        frontier: deque[str] = deque([root])
        ahead: deque[tuple[list[str], asyncio.Task[list[Znode | ZkError | None]]]] = deque()
        try:
            while frontier or ahead:
                while frontier and len(ahead) < self._chunks_ahead:
                    paths = self._take(frontier)
                    ahead.append((paths, asyncio.create_task(self._read_chunk(paths))))
                paths, task = ahead.popleft()
                batch: list[Znode] = []
                for path, found in zip(paths, await task, strict=True):
                    if isinstance(found, NoAuthError) and on_unreadable is not None:
                        on_unreadable(path)
                    elif isinstance(found, ZkError):
                        raise found
                    elif found is not None:
                        batch.append(found)
                frontier.extend(await self._below(batch, on_unreadable))
                if batch:
                    yield batch
        finally:
            for _, task in ahead:
                task.cancel()
            await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)

    async def _below(
        self, batch: list[Znode], on_unreadable: Callable[[str], None] | None
    ) -> list[str]:
        parents = [znode.path for znode in batch if znode.stat.num_children]
        if not parents:
            return []
        paths: list[str] = []
        answers = await gather_answers(
            [
                self._submit(
                    OpCode.GET_CHILDREN2,
                    wire.watchless_body(path),
                    wire.read_children,
                    path,
                )
                for path in parents
            ]
        )
        for path, answer in zip(parents, answers, strict=True):
            if isinstance(answer, NoAuthError) and on_unreadable is not None:
                on_unreadable(path)
            elif isinstance(answer, NoNodeError):
                continue
            elif isinstance(answer, ZkError):
                raise answer
            else:
                paths += [join(path, name) for name in sorted(answer[0])]
        return paths

    async def _read_all(
        self, paths: Sequence[str], moments: list[int], acls: KnownAcls
    ) -> AsyncGenerator[list[Znode | ZkError | None]]:
        left = deque(paths)
        while left:
            chunks = [self._take(left) for _ in range(self._chunks_ahead) if left]
            reads = [self._read_chunk(chunk, moments, acls) for chunk in chunks]
            for found in await asyncio.gather(*reads):
                yield found

    def _take(self, frontier: deque[str]) -> list[str]:
        """The next chunk, by the sizes seen so far."""
        count = _CHUNK_FIRST
        if self._bytes_mean is not None:
            count = max(1, min(_CHUNK_MAX, int(_CHUNK_BYTES / (self._bytes_mean + 1))))
        size = 0
        paths: list[str] = []
        while frontier and len(paths) < count and size < _PATHS_BYTES_MAX:
            paths.append(frontier.popleft())
            size += len(paths[-1])
        return paths

    async def _read_chunk(
        self,
        paths: Sequence[str],
        moments: list[int] | None = None,
        acls: KnownAcls = NONE_KNOWN,
    ) -> list[Znode | ZkError | None]:
        """One chunk; an error of one znode does not spoil the others."""
        moments = [] if moments is None else moments
        found: dict[str, Znode | ZkError | None] = {}
        left = list(dict.fromkeys(paths))
        for _ in range(_ATTEMPTS_MAX):
            outcomes = zip(left, await self._read_once(left, moments, acls), strict=True)
            # What did not go with its data is read the next time.
            acls = NONE_KNOWN
            found |= {path: out for path, out in outcomes if not isinstance(out, _Torn)}
            left = [path for path in left if path not in found]
            if not left:
                return [found[path] for path in paths]
        msg = (
            f"expected data and ACL of {left[0]} of one moment, saw it change {_ATTEMPTS_MAX} times"
        )
        raise UnsettledReadError(msg)

    async def _read_once(
        self, paths: Sequence[str], moments: list[int], known: KnownAcls
    ) -> list[Znode | ZkError | _Torn | None]:
        data = self._ask_for_data(paths, moments)
        asked = [path for path in paths if path not in known]
        acls = [
            self._submit(OpCode.GET_ACL, wire.path_body(path), _read_acl, path) for path in asked
        ]
        answers = await gather_answers([*data, *acls])
        found_data: list[_Data] = answers[: len(data)]
        if self._has_multi_read and isinstance(answers[0], UnimplementedError):
            self._has_multi_read = False
            return [_Torn() for _ in paths]
        if self._has_multi_read:
            if isinstance(answers[0], ZkError):
                raise answers[0]
            found_data = [
                zk_error(entry, path) if isinstance(entry, int) else entry
                for path, entry in zip(paths, answers[0], strict=True)
            ]
        self._learn(found_data)
        found_acls: dict[str, AclAt | ZkError] = dict(known)
        found_acls |= zip(asked, answers[len(data) :], strict=True)
        return [
            _pair(path, one, found_acls[path]) for path, one in zip(paths, found_data, strict=True)
        ]

    def _ask_for_data(self, paths: Sequence[str], moments: list[int]) -> list[asyncio.Future[Any]]:
        def decode(raw: bytes, at: int, end: int) -> Any:
            moments.append(wire.read_zxid(raw, at, end))
            return wire.read_multi_data(raw, at, end)

        if self._has_multi_read:
            body = wire.multi_read_body(paths)
            return [self._submit(OpCode.MULTI_READ, body, decode, None)]
        # An error's answer tells no zxid to whoever asked.
        moments.append(0)
        return [
            self._submit(OpCode.GET_DATA, wire.watchless_body(path), wire.read_data, path)
            for path in paths
        ]

    def _learn(self, found: Sequence[_Data]) -> None:
        sizes = [len(entry[0] or b"") for entry in found if not isinstance(entry, ZkError)]
        if sizes:
            # Large sizes are believed at once and small ones slowly, for memory's sake.
            mean, before = sum(sizes) / len(sizes), self._bytes_mean
            self._bytes_mean = mean if before is None else max(mean, (3 * before + mean) / 4)


class _Torn:
    """Data and ACL of different moments."""


def _read_acl(raw: bytes, at: int, end: int) -> AclAt:
    acl, stat = wire.read_acl(raw, at, end)
    return AclAt(stat.czxid, stat.aversion, acl)


def _pair(path: str, data: _Data, acl: AclAt | ZkError) -> Znode | ZkError | _Torn | None:
    for answer in (data, acl):
        if isinstance(answer, NoNodeError):
            return None
    if isinstance(data, ZkError):
        return data
    if isinstance(acl, ZkError):
        return acl
    stat = data[1]
    if (stat.czxid, stat.aversion) != (acl.czxid, acl.aversion):
        return _Torn()
    return Znode(path, data[0], acl.acl, stat)


async def gather_answers(futures: list[asyncio.Future[Any]]) -> list[Any]:
    """Results in order, ZooKeeper's own errors among them; any other error is raised at the end, so
    that none of them goes unseen."""
    results: list[Any] = []
    broken: Exception | None = None
    try:
        for future in futures:
            try:
                results.append(await future)
            except ZkError as error:
                results.append(error)
            except SyncError as error:
                broken = error
    except asyncio.CancelledError:
        for future in futures:
            future.cancel()
        raise
    if broken is not None:
        raise broken
    return results

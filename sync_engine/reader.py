"""Reading of many znodes and of whole trees over a lane, with bounded memory.

Data comes by multiRead, many znodes a request, and ACLs by pipelined getACL, because there is no
request for both. The two may see different moments, so a pair is only used when both name the same
znode (czxid) at the same change of its ACL (aversion): then the ACL belongs to the data, however
often the data changed in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

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
_AclAndStat = tuple[tuple[Acl, ...], Stat] | ZkError


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
        znodes: list[Znode | None] = []
        async for chunk in self._read_all(paths):
            for found in chunk:
                if isinstance(found, ZkError):
                    raise found
                znodes.append(found)
        return znodes

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
        answers = await _gather(
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

    async def _read_all(self, paths: Sequence[str]) -> AsyncGenerator[list[Znode | ZkError | None]]:
        left = deque(paths)
        while left:
            chunks = [self._take(left) for _ in range(self._chunks_ahead) if left]
            for found in await asyncio.gather(*map(self._read_chunk, chunks)):
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

    async def _read_chunk(self, paths: Sequence[str]) -> list[Znode | ZkError | None]:
        """One chunk; an error of one znode does not spoil the others."""
        found: dict[str, Znode | ZkError | None] = {}
        left = list(dict.fromkeys(paths))
        for _ in range(_ATTEMPTS_MAX):
            outcomes = zip(left, await self._read_once(left), strict=True)
            found |= {path: out for path, out in outcomes if not isinstance(out, _Torn)}
            left = [path for path in left if path not in found]
            if not left:
                return [found[path] for path in paths]
        msg = (
            f"expected data and ACL of {left[0]} of one moment, saw it change {_ATTEMPTS_MAX} times"
        )
        raise UnsettledReadError(msg)

    async def _read_once(self, paths: Sequence[str]) -> list[Znode | ZkError | _Torn | None]:
        data = self._ask_for_data(paths)
        acls = [
            self._submit(OpCode.GET_ACL, wire.path_body(path), wire.read_acl, path)
            for path in paths
        ]
        answers = await _gather([*data, *acls])
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
        return list(map(_pair, paths, found_data, answers[len(data) :]))

    def _ask_for_data(self, paths: Sequence[str]) -> list[asyncio.Future[Any]]:
        if self._has_multi_read:
            body = wire.multi_read_body(paths)
            return [self._submit(OpCode.MULTI_READ, body, wire.read_multi_data, None)]
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


def _pair(path: str, data: _Data, acl: _AclAndStat) -> Znode | ZkError | _Torn | None:
    for answer in (data, acl):
        if isinstance(answer, NoNodeError):
            return None
    if isinstance(data, ZkError):
        return data
    if isinstance(acl, ZkError):
        return acl
    stat = data[1]
    if (stat.czxid, stat.aversion) != (acl[1].czxid, acl[1].aversion):
        return _Torn()
    return Znode(path, data[0], acl[0], stat)


async def _gather(futures: list[asyncio.Future[Any]]) -> list[Any]:
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

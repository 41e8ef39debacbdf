"""Writes at a steady rate, one request a path at a time, and always finds out how each one ended.

A lost connection leaves the outcome of a request unknown. Before anything else is done to that path
it is read back: written values are unique, and sequential names carry a unique part, so what is
there says whether the request was applied. (A request that is still on its way when its client has
come back is refused by ZooKeeper, because its session has moved or ended.) So the last acknowledged
state of every path is exact, whatever servers are killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError
from kazoo.security import (
    ACL,
    OPEN_ACL_UNSAFE,
    make_acl,
    make_digest_acl,
)

from stacks.local.process import make_folder
from stacks.local.session import UNKNOWN_OUTCOME, Session
from stacks.local.traffic_settings import TrafficSettings
from stacks.local.writes.ledger import Ledger, Record, State, read, replay, sha
from stacks.local.writes.verify import acl_text

_IN_FLIGHT_MAX = 64
_FOLDER_SIZE = 100
_QUEUES = 4
_QUEUE_LENGTH_MAX = 50
_RESOLVE_PAUSE_S = 0.1
_STOP_TIMEOUT_S = 8.0
_log = structlog.get_logger()


@dataclass
class Counts:
    """For people and for the measured pause of a move."""

    acknowledged: int = 0
    resolved: int = 0
    refused: int = 0
    started_at: float = 0.0
    first_ack_at: float | None = None
    last_ack_at: float | None = None
    recent: deque[float] = field(default_factory=lambda: deque[float](maxlen=2000))


class Writer:
    """The client group's one process."""

    def __init__(self, settings: TrafficSettings, session: Session, identity: str) -> None:
        self.settings = settings
        self._session = session
        make_folder(settings.work_dir)
        self.log_path = settings.work_dir / "acks.jsonl"
        self._random = random.Random(f"{settings.seed}-{time.time_ns()}")  # noqa: S311 - a load
        self.counts = Counts()
        self._states: dict[str, State | None] = {}
        self._queues: dict[str, deque[str]] = {
            f"{settings.path}/queue/q{n}": deque() for n in range(_QUEUES)
        }
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = [
            f"{settings.path}/data/d{n // _FOLDER_SIZE:03d}/n{n:06d}"
            for n in range(settings.znodes)
        ]
        user, _, password = identity.partition(":")
        own = make_digest_acl(user, password, all=True)
        self._acls: list[list[ACL]] = [
            list(OPEN_ACL_UNSAFE),
            [own],
            [own, make_acl("world", "anyone", read=True)],
        ]
        self._by_text = {acl_text(acl): acl for acl in self._acls}

    # Life

    async def open(self) -> None:
        """Take up where the log ends: settle attempts that an earlier process left open."""
        expected = replay(read(self.log_path)) if self.log_path.exists() else None
        self._ledger = Ledger(self.log_path)
        self.counts.started_at = time.time()
        self._ledger.note("started", hosts=self.settings.hosts, pid=os.getpid())
        folders = {path.rpartition("/")[0] for path in self._slots} | set(self._queues)
        for folder in sorted(folders):
            await self._session.insist(lambda path=folder: self._session.ensure(path))
        if expected is None:
            return
        self._states = dict(expected.last)
        for attempt in expected.open.values():
            await self._resolve({k: v for k, v in attempt.items() if k not in {"kind", "t"}})
        for queue in self._queues.values():
            queue.clear()
        for path, state in sorted(self._states.items(), key=lambda item: item[0][-10:]):
            parent = path.rpartition("/")[0]
            if parent in self._queues and state is not None:
                self._queues[parent].append(path)

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop; returns when everything under way has ended."""
        pending = [path for path in self._slots if self._states.get(path) is None]
        self._random.shuffle(pending)
        due = time.monotonic()
        while not stop.is_set():
            if self._session.connected.is_set() and len(self._tasks) < _IN_FLIGHT_MAX:
                self._write_one(pending)
            # The tree is laid down faster than it is worked on afterwards.
            rate = self.settings.rate_per_s * (5 if pending else 1)
            if rate == 0 and not pending:
                await stop.wait()
                break
            due = max(due + 1 / max(rate, 1), time.monotonic() - 0.5)
            pause_s = due - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            else:
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Finish what is under way, bounded; what cannot be settled stays open in the log."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_TIMEOUT_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        self._ledger.note("stopped", acknowledged=self.counts.acknowledged)
        self._ledger.close()

    # Choice

    def _write_one(self, pending: list[str]) -> None:
        if pending:
            path = pending.pop()
            attempt = self._attempt("create", path, self._random.choice(self._acls))
        else:
            attempt = self._choose()
        if attempt is None:
            return
        key = str(attempt["path"])
        self._busy.add(attempt.get("parent", key))
        task = asyncio.ensure_future(self._perform(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _choose(self) -> Record | None:
        pick = self._random.random()
        if pick < 0.05:  # noqa: PLR2004 - the mix
            return self._choose_sequence()
        path = self._random.choice(self._slots)
        if path in self._busy:
            return None
        state = self._states.get(path)
        if state is None:
            return self._attempt("create", path, self._random.choice(self._acls))
        if pick < 0.10:  # noqa: PLR2004 - the mix
            acl = self._random.choice(self._acls)
            return self._attempt("set_acl", path, acl, state.sha)
        if pick < 0.18:  # noqa: PLR2004 - the mix
            return self._attempt("delete", path, self._by_text[state.acl])
        return self._attempt("set", path, self._by_text[state.acl])

    def _choose_sequence(self) -> Record | None:
        parent = self._random.choice(list(self._queues))
        if parent in self._busy:
            return None
        queue = self._queues[parent]
        if len(queue) > _QUEUE_LENGTH_MAX:
            path = queue.popleft()
            state = self._states[path]
            assert state is not None
            return {
                **self._attempt("delete", path, self._by_text[state.acl]),
                "parent": parent,
            }
        mark = uuid.uuid4().hex[:16]
        attempt = self._attempt("sequence", f"{parent}/item-{mark}-", self._acls[0])
        return {**attempt, "parent": parent}

    def _attempt(self, op: str, path: str, acl: list[ACL], digest: str | None = None) -> Record:
        attempt: Record = {"op": op, "path": path, "acl": list(acl_text(acl))}
        if op in {"create", "set", "sequence"}:
            # Unique, so that reading back tells whether it was this write.
            head = f"{uuid.uuid4().hex} {path} ".encode()
            attempt["data"] = head.ljust(self.settings.data_bytes, b".")
            attempt["sha"] = sha(attempt["data"])
        elif op == "set_acl":
            attempt["sha"] = digest
        else:
            attempt["sha"] = None
        return attempt

    # Requests

    async def _perform(self, attempt: Record) -> None:
        noted = {k: v for k, v in attempt.items() if k not in {"data", "parent"}}
        self._ledger.note("try", **noted)
        try:
            outcome = await self._request(attempt)
        except UNKNOWN_OUTCOME:
            await self._resolve(noted)
        except (NoNodeError, NodeExistsError) as error:
            # Nobody else writes here: the tree is not what was acknowledged. Verification will say.
            self.counts.refused += 1
            self._ledger.note("fail", path=attempt["path"], error=type(error).__name__)
            self._refuse(attempt, error)
        except KazooException as error:
            self.counts.refused += 1
            self._ledger.note("fail", path=attempt["path"], error=type(error).__name__)
        else:
            self._acknowledge(noted, **outcome)
        finally:
            self._busy.discard(attempt.get("parent", attempt["path"]))

    def _refuse(self, attempt: Record, error: Exception) -> None:
        _log.warning("write.refused", op=attempt["op"], path=attempt["path"], error=repr(error))

    async def _request(self, attempt: Record) -> dict[str, Any]:
        session, path = self._session, str(attempt["path"])
        acl = self._by_text[tuple(attempt["acl"])]
        match attempt["op"]:
            case "create":
                _, stat = await session.ask(
                    "create_async", path, attempt["data"], acl=acl, include_data=True
                )
                return {"version": stat.version, "zxid": stat.czxid}
            case "sequence":
                created, stat = await session.ask(
                    "create_async",
                    path,
                    attempt["data"],
                    acl=acl,
                    sequence=True,
                    include_data=True,
                )
                return {"version": stat.version, "zxid": stat.czxid, "created": created}
            case "set":
                stat = await session.ask("set_async", path, attempt["data"])
                return {"version": stat.version, "zxid": stat.mzxid}
            case "set_acl":
                stat = await session.ask("set_acls_async", path, acl)
                return {"version": stat.version, "zxid": session.client.last_zxid}
            case _:
                await session.ask("delete_async", path)
                return {"version": None, "zxid": session.client.last_zxid}

    def _acknowledge(self, attempt: Record, *, created: str | None = None, **facts: Any) -> None:
        now = time.time()
        counts = self.counts
        counts.acknowledged += 1
        counts.last_ack_at = now
        counts.recent.append(now)
        path = created or str(attempt["path"])
        record = {**attempt, **facts, "path": path}
        if created is not None:
            record["try_path"] = attempt["path"]
            self._queues[path.rpartition("/")[0]].append(path)
        self._ledger.note("ack", **record)
        if counts.first_ack_at is None:
            counts.first_ack_at = now
            self._ledger.note("first_ack", path=path)
        if attempt["op"] == "delete":
            self._states[path] = None
        else:
            self._states[path] = State(str(attempt["sha"]), tuple(attempt["acl"]))

    # Unknown outcomes

    async def _resolve(self, attempt: Record) -> None:
        """Find out whether a request was applied, however long the ensemble is away."""
        while True:
            await self._session.connected.wait()
            try:
                found = await self._look(attempt)
                break
            except KazooException:
                await asyncio.sleep(_RESOLVE_PAUSE_S)
        self.counts.resolved += 1
        if found is None:
            self._ledger.note("fail", path=attempt["path"], error="not applied", resolved=True)
        else:
            self._acknowledge(attempt, resolved=True, **found)

    async def _look(self, attempt: Record) -> dict[str, Any] | None:
        """Facts of an applied request; None when it was not."""
        session, path, op = self._session, str(attempt["path"]), attempt["op"]
        await session.ask("sync_async", path.rpartition("/")[0])
        if op == "sequence":
            parent, _, prefix = path.rpartition("/")
            for name in await session.children(parent):
                if name.startswith(prefix):
                    return {"version": 0, "zxid": None, "created": f"{parent}/{name}"}
            return None
        try:
            data, stat = await session.ask("get_async", path)
            acls, _ = await session.ask("get_acls_async", path)
        except NoNodeError:
            return {"version": None, "zxid": None} if op == "delete" else None
        if op == "delete":
            return None
        same = sha(data or b"") == attempt["sha"] and acl_text(acls) == tuple(attempt["acl"])
        return {"version": stat.version, "zxid": stat.mzxid} if same else None

    def status(self) -> dict[str, Any]:
        """GET /status."""
        now, counts = time.time(), self.counts
        window = [at for at in counts.recent if now - at <= 5.0]  # noqa: PLR2004 - seconds
        live = sum(1 for state in self._states.values() if state is not None)
        return {
            "hosts": self.settings.hosts,
            "path": self.settings.path,
            "log": str(self.log_path),
            "connected": self._session.connected.is_set(),
            "acknowledged": counts.acknowledged,
            "rate_per_s": round(len(window) / 5.0, 1),
            "znodes": live,
            "in_flight": len(self._tasks),
            "resolved": counts.resolved,
            "refused": counts.refused,
            "started_at": counts.started_at,
            "first_ack_at": counts.first_ack_at,
            "last_ack_at": counts.last_ack_at,
        }


def read_identity(work_dir: Path) -> str:
    """The group's own `user:password`, made once, in a file that only its owner reads."""
    make_folder(work_dir)
    path = work_dir / "identity"
    try:
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"traffic:{uuid.uuid4().hex}")
    except FileExistsError:
        pass
    return path.read_text().strip()

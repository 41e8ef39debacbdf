"""Compare an ensemble with a client group's log: every path, data and ACL, and sequential names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from stacks.local.errors import StartError
from stacks.local.writes.ledger import Expected, State, read, replay, sequence_problems, sha

_IN_FLIGHT = 256
_CONNECT_TIMEOUT_S = 15.0
_LISTED_MAX = 50


@dataclass(frozen=True)
class Report:
    """What was compared, and every difference (the first fifty of each kind by name)."""

    hosts: str
    paths: int
    acknowledged: int
    open: int
    missing: list[str] = field(default_factory=list[str])
    different: list[str] = field(default_factory=list[str])
    acl_different: list[str] = field(default_factory=list[str])
    resurrected: list[str] = field(default_factory=list[str])
    unexplained: list[str] = field(default_factory=list[str])
    sequence_problems: list[str] = field(default_factory=list[str])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def ok(self) -> bool:
        """Whether every acknowledged write is there."""
        return not any(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, **asdict(self)}


def acl_text(acls: list[Any]) -> tuple[str, ...]:
    """ACL of a node as sorted text."""
    return tuple(sorted(f"{acl.id.scheme}:{acl.id.id}:{acl.perms}" for acl in acls))


def verify(log: Path, hosts: str, auth: str | None, root: str | None = None) -> Report:
    """Read every path of a log from an ensemble and compare.

    `auth` is `user:password` with the right to read every node and ACL there. `root` also looks for
    nodes below it that no acknowledged write explains.

    Raises:
        StartError: the ensemble cannot be reached or read.
    """
    expected = replay(read(log))
    client: Any = KazooClient(
        hosts=hosts,
        timeout=_CONNECT_TIMEOUT_S,
        auth_data=[("digest", auth)] if auth else None,
        read_only=False,
    )
    try:
        client.start(timeout=_CONNECT_TIMEOUT_S)
        # A server that lags must not look like one that has lost something.
        client.sync(root or "/")
        return _compare(expected, hosts, client, root)
    except (KazooException, KazooTimeoutError) as error:
        msg = f"expected to read {hosts}, saw {error!r}: is the ensemble up, is the identity right?"
        raise StartError(msg) from None
    finally:
        client.stop()
        client.close()


def _compare(expected: Expected, hosts: str, client: Any, root: str | None) -> Report:
    paths = sorted({*expected.last, *expected.open})
    found: dict[str, list[str]] = {
        name: [] for name in ("missing", "different", "acl_different", "resurrected")
    }
    for path, seen in _states(client, paths):
        kind = difference(expected.allowed(path), seen)
        if kind is not None:
            found[kind].append(path)
    unexplained = [] if root is None else expected.unexplained(_leaves(client, root))
    lists = {
        **found,
        "unexplained": unexplained,
        "sequence_problems": sequence_problems(expected),
    }
    return Report(
        hosts=hosts,
        paths=len(paths),
        acknowledged=expected.acknowledged,
        open=len(expected.open),
        counts={name: len(items) for name, items in lists.items()},
        **{name: items[:_LISTED_MAX] for name, items in lists.items()},
    )


def difference(allowed: list[State | None], seen: State | None) -> str | None:
    """Which kind of difference, None for none."""
    if seen in allowed:
        return None
    if seen is None:
        return "missing"
    wanted = [state for state in allowed if state is not None]
    if not wanted:
        return "resurrected"
    return "acl_different" if seen.sha in {state.sha for state in wanted} else "different"


def _states(client: Any, paths: list[str]) -> Iterator[tuple[str, State | None]]:
    """Read data and ACL of many nodes, with many requests under way."""
    waiting: deque[tuple[str, Any, Any]] = deque()

    def take() -> tuple[str, State | None]:
        path, data, acl = waiting.popleft()
        try:
            return path, State(sha(data.get()[0] or b""), acl_text(acl.get()[0]))
        except NoNodeError:
            return path, None

    for path in paths:
        waiting.append((path, client.get_async(path), client.get_acls_async(path)))
        if len(waiting) >= _IN_FLIGHT:
            yield take()
    while waiting:
        yield take()


def _leaves(client: Any, root: str) -> Iterator[str]:
    """Nodes without children, and so not folders of this group."""
    stack = [root]
    while stack:
        path = stack.pop()
        try:
            children = client.get_children(path)
        except NoNodeError:
            continue
        if not children and path != root and path.count("/") > root.count("/") + 2:
            yield path
        stack.extend(f"{path}/{child}" for child in children)

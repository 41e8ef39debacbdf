"""What the engine is compared with: what people do with kazoo alone. Run as children (`child.py`).

- `naive`: the live loop. A data watch on every leaf; when one fires, read the leaf, which sets the
  watch again, and set its copy. Requests are asynchronous, so reads and writes overlap.
- `copy`: a plain copy. Walk the tree, and read and create one znode after the other.

Neither has a checkpoint, a fence, a base, or a check of the result.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import AsyncResult
from kazoo.protocol.states import EventType, WatchedEvent, ZnodeStat

from tests.performance.child import DONE, GO, READY, say, tell

_ARMED_AT_ONCE = 200


@dataclass(frozen=True)
class AnchorJob:
    """From where to where."""

    source: str
    target: str
    source_root: str
    target_root: str


class Naive:
    """The live loop."""

    def __init__(self, source: KazooClient, target: KazooClient, job: AnchorJob) -> None:
        self._source = source
        self._target = target
        self._job = job

    def arm(self) -> None:
        """Set all watches."""
        root = self._job.source_root
        for folder in self._source.get_children(root):
            paths = [
                f"{root}/{folder}/{name}" for name in self._source.get_children(f"{root}/{folder}")
            ]
            for start in range(0, len(paths), _ARMED_AT_ONCE):
                some = paths[start : start + _ARMED_AT_ONCE]
                for answer in [self._source.get_async(p, watch=self._on_event) for p in some]:
                    answer.get()

    def _on_event(self, event: WatchedEvent) -> None:
        if event.type != EventType.CHANGED:
            return
        path = event.path

        def copy(answer: AsyncResult[tuple[bytes | None, ZnodeStat]]) -> None:
            if answer.successful() and answer.value is not None:
                copied = self._job.target_root + path.removeprefix(self._job.source_root)
                self._target.set_async(copied, answer.value[0] or b"")

        self._source.get_async(path, watch=self._on_event).rawlink(copy)


def copy_plainly(source: KazooClient, target: KazooClient, job: AnchorJob) -> int:
    """Copy a tree; returns how many znodes."""
    count = 0
    left = [""]
    while left:
        rel = left.pop()
        data, _ = source.get(job.source_root + rel)
        target.create(job.target_root + rel, data or b"")
        count += 1
        left += [f"{rel}/{name}" for name in source.get_children(job.source_root + rel)]
    return count


def _order() -> str:
    return sys.stdin.readline().strip()


def main() -> None:
    """Start the child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["naive", "copy"])
    kind = parser.parse_args().kind
    document: Any = json.loads(_order())
    job = AnchorJob(**document)
    source, target = KazooClient(job.source), KazooClient(job.target)
    for client in (source, target):
        client.start()
    try:
        if kind == "naive":
            Naive(source, target, job).arm()
            say(READY)
            _order()
            tell({})
            return
        say(READY)
        if _order() != GO:
            return
        began_at = time.monotonic()
        count = copy_plainly(source, target, job)
        seconds = time.monotonic() - began_at
        say(DONE)
        _order()
        tell({"seconds": seconds, "znodes": count})
    finally:
        for client in (source, target):
            client.stop()
            client.close()


if __name__ == "__main__":
    main()

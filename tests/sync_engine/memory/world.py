"""Two ensembles in memory, and engines between them that start, stop and die.

Every engine is called `e<n>`, which its connections carry, so that what it writes can be told from
what clients and earlier engines write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from sync_engine import consent
from sync_engine.base import Base
from sync_engine.conflicts import ConflictJournal
from sync_engine.direction import Roots, Side
from sync_engine.engine import Engine
from sync_engine.errors import SyncError
from sync_engine.globs import Selection
from sync_engine.replicator import Replicator
from sync_engine.report import FlipReport
from sync_engine.settings import parse_rules
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.door import SUPER_CREDENTIALS
from tests.sync_engine.memory.ensemble import Client, Ensemble
from tests.sync_engine.memory.loop import VirtualLoop
from tests.sync_engine.memory.network import Network
from tests.sync_engine.memory.tree import Create

SUBTREE = "apps"
ROOTS = Roots("/apps", "/other/apps")
_TUNING = {
    # A marker costs as much as a client's write, and tells nothing here.
    "marker_interval_ms": 60_000,
    "scan_interval_s": 1.0,
    "lag_bound_s": 1.0,
}
T = TypeVar("T")
_SETTLE_BOUND_S = 300.0
_POLL_S = 0.05
# The sweep looks at every znode of a small tree once a second.
_SWEEPS_S = 2.5
_AUDITS_MAX = 3
_FLIP_S_MAX = 20.0
_TAKE_BACK_MAX = 5
# Each session is given a moment to end.
_END_S_MAX = 120.0
# The watch for the epoch's holder is the next transaction, which the next write brings.
_OVERTAKEN_S_MAX = 90.0


async def _result(task: asyncio.Task[T]) -> T:
    return await task


class World:
    """One run. `folder` is new, and this run's alone."""

    def __init__(self, seed: int, folder: Path, **tuning: Any) -> None:
        self.loop = VirtualLoop(seed)
        self.folder = folder
        self.tuning = {**_TUNING, **tuning}
        self.rule: dict[str, Any] = {}
        """What the rule of the subtree says beside its paths, from the next start on."""
        self.others: list[dict[str, Any]] = []  # Rules of further subtrees.
        self.selections: dict[str, Selection] = {}
        """Which paths each engine took for its own, by its name."""
        self.sides = {
            Side.A: Ensemble("a", self.loop, epoch=1),
            Side.B: Ensemble("b", self.loop, epoch=5),
        }
        self.network = Network(self.loop, list(self.sides.values()))
        self.network.on_send = self._on_effect
        self.engine: Engine | None = None
        self.state_dir = folder / "state-0"
        self.refusal = ""
        """Why the last flip was refused."""
        self.crash_after: int | None = None
        """How many more effects of the engine happen before it dies; None: it lives on."""
        self.lost_base: list[int] = []
        """When an engine began without a whole base, and when it had one, by order."""
        self.rests: list[int] = []
        """When nothing was under way, by order."""
        self._has_base = True
        self._crashes = 0
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._dying: list[asyncio.Task[None]] = []
        self._auth_file = folder / "super"
        self._auth_file.write_bytes(SUPER_CREDENTIALS)
        self._auth_file.chmod(0o600)
        for side in Side:
            client = Client(self.sides[side], "operator")
            if side is Side.A:
                client.write(Create(ROOTS.a, b"", WORLD_ALL))
        self._patches = contextlib.ExitStack()
        self._patches.enter_context(self._counted(Base, "put"))
        self._patches.enter_context(self._counted(ConflictJournal, "record"))

    @property
    def who(self) -> str:
        """The name of the engine that runs, or ran last."""
        return f"e{self._number}"

    @property
    def replicator(self) -> Replicator:
        """The worker of the subtree."""
        assert self.engine is not None
        return self.engine.replicators[SUBTREE]

    @property
    def owner(self) -> Side:
        """Who owns the subtree, by the documents in the ensembles."""
        terms: dict[Side, tuple[int, str]] = {}
        for side in Side:
            copy = self.sides[side].copy(f"/.zksync/subtrees/{SUBTREE}")
            if copy is not None and copy.data:
                doc = json.loads(copy.data)
                terms[side] = (doc["term"], doc["owner"])
        return Side(max(terms.values())[1]) if terms else Side.A

    @property
    def is_fenced(self) -> bool:
        """Whether a side may have fenced ACLs, by the documents in the ensembles."""
        path = f"/.zksync/subtrees/{SUBTREE}"
        docs = [copy.data or b"" for e in self.sides.values() if (copy := e.copy(path))]
        return any(b'"fenced_a":true' in doc or b'"fenced_b":true' in doc for doc in docs)

    def is_always_covered(self, rel: str) -> bool:
        """Whether every engine took a path for its own."""
        return all(selection.covers(rel) for selection in self.selections.values())

    def conflicts(self) -> list[dict[str, Any]]:
        """The journal, over all engines."""
        path = self.state_dir / "conflicts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    # Engines

    def start(self, *, forget_base: bool = False) -> None:
        """Start an engine on what the last one left; it does nothing before `pass_s`."""
        assert self.engine is None
        self._number += 1
        if forget_base:
            for file in self.state_dir.glob("base.sqlite*"):
                file.unlink()
            self._has_base = False
        selection = Selection(self.rule.get("include", ()), self.rule.get("exclude", ()))
        if any(before.text != selection.text for before in list(self.selections.values())[-1:]):
            # Of what it takes in anew its base knows nothing.
            self._has_base = False
        self.selections[self.who] = selection
        if not self._has_base:
            self.lost_base.append(next(self.loop.ticks))
        self.engine = self._new_engine(self.state_dir)
        self._task = self.loop.run(self._begin(self.engine))

    async def _begin(self, engine: Engine) -> asyncio.Task[None]:
        return asyncio.create_task(engine.run(), name=self.who)

    def _new_engine(self, state_dir: Path) -> Engine:
        rules = parse_rules(self._document(state_dir), "rules")

        async def make() -> Engine:
            return Engine(rules)

        return self.loop.run(make())

    def _document(self, state_dir: Path) -> dict[str, Any]:
        auth = {"scheme": "digest", "file": str(self._auth_file)}
        return {
            "sides": {
                side.value: {
                    "hosts": ",".join(f"{s.name}.{self.who}:2181" for s in ensemble.servers),
                    "auth": auth,
                }
                for side, ensemble in self.sides.items()
            },
            "state_dir": str(state_dir),
            "listen": "127.0.0.1:1",
            "token_file": str(self._auth_file),
            "subtrees": [
                {"name": SUBTREE, "path_a": ROOTS.a, "path_b": ROOTS.b, "owner": "a", **self.rule},
                *self.others,
            ],
            "tuning": self.tuning,
        }

    def stop(self) -> None:
        """Stop the engine in order."""
        self._note_base()
        task, self._task, self.engine = self._task, None, None
        if task is not None:
            self.loop.run(self._end(task))

    def crash(self) -> None:
        """Kill the engine: what it has sent may arrive, what its files hold stays, no more."""
        task, engine = self._task, self.engine
        if task is None or engine is None:
            return
        self._note_base()
        self._task, self.engine, self.crash_after = None, None, None
        self.network.kill(self.who)
        self._leave_files()
        # What still runs of it reaches nobody.
        self.loop.call_soon(task.cancel)
        self._dying.append(task)

    def overtake(self, pause_s: float) -> bool:
        """Hold the engine up, let another one begin meanwhile, and let the first go on; returns
        whether it then ends by itself."""
        task, first = self._task, self.who
        assert task is not None
        self._note_base()
        self._task, self.engine, self.crash_after = None, None, None
        self.network.pause(first)
        self._leave_files()
        self.start()
        self.until(lambda: self.is_idle, "a start")
        self.pass_s(pause_s)
        self.network.resume(first)
        deadline = self.loop.time() + _OVERTAKEN_S_MAX
        while not task.done() and self.loop.time() < deadline:
            self.pass_s(_POLL_S)
        has_ended = task.done()
        # An engine of the product ends by itself; a broken one is ended here.
        task.cancel()
        self._dying.append(task)
        return has_ended

    def flip(self, to: Side) -> FlipReport | None:
        """Ask the engine to change the owner; None if it refuses, fails, or dies of it."""
        engine = self.engine
        assert engine is not None
        task = self.loop.create_task(engine.flip(SUBTREE, to, _FLIP_S_MAX))
        while not task.done() and self.engine is engine:
            self.pass_s(_POLL_S)
        if not task.done():
            task.cancel()
        try:
            return self.loop.run(_result(task))
        except (SyncError, asyncio.CancelledError) as error:
            self.refusal = str(error)
            return None

    def _take_back(self) -> None:
        """Finish a flip that was given up: the owner's side is let go of."""
        for _ in range(_TAKE_BACK_MAX):
            doc = self.replicator.subtree.doc
            if not doc.is_fenced(doc.owner) or self.flip(doc.owner) is not None:
                return
            self.pass_s(_SWEEPS_S)
        pytest.fail(f"a flip that was given up cannot be taken back: {self.refusal}")

    def _leave_files(self) -> None:
        """Give the next engine what the files of this one hold now."""
        self._crashes += 1
        left = self.folder / f"state-{self._crashes}"
        left.mkdir(mode=0o700)
        for file in self.state_dir.iterdir():
            if file.suffix != ".lock" and not file.name.endswith("-shm"):
                shutil.copy(file, left / file.name)
        self.state_dir = left

    def _note_base(self) -> None:
        """Note whether the base that is left would be believed."""
        replicator = None if self.engine is None else self.engine.replicators.get(SUBTREE)
        if replicator is not None:
            was, self._has_base = self._has_base, replicator.subtree.base.is_trusted
            if self._has_base and not was:
                self.lost_base.append(next(self.loop.ticks))

    async def _end(self, task: asyncio.Task[None]) -> None:
        if task not in self._dying:
            task.cancel()
        # Of one that goes on for all that, a test would wait for ever: here time costs nothing.
        await asyncio.wait({task}, timeout=_END_S_MAX)
        if not task.done():
            left = "\n".join(sorted(map(repr, asyncio.all_tasks(self.loop))))
            pytest.fail(f"expected a cancelled engine to end, saw it go on:\n{left}")
        with contextlib.suppress(asyncio.CancelledError, SyncError):
            task.result()

    @contextlib.contextmanager
    def _counted(self, kind: type[Any], name: str) -> Generator[None]:
        real: Callable[..., Any] = getattr(kind, name)

        def counted(target: Any, *args: Any, **options: Any) -> Any:
            if self._is_alive(target):
                self._on_effect(self.who)
            return real(target, *args, **options)

        with patch.object(kind, name, counted):
            yield

    def _is_alive(self, target: object) -> bool:
        engine = self.engine
        if engine is None:
            return False
        return target is engine.conflicts or any(
            target is r.subtree.base for r in engine.replicators.values()
        )

    def _on_effect(self, who: str) -> None:
        """Something lasting is about to be done."""
        if self.crash_after is None or who != self.who:
            return
        if self.crash_after == 0:
            self.crash()
        else:
            self.crash_after -= 1

    # Time

    def pass_s(self, seconds: float) -> None:
        """Let time go by; raises what an engine died of."""
        self.loop.run(asyncio.sleep(seconds))
        self._check()

    def _check(self) -> None:
        for task in [t for t in self._dying if t.done()]:
            self._dying.remove(task)
            with contextlib.suppress(asyncio.CancelledError, SyncError):
                task.result()
        if self._task is not None and self._task.done():
            self._task.result()
            msg = "expected the engine to run, saw it end"
            raise AssertionError(msg)
        self._note_base()

    def until(self, condition: Callable[[], object], what: str, bound_s: float = 60) -> None:
        """Let time go by until something holds."""
        deadline = self.loop.time() + bound_s
        while not condition():
            assert self.loop.time() < deadline, f"{what} did not happen within {bound_s:g} s"
            self.pass_s(_POLL_S)

    @property
    def is_idle(self) -> bool:
        """Whether the engine knows of nothing to do."""
        engine = self.engine
        if engine is None or not engine.is_started:
            return False
        return all(w.is_idle or w.stalled is not None for w in engine.workers())

    def come_to_rest(self) -> None:
        """Let everything go well until the engine has nothing to do, and its sweep has been round
        twice; nobody helps it."""
        if self.engine is None:
            self.start()
        for ensemble in self.sides.values():
            ensemble.faults.clear()
        self.crash_after = None
        for _ in range(2):
            self.until(lambda: self.is_idle, "quiet", _SETTLE_BOUND_S)
            self.pass_s(_SWEEPS_S)
        self.until(lambda: self.is_idle, "quiet", _SETTLE_BOUND_S)

    def settle(self) -> None:
        """Let both sides become what they will be: an operator confirms what waits for one, and
        audits find what no watch tells."""
        assert self.engine is not None
        self._take_back()
        self._confirm_all(self.engine)
        for _ in range(_AUDITS_MAX):
            self.until(lambda: self.is_idle, "quiet", _SETTLE_BOUND_S)
            report = self.loop.run(self.engine.audit(60))
            self._check()
            self._confirm_all(self.engine)
            self.pass_s(_SWEEPS_S)
            if report.equal and self.is_idle:
                break
        self.until(lambda: self.is_idle, "quiet", _SETTLE_BOUND_S)
        self.rests.append(next(self.loop.ticks))

    def _confirm_all(self, engine: Engine) -> None:
        """Be an operator to whom all that waits is right."""
        for one in consent.waiting(self.replicator):
            engine.confirm(SUBTREE, one.seen)

    def close(self) -> None:
        """End everything."""
        self.crash_after = None
        self.network.kill(self.who)
        ending = [*self._dying, *([] if self._task is None else [self._task])]
        self._task = None
        try:
            # Cancelled once only: what ends in order closes its files.
            for task in ending:
                self.loop.run(self._end(task))
            self.loop.discard()
        finally:
            self._patches.close()

"""The main job on this machine: bring up blue, migrate it to green under load, prove what was kept.

`Demo.run` is the order of things; each part is another module's. Whatever it ends with, `finish`
writes the report and removes what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from components.errors import ComponentError
from stacks.automation import StackRunner
from stacks.demo import (
    app_proofs,
    cluster,
    figures,
    local_stack,
    logs,
    proofs,
    recorder,
    removal,
    report,
)
from stacks.demo.addresses import Addresses
from stacks.demo.errors import DemoError, RefusedError
from stacks.demo.observations import Audit, Observations
from stacks.demo.observer import Observer, read_updates
from stacks.demo.report import Report
from stacks.demo.screen import Screen, title
from stacks.demo.tenure import Tenure
from stacks.environment import local_folder
from stacks.errors import StackError, disk_trouble
from stacks.local.errors import StartError
from stacks.migration import events
from stacks.migration.errors import MigrationError
from stacks.migration.service import MigrationService
from stacks.threads import on_thread
from stacks.topology import PHASE_FIRST, PHASE_LAST
from sync_engine.client import EngineClient, EngineError

_AUDIT_TIMEOUT_S = 60.0
_FIRST_LOOK_TIMEOUT_S = 15.0
_PAUSE_S = 0.1
# What an expected failure is; anything else is a bug, and says so with a traceback.
# A full disk is no bug of ours.
FAILURES = (DemoError, MigrationError, StackError, ComponentError, EngineError, StartError, OSError)


@dataclass
class Demo:
    """One run. `keep` leaves the target's cluster running; `tenure` is lent to each migration."""

    project_dir: Path
    console: Console
    keep: bool = False
    tenure: Tenure | None = None
    seen: Observations = field(default_factory=Observations)

    def __post_init__(self) -> None:
        self.seen.started_at = time.time()
        self.screen = Screen(self.seen, self.console)
        self.runner = StackRunner(local_stack.STACK, self.project_dir)
        self._observer: Observer | None = None

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.project_dir / "build" / "demo"

    @property
    def addresses(self) -> Addresses:
        """Where everything answers, by the state as it is now."""
        return Addresses.of(self.runner.outputs())

    async def run(self) -> None:
        """Do the job; what was seen is in `seen`.

        Raises:
            DemoError, MigrationError, StackError: where it stopped and why.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        with self.screen.showing():
            self.screen.say(title(self.seen.source, self.seen.target))
            await self._bring_up()
            addresses = self.addresses
            with self.screen.stage("cluster healthy"):
                config = self.runner.get_config()
                self.seen.app_sizes = {
                    str(app["id"]): int(app.get("instances", 1)) for app in config.apps
                }
                self.seen.app_batch = config.bounds.batch_size
                await cluster.await_healthy(addresses, self.seen.source, config, self._tell)
                self.seen.registry_set = await cluster.set_registry(addresses, self.seen.source)
            async with Observer(self.seen, addresses) as self._observer:
                await self._first_look()
                await self._migrate()
                await self._look_back()

    def _tell(self, text: str) -> None:
        self.screen.progress.told = text

    async def _bring_up(self) -> None:
        with self.screen.stage(f"phase {PHASE_FIRST} up"):
            try:
                await on_thread(self.runner.init)
                await on_thread(lambda: self.runner.up(on_event=self._note_resource))
            except StackError as error:
                # Nothing of the job has begun: the same as if it had been found out before.
                raise RefusedError(str(error)) from None
        self.screen.progress.phase = PHASE_FIRST

    def _note_resource(self, event: Any) -> None:
        """Called on the engine's thread."""
        if event.res_outputs_event:
            self._tell(event.res_outputs_event.metadata.urn.rpartition("::")[2])

    async def _first_look(self) -> None:
        """What tasks there are must have been seen before anything moves."""
        deadline = time.monotonic() + _FIRST_LOOK_TIMEOUT_S
        while not self._has_seen_all():
            self._check_observer()
            if time.monotonic() > deadline:
                msg = (
                    "expected frameworks, the client group and the agents to answer within "
                    f"{_FIRST_LOOK_TIMEOUT_S:.0f} s, saw no answer"
                )
                raise DemoError(msg)
            await asyncio.sleep(_PAUSE_S)

    def _has_seen_all(self) -> bool:
        seen = self.seen
        wanted = sum(seen.app_sizes.values())
        # Looks in which not every process was known yet are no beginning to compare with.
        while seen.apps and len(seen.apps[0].pids) < wanted:
            del seen.apps[0]
        has_apps = bool(seen.apps) or not wanted
        return bool(seen.tasks and seen.traffic and seen.registrations) and has_apps

    async def _migrate(self) -> None:
        service = MigrationService(self.project_dir, local_stack.STACK, listener=self._note)
        self.seen.migration_started_at = time.time()
        for phase in range(PHASE_FIRST + 1, PHASE_LAST + 1):
            await self._walk(service, phase)
            self._check_observer()
            if phase in proofs.AUDITED_PHASES:
                await self._audit(phase)

    async def _walk(self, service: MigrationService, phase: int) -> None:
        with self.tenure.lent() if self.tenure is not None else contextlib.nullcontext():
            await service.start(phase)

    def _note(self, event: events.Event) -> None:
        recorder.record(self.seen, event)
        self.screen.note(event)
        is_update = isinstance(event, events.StepEnded) and "operations" in event.findings.numbers
        if is_update and self._observer is not None:
            self._observer.addresses = self.addresses
        if self._observer is not None:
            # Masters that are gone are still needed, to tell who was whose.
            self.seen.masters = {**self.seen.masters, **self._observer.addresses.masters}

    async def _audit(self, phase: int) -> None:
        addresses = self.addresses
        assert addresses.engine_token is not None
        with self.screen.stage(f"audit under traffic, phase {phase}"):
            try:
                client = EngineClient(
                    addresses.engine, addresses.engine_token, timeout_s=_AUDIT_TIMEOUT_S + 5
                )
                async with client:
                    found = await client.audit(timeout_s=_AUDIT_TIMEOUT_S)
            except EngineError as error:
                self.seen.audits.append(
                    Audit(phase, equal=False, znodes=0, seconds=0.0, differences=(str(error),))
                )
                return
        trees = found.subtrees.values()
        differences = (f"{d.path} {d.kind}" for tree in trees for d in tree.differences)
        self.seen.audits.append(
            Audit(
                phase=phase,
                equal=found.equal,
                znodes=sum(tree.znodes for tree in trees),
                seconds=found.seconds,
                differences=tuple(differences),
            )
        )

    async def _look_back(self) -> None:
        """With the writers standing still, everything they were promised is looked for."""
        addresses, target = self.addresses, self.seen.target
        supervisor = removal.supervisor_of(self.project_dir)
        with self.screen.stage("acknowledged writes compared"):
            for group in addresses.clients:
                program = addresses.program_of_clients(group)
                await on_thread(lambda name=program: supervisor.stop(name))
                try:
                    self.seen.writes = await on_thread(
                        lambda name=group: cluster.compare_writes(addresses, name, target)
                    )
                finally:
                    if self.keep:
                        await on_thread(lambda name=program: supervisor.start(name))
        self.seen.app_failures = await cluster.read_app_failures(addresses)
        self.seen.registry_found = await cluster.read_registry(addresses, target)
        self.seen.left_of_source = cluster.processes_of_source(supervisor, self.seen.source)
        self._check_observer()

    def _check_observer(self) -> None:
        if self._observer is not None:
            self._observer.check()

    # The end

    def finish(self, problem: str | None) -> Report:
        """Remove what runs, unless it is kept; prove; write the report."""
        run_dir = removal.supervisor_of(self.project_dir).run_dir
        self.seen.updates = read_updates(run_dir / "frameworks-sample-0" / "data")
        logs_folder: Path | None = None
        if problem is not None or not all(p.ok for p in self._proofs(left=[])):
            logs_folder = logs.keep(run_dir, self.folder / "logs")
        if self.keep:
            (local_folder(self.project_dir) / removal.KEPT).touch()
        else:
            problem = self._remove(problem)
        self.seen.ended_at = time.time()
        made = Report(
            proofs=tuple(self._prove()),
            figures=tuple(figures.figures(self.seen)),
            problem=problem,
            logs=logs_folder,
        )
        report.write(made, self.seen, self.folder)
        (self.folder / "steps.txt").write_text("\n".join(self.screen.lines) + "\n")
        return made

    def _proofs(self, left: list[str]) -> list[proofs.Proof]:
        self.seen.left_behind = left
        found = self._prove()
        self.seen.left_behind = None
        return found

    def _prove(self) -> list[proofs.Proof]:
        return [*proofs.prove(self.seen), *app_proofs.prove_apps(self.seen)]

    def _remove(self, problem: str | None) -> str | None:
        with self.screen.showing(), self.screen.stage("everything removed"):
            try:
                if self.tenure is not None:
                    self.tenure.take()
                if problem is None:
                    # The way in which a person would remove it; what is below makes sure.
                    self.runner.destroy()
                removal.remove(self.project_dir, self.tenure)
                self.runner.init()
            except (DemoError, StackError, ComponentError, OSError) as error:
                told = disk_trouble(error) if isinstance(error, OSError) else str(error)
                problem = problem or f"what ran could not be removed: {told}"
        left = removal.left_processes(self.project_dir)
        self.seen.left_behind = [f"process {pid}" for pid in sorted(left)]
        return problem

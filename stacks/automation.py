"""Previews and updates by the Automation API: the only user of `pulumi.automation`.

A `StackRunner` works on the same project folder, configuration file and state as the command line;
it runs stacks.program in this process as an inline program, which spares the start of a language
host. Failures become the errors of stacks.errors, never a traceback.

Each call of the engine costs half a second before it does anything. So the stack is not selected
before each command, results are taken from the engine's events instead of being asked for
afterwards, and a file backend's state is read as the file that it is.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pulumi import automation as auto
from pulumi.automation import events

from stacks import config_file, diagnostics, state
from stacks.config import StackConfig, parse
from stacks.errors import EngineMissingError, StackError, StackMissingError
from stacks.gate import GATE_NAME, standing_from
from stacks.program import declare
from stacks.state import FileState
from stacks.steps import Op, PreviewResult, Step, UpResult
from stacks.topology import Color, Standing

R = TypeVar("R")
OnEvent = Callable[[events.EngineEvent], None]
_ROOT_TYPE = "pulumi:pulumi:Stack"
_GATE_TYPE = "pulumi-python:dynamic/mesosplatform:Gate"
# A live update ends within this time or is waited for by nobody; killed ones do not hold us up.
_LOCK_WAIT_S = 30.0


# When an update fails, the engine goes away while the program still talks to it; the library logs
# that with tracebacks, and nobody can do anything with them. The failure itself is ours to tell.
logging.getLogger("grpc._server").setLevel(logging.CRITICAL)


@dataclass
class _Recorder:
    """Keeps what matters of an engine's events; they arrive on another thread, in order."""

    forward: OnEvent | None = None
    steps: dict[str, Step] = field(default_factory=dict[str, Step])
    diagnostics: list[diagnostics.Diagnostic] = field(default_factory=list[diagnostics.Diagnostic])
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    summary: Mapping[str, int] = field(default_factory=dict[str, int])

    def __call__(self, event: events.EngineEvent) -> None:
        if event.resource_pre_event:
            self._record_step(event.resource_pre_event.metadata)
        if event.res_outputs_event:
            metadata = event.res_outputs_event.metadata
            if metadata.type == _ROOT_TYPE and metadata.new:
                self.outputs = metadata.new.outputs or {}
        if event.diagnostic_event and event.diagnostic_event.severity == "error":
            told = event.diagnostic_event
            self.diagnostics.append(diagnostics.Diagnostic(told.urn or "", told.message))
        if event.summary_event:
            changes = event.summary_event.resource_changes
            self.summary = {events.OpType(op).value: count for op, count in changes.items()}
        if self.forward:
            self.forward(event)

    def _record_step(self, metadata: events.StepEventMetadata) -> None:
        if metadata.type == _ROOT_TYPE or metadata.type.startswith("pulumi:providers:"):
            return
        after = metadata.new or metadata.old
        self.steps[f"{metadata.op} {metadata.urn}"] = Step(
            op=Op.of(metadata.op.value),
            urn=metadata.urn,
            type=metadata.type,
            name=metadata.urn.rpartition("::")[2],
            protect=bool(after and after.protect),
            keys=tuple(metadata.diffs or ()),
        )


class _QuickStack(auto.Stack):
    """A stack whose results are not asked for a second time after each update."""

    def __init__(self, name: str, workspace: auto.Workspace) -> None:
        # The inherited constructor would select the stack, which costs a call and makes another
        # stack the default of whoever uses the command line in this folder.
        self.name = name
        self.workspace = workspace

    def __repr__(self) -> str:
        return f"_QuickStack({self.name!r})"

    def outputs(self) -> auto.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> auto.UpdateSummary:  # noqa: FBT001, FBT002 - inherited
        del show_secrets
        now = datetime.now(UTC)
        return auto.UpdateSummary("update", now, "", {}, {}, "succeeded", now)


class StackRunner:
    """Previews and updates of one stack; `program` is the project's own unless a test has one."""

    def __init__(
        self,
        stack_name: str,
        project_dir: Path,
        *,
        program: Callable[[], None] | None = None,
    ) -> None:
        self.stack_name = stack_name
        self.project_dir = project_dir.resolve()
        self._program = program or (lambda: declare(self.project_dir))
        self.config_file = self.project_dir / f"Pulumi.{stack_name}.yaml"
        self._backend_url = os.environ.get("PULUMI_BACKEND_URL") or (
            f"file://{self.project_dir / '.local' / 'pulumi-state'}"
        )
        self._stack: auto.Stack | None = None

    # Configuration

    def get_config(self) -> StackConfig:
        """What the stack's configuration file says.

        Raises:
            ConfigError: the file is missing or wrong.
        """
        values = config_file.read(self.config_file, self.stack_name)
        return parse(values, self.stack_name)

    def desired(self) -> Standing:
        """Where the configuration points."""
        return self.get_config().migration.standing

    def set_migration(
        self,
        standing: Standing,
        *,
        permit: str | None = None,
        epochs: Mapping[Color, int] | None = None,
    ) -> None:
        """Write where the stack should stand, in one go; the rest of the file stays as it is.

        `epochs` are added to those that are there; a permit that is not given is removed.
        """
        known = self.get_config().migration.epochs
        config_file.write_migration(
            self.config_file,
            standing,
            permit=permit,
            epochs={**known, **(epochs or {})},
        )

    # State

    def actual(self) -> Standing | None:
        """Where the stack stands by its state; None before its first update."""
        outputs = state.outputs_of(self.deployment(), _GATE_TYPE, GATE_NAME)
        return None if outputs is None else standing_from(outputs)

    def outputs(self) -> Mapping[str, Any]:
        """Outputs of the last update."""
        return state.outputs_of(self.deployment(), _ROOT_TYPE, self._root_name) or {}

    def state_digest(self) -> str:
        """Equal as long as nobody changed the stack's state."""
        return state.digest(self.deployment())

    def deployment(self) -> Mapping[str, Any]:
        """The stack's state.

        Raises:
            StackMissingError: there is no such stack.
        """
        files = self._files()
        if files is not None:
            return files.read()
        exported = self._guarded(self._open().export_stack, _Recorder())
        return exported.deployment or {}

    def exists(self) -> bool:
        """Whether the stack was initialised."""
        try:
            self.deployment()
        except StackMissingError:
            return False
        return True

    def init(self) -> None:
        """Initialise the stack; initialised already is a success.

        Raises:
            ConfigError: the configuration file is missing or wrong; nothing was made.
        """
        self.get_config()
        self._make_backend()
        if self.exists():
            return
        workspace = self._open().workspace
        self._guarded(lambda: workspace.create_stack(self.stack_name), _Recorder())

    # Operations

    def preview(
        self,
        plan_file: Path | None = None,
        *,
        on_event: OnEvent | None = None,
        refresh: bool = False,
    ) -> PreviewResult:
        """Find out what an update would do, and save it as a plan.

        Raises:
            GateRefusedError: the configuration points where no update may go from here.
            StackError: see stacks.errors.
        """
        self.get_config()
        recorder = _Recorder(on_event)
        plan = None if plan_file is None else str(plan_file)
        self._guarded(
            lambda: self._open().preview(
                plan=plan, on_event=recorder, refresh=refresh, color="never", suppress_progress=True
            ),
            recorder,
        )
        return PreviewResult(tuple(recorder.steps.values()), plan_file)

    def up(
        self,
        plan_file: Path | None = None,
        on_event: OnEvent | None = None,
        *,
        refresh: bool = False,
    ) -> UpResult:
        """Update the stack; with a plan, nothing beyond it is done.

        Raises:
            GateRefusedError: the configuration points where no update may go; nothing changed.
            ResourceFailedError: a resource could not be made so; what succeeded is kept.
            StackError: see stacks.errors.
        """
        self.get_config()
        recorder = _Recorder(on_event)
        plan = None if plan_file is None else str(plan_file)
        self._guarded(
            lambda: self._open().up(
                plan=plan, on_event=recorder, refresh=refresh, color="never", suppress_progress=True
            ),
            recorder,
        )
        return UpResult(recorder.outputs, recorder.summary, tuple(recorder.steps.values()))

    def refresh(self, on_event: OnEvent | None = None) -> PreviewResult:
        """Bring the state in line with what really runs; returns what was found changed."""
        recorder = _Recorder(on_event)
        self._guarded(
            lambda: self._open().refresh(
                on_event=recorder, color="never", suppress_progress=True, run_program=False
            ),
            recorder,
        )
        return PreviewResult(tuple(recorder.steps.values()))

    def destroy(self, on_event: OnEvent | None = None) -> UpResult:
        """Remove everything, protected or not; the stack itself and its configuration stay."""
        recorder = _Recorder(on_event)
        self._run("state", "unprotect", "--all", "--yes", "--stack", self.stack_name)
        self._guarded(
            lambda: self._open().destroy(
                on_event=recorder, color="never", suppress_progress=True, run_program=False
            ),
            recorder,
        )
        return UpResult({}, recorder.summary, tuple(recorder.steps.values()))

    def clear_interrupted(self, *, wait_s: float = _LOCK_WAIT_S) -> bool:
        """Clear what a killed update left: its lock, and operations that it never ended.

        Waits for a live update first. Resources whose creation was interrupted are created again by
        the next update, which takes over what it finds. Returns whether there was anything.

        Raises:
            ConcurrentUpdateError: a live update still holds the stack.
        """
        files = self._files()
        cleared = files.clear_dead_locks(wait_s=wait_s) if files is not None else 0
        if not self.deployment().get("pending_operations"):
            return bool(cleared)
        stack = self._open()
        exported = self._guarded(stack.export_stack, _Recorder())
        settled: dict[str, Any] = {**(exported.deployment or {}), "pending_operations": []}
        cleaned = auto.Deployment(version=exported.version, deployment=settled)
        self._guarded(lambda: stack.import_stack(cleaned), _Recorder())
        return True

    # Inside

    @property
    def _root_name(self) -> str:
        return f"{state.PROJECT}-{self.stack_name}"

    def _files(self) -> FileState | None:
        return FileState.of(self._backend_url, self.stack_name)

    def _make_backend(self) -> None:
        if self._backend_url.startswith("file://"):
            Path(self._backend_url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)

    def _open(self) -> auto.Stack:
        if self._stack is None:
            self._make_backend()
            workspace = auto.LocalWorkspace(
                work_dir=str(self.project_dir),
                program=self._program,
                env_vars={"PULUMI_BACKEND_URL": self._backend_url},
                pulumi_command=_command(),
            )
            self._stack = _QuickStack(self.stack_name, workspace)
        return self._stack

    def _run(self, *args: str) -> None:
        workspace = self._open().workspace
        self._guarded(
            lambda: workspace.pulumi_command.run(
                list(args), str(self.project_dir), workspace.env_vars
            ),
            _Recorder(),
        )

    def _guarded(self, work: Callable[[], R], recorder: _Recorder) -> R:
        try:
            return work()
        except auto.CommandError as error:
            raise self._typed(str(error), recorder) from None

    def _typed(self, words: str, recorder: _Recorder) -> StackError:
        return diagnostics.error_of(self.stack_name, recorder.diagnostics, words)


def _command() -> auto.PulumiCommand:
    root = Path(sys.prefix)
    try:
        return auto.PulumiCommand(root=str(root), skip_version_check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        msg = (
            f"expected the Pulumi engine behind {root / 'bin' / 'pulumi'}, saw none that runs "
            f"({error}). Run `make tools`"
        )
        raise EngineMissingError(msg) from None

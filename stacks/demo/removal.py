"""Removes all that a demo left in this checkout, whatever state it was left in.

Not by the engine: an interrupted run has a state that nobody may trust, and perhaps no engine. What
runs is found by its mark (components.targets.orphans), so only processes of this checkout's stack
are ever ended. An update that a killed demo began is waited for first, because it would go on
creating what is removed here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from components.targets import orphans, run_folder
from components.targets.supervisor import Supervisor
from stacks.demo import local_stack
from stacks.demo.tenure import Tenure
from stacks.environment import defaults, local_folder
from stacks.errors import ConfigError, StateUnreadableError
from stacks.state import PROJECT, FileState

_UPDATE_WAIT_S = 30.0
_ANCESTORS_MAX = 8
KEPT = "demo-kept"
Tell = Callable[[str], None]


def supervisor_of(project_dir: Path) -> Supervisor:
    """The supervisor of the stack; also where its configuration cannot be read."""
    return Supervisor(local_stack.run_dir(project_dir))


def left_processes(project_dir: Path) -> set[int]:
    """Processes of this checkout's stack that live, tasks included."""
    supervisor = supervisor_of(project_dir)
    return orphans.marked(supervisor.mark(""))


def anything_left(project_dir: Path) -> bool:
    """Whether an earlier run left something: what it ran, a lock, or a state that tells of it."""
    if supervisor_of(project_dir).run_dir.exists():
        return True
    if left_processes(project_dir) or lone_providers(project_dir):
        return True
    files = _files(project_dir)
    if files is None:
        return True
    return any(files.locks()) or (files.exists and _tells_of_resources(files))


def _tells_of_resources(files: FileState) -> bool:
    try:
        return bool(files.read().get("resources"))
    except StateUnreadableError:
        # Nobody knows what it told.
        return True


def remove(project_dir: Path, tenure: Tenure | None = None) -> None:
    """Remove it: processes, what they wrote, and the stack's state. Nothing there is a success.

    `tenure` is the caller's own hold on the stack, where it has one.

    Raises:
        RefusedError: somebody migrates the stack; nothing was removed.
        ConcurrentUpdateError: an update of the stack is under way and does not end.
        SupervisorError: a process could not be stopped.
        RunFolderError: what it wrote is not ours to remove, or could not be.
        OSError: the state could not be removed.
    """
    if tenure is not None:
        tenure.take_if_begun()
        _remove(project_dir)
        return
    tenure = Tenure(project_dir)
    tenure.take_if_begun()
    try:
        _remove(project_dir)
    finally:
        tenure.release()


def _remove(project_dir: Path) -> None:
    files = _files(project_dir)
    if files is not None:
        files.clear_dead_locks(wait_s=_UPDATE_WAIT_S)
    supervisor = supervisor_of(project_dir)
    orphans.end(lone_providers(project_dir), grace_s=1.0)
    # All at the same time; what supervisord no longer knows is ended by its mark.
    supervisor.shut_down()
    supervisor.remove_all()
    _forget_state(_state_folder(project_dir) / ".pulumi")
    (local_folder(project_dir) / KEPT).unlink(missing_ok=True)
    try:
        local_stack.reset(project_dir)
    except ConfigError:
        pass  # It is told when somebody wants to run the stack; here nothing runs any more.
    run_folder.remove(supervisor.run_dir)


def lone_providers(project_dir: Path) -> set[int]:
    """Providers of this checkout's updates whose engine was killed before it had configured them:
    from then on they would end by themselves (components.targets.engine_watch)."""
    home = f"PULUMI_HOME={defaults(project_dir)['PULUMI_HOME']}".encode()
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_provider = b"pulumi.dynamic" in (process / "cmdline").read_bytes()
            is_ours = home in (process / "environ").read_bytes().split(b"\0")
        except OSError:  # Ended meanwhile, or another user's.
            continue
        if is_provider and is_ours and not _has_engine(int(process.name)):
            found.add(int(process.name))
    return found


def _has_engine(pid: int) -> bool:
    """Whether an engine is among the ancestors of a process."""
    for _ in range(_ANCESTORS_MAX):
        try:
            head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            return False
        state, parent = tail.split()[:2]
        if head.endswith("(pulumi") and state not in {"Z", "X"}:
            return True
        pid = int(parent)
    return False


def _files(project_dir: Path) -> FileState | None:
    return FileState.of(f"file://{_state_folder(project_dir)}", local_stack.STACK)


def _state_folder(project_dir: Path) -> Path:
    return Path(defaults(project_dir)["PULUMI_BACKEND_URL"].removeprefix("file://"))


def _forget_state(folder: Path) -> None:
    """Remove what the file backend keeps of the stack; other stacks stay."""
    for file in (folder / "stacks" / PROJECT).glob(f"{local_stack.STACK}.json*"):
        file.unlink(missing_ok=True)
    for part in ("history", "backups", "locks/organization"):
        place = folder / part / PROJECT / local_stack.STACK
        if place.exists():
            shutil.rmtree(place)

"""The demo's hold on its stack: nobody migrates it meanwhile, and a migration is not removed.

A migration holds the lease of its journal only while it walks, and a demo is more: it brings up,
audits and removes. So it holds the same lease for all of its run, and lends it to the service for
each walk: a lease cannot be held twice, not even by one process. Whoever came in just between would
end the demo, not the migration.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stacks.demo import local_stack
from stacks.demo.errors import RefusedError
from stacks.migration.errors import RunnerBusyError
from stacks.migration.journal import Journal


class Tenure:
    """The lease of the stack of a checkout; let go with its process at the latest."""

    def __init__(self, project_dir: Path) -> None:
        # Its folder is named by the configuration, which may be written after this.
        self._project_dir = project_dir
        self._held: ExitStack | None = None

    def take(self) -> None:
        """Hold the lease; held already is a success.

        Raises:
            RefusedError: somebody migrates the stack.
            OSError: the journal's folder cannot be written.
        """
        if self._held is not None:
            return
        held = ExitStack()
        try:
            held.enter_context(Journal(_folder(self._project_dir)).lease())
        except RunnerBusyError as error:
            msg = f"{error}. Then call this again: nothing was removed"
            raise RefusedError(msg) from None
        self._held = held

    def take_if_begun(self) -> None:
        """The same, but where nobody ever migrated nothing is made."""
        if _folder(self._project_dir).is_dir():
            self.take()

    def release(self) -> None:
        """Let others have it."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    @contextmanager
    def lent(self) -> Generator[None]:
        """Let a service of this process take it for a while.

        Raises:
            RefusedError: somebody else took it.
        """
        self.release()
        try:
            yield
        finally:
            self.take()

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold it while this lasts.

        Raises:
            RefusedError: somebody migrates the stack.
        """
        self.take()
        try:
            yield
        finally:
            self.release()


def _folder(project_dir: Path) -> Path:
    return local_stack.run_dir(project_dir) / "migration"

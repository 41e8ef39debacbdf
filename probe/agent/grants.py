"""What an agent may do to what it sees: nothing without a grant.

An agent looks. Everything that acts is a *control* with a name of its own, and every act asks
`Grants.check` first: it is refused unless the settings grant that one control, and in read-only
mode always. What may be done stands in the status and in the report of the host, with how often
something else was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from probe.agent.errors import NotGrantedError, SettingsError

CONTROLS: Mapping[str, str] = {
    "container.attach": "attach to a container's first process",
    "container.exec": "run a command in a container",
    "container.logs": "read a container's logs",
    "container.pause": "pause a container",
    "container.remove": "remove a stopped container",
    "container.restart": "restart a container",
    "container.start": "start a container",
    "container.stop": "stop a container",
    "container.unpause": "let a paused container go on",
    "host.exec": "run a command on the host",
}
"""Controls by name. Those of a plugin are called `plugin.PLUGIN.CONTROL`."""
_OF_PLUGINS = re.compile(r"plugin\.[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.[\w-]{1,64}")


class Grants:
    """Which controls are granted, and how often another was asked for."""

    def __init__(self, granted: Sequence[str] = (), *, read_only: bool = False) -> None:
        self._granted = frozenset(granted)
        self.read_only = read_only
        self.refused = 0

    @property
    def effective(self) -> list[str]:
        """Controls that would be carried out."""
        return [] if self.read_only else sorted(self._granted)

    def check(self, control: str) -> None:
        """Pass if a control may be carried out now.

        Raises:
            NotGrantedError: it may not; the refusal is counted.
        """
        if control in self._granted and not self.read_only:
            return
        self.refused += 1
        if self.read_only:
            msg = f"expected no act in read-only mode, saw {control!r}: set read_only to false"
        else:
            msg = f"expected a granted control, saw {control!r}: add it to `controls`"
        raise NotGrantedError(msg, control=control)


def check_names(controls: Sequence[str]) -> None:
    """Check the names of controls in settings.

    Raises:
        SettingsError: one of them is of no control.
    """
    for name in controls:
        if name not in CONTROLS and not _OF_PLUGINS.fullmatch(name):
            known = ", ".join(CONTROLS)
            msg = f"expected controls of {known} or plugin.NAME.CONTROL, saw {name!r}"
            raise SettingsError(msg)

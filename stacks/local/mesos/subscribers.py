"""Who listens to the operator API's events, and which of them may be told to whom.

As with a real master, events of frameworks and tasks go to those who may see them by the rules on
the framework's user; events of agents and heartbeats go to all.
"""

from __future__ import annotations

from collections.abc import Callable

from stacks.local.mesos.streams import Stream
from stacks.local.mesos.values import Json

# Action of the rules and the framework's user → whether this subscriber may see it.
Sees = Callable[[str, str], bool]


class Subscribers:
    """Open streams of SUBSCRIBE."""

    def __init__(self) -> None:
        self._streams: dict[Stream, Sees] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: Stream, sees: Sees = lambda _action, _user: True) -> None:
        """Tell it of everything from now on that it may see."""
        self._streams[stream] = sees

    def discard(self, stream: Stream) -> None:
        """It has gone."""
        self._streams.pop(stream, None)

    def tell(self, event: Json) -> None:
        """Tell all of them."""
        self._tell(event, ())

    def tell_of_framework(self, event: Json, framework_info: Json) -> None:
        """Tell those who may see the framework."""
        self._tell(event, ("view_frameworks",), framework_info)

    def tell_of_task(self, event: Json, framework_info: Json) -> None:
        """Tell those who may see the framework and its tasks."""
        self._tell(event, ("view_frameworks", "view_tasks"), framework_info)

    def _tell(
        self, event: Json, actions: tuple[str, ...], framework_info: Json | None = None
    ) -> None:
        user = str((framework_info or {}).get("user", ""))
        for stream, sees in list(self._streams.items()):
            if stream.closed:
                self.discard(stream)
            elif all(sees(action, user) for action in actions):
                stream.send(event)

"""Commands and labels of containers, as they are shown.

Whoever makes a container chooses them, and must not hide the others with them: what cannot be
judged is shown as hidden, and missed by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probe.agent.collector import Miss
from probe.agent.errors import StuckError
from probe.agent.redaction import REDACTED, command_line, shown_pairs
from probe.agent.text import LABEL_CHARS_MAX, TEXT_CHARS_MAX, clean
from probe.report.schema import Value

_ARGUMENTS_MAX = 256


class ContainerTexts:
    """Judges them, and knows of which containers it could not."""

    def __init__(self, *, redacts: bool) -> None:
        self._redacts = redacts
        self._hidden: dict[str, str] = {}
        """Each with what went wrong."""

    def shown(
        self, id_: str, arguments: Sequence[str], labels: Mapping[str, str]
    ) -> dict[str, Value]:
        """Columns of a container."""
        first = arguments[:_ARGUMENTS_MAX]
        try:
            command = command_line(first) if self._redacts else " ".join(first)
            pairs = shown_pairs(labels, redacts=self._redacts, chars_max=LABEL_CHARS_MAX)
        except (StuckError, ValueError, LookupError, RecursionError) as error:
            # The error's text may hold what the label does.
            self._hidden[id_] = type(error).__name__
            return {"command": REDACTED, "labels": [REDACTED]}
        self._hidden.pop(id_, None)
        return {"command": clean(command, TEXT_CHARS_MAX) or None, "labels": pairs}

    def forget(self, id_: str) -> None:
        """A container has gone."""
        self._hidden.pop(id_, None)

    def misses(self) -> list[Miss]:
        """What could not be judged."""
        if not self._hidden:
            return []
        kinds = ", ".join(sorted(set(self._hidden.values())))
        what = f"commands and labels of {len(self._hidden)} containers, which failed: {kinds}"
        return [Miss(what, "report it as a defect; they are shown as hidden")]

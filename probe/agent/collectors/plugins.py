"""Plugins of Weave Scope, protocol version 1, unchanged: HTTP over UNIX sockets in one folder.

Each socket is a plugin, its name the plugin's id. `GET /report` has half a second; what comes adds
columns to nodes that are here. A plugin that is slow, gone, huge or wrong is noted as failed and
asked again less and less often; what it told goes, and nothing else is touched. Plugins are asked
one after the other, so that no two large answers are held at once. What a plugin offers to do is
told and never asked for: `POST /control` takes a grant, and nobody here sends it.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

from probe.agent.collector import Capability, Miss, State
from probe.agent.errors import HttpError
from probe.agent.http import Connection, Place
from probe.agent.redaction import THING_CHARS_MAX, Redactor
from probe.agent.site import Site
from probe.agent.text import (
    CUT,
    LABEL_CHARS_MAX,
    NAME_CHARS_MAX,
    TEXT_CHARS_MAX,
    clean,
    clean_all,
)
from probe.report.errors import ScopeReportError
from probe.report.schema import Value
from probe.report.scope import document, plugin
from probe.report.scope.plugin import PluginReport

DEFAULT_FOLDER = "/var/run/scope/plugins"
_TIMEOUT_S = 0.5
_PLUGINS_MAX = 32
# A folder that holds more is not one of plugins.
_FILES_MAX = 1_000
_TEXTS_MAX = 64
# Judging takes 2 us a character, and ten times as much where a text was made to. Others have their
# turn when so many are judged; what is more than a look may judge of a plugin is left to the next.
_TURN_CHARS = 4_096
_LOOK_CHARS_MAX = 128 * 1_024
# As Scope has it: the id stands in names of columns.
_NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
# Looks that a plugin is left alone for after its first, second, … failure in a row.
_PAUSES = (0, 1, 3, 11)


_Where = tuple[str, str, str]
"""Topology, id and column."""


@dataclass
class _Plugin:
    """One plugin, and what it has told."""

    connection: Connection
    told: dict[_Where, int | None] = field(default_factory=dict[_Where, int | None])
    """Where, and the hash of a text that was judged: it need not be judged again."""
    failures: int = 0
    in_a_row: int = 0
    pause: int = 0
    problem: str | None = None


class PluginsCollector:
    """Asks plugins."""

    name: ClassVar[str] = "plugins"
    interval_s: ClassVar[float] = 5.0

    def __init__(self, site: Site, folder: str = DEFAULT_FOLDER) -> None:
        self._site = site
        self._folder = Path(folder)
        self._plugins: dict[str, _Plugin] = {}
        self._is_readable = True
        self._unusable: dict[str, str] = {}
        asked = {"probe_id": site.host, "api_version": plugin.API_VERSION}
        self._target = f"/report?{urlencode(asked)}"

    async def start(self) -> None:
        """Nothing to find out: plugins come and go."""
        self._site.ledger["plugin"].keep(set())

    async def collect(self) -> None:
        """Ask every plugin once."""
        sockets = self._find()
        for name in [name for name in self._plugins if name not in sockets]:
            await self._leave(name)
        for name, path in sockets.items():
            one = self._plugins.get(name)
            if one is None:
                place = Place("localhost", unix_socket=str(path))
                connection = Connection(
                    place, timeout_s=_TIMEOUT_S, answer_bytes_max=plugin.BYTES_MAX
                )
                one = self._plugins[name] = _Plugin(connection)
            if one.pause:
                one.pause -= 1
                continue
            await self._ask(name, one)

    def capability(self) -> Capability:
        """Failed plugins are missed."""
        failed = [f"plugin {n}: {p.problem}" for n, p in self._plugins.items() if p.problem]
        misses = tuple(Miss(one, "mend or remove it") for one in failed)
        misses += tuple(Miss(f"plugin at {path}", why) for path, why in self._unusable.items())
        if not self._is_readable:
            misses = (*misses, Miss(f"plugins in {self._folder}", "let this user list it"))
        mode = f"{len(self._plugins)} sockets in {self._folder}"
        return Capability(State.PARTIAL if misses else State.FULL, mode, misses)

    async def close(self) -> None:
        """Close connections."""
        for name in list(self._plugins):
            await self._leave(name)

    def _find(self) -> dict[str, Path]:
        """Sockets by the id of their plugin."""
        found: dict[str, Path] = {}
        self._is_readable = True
        self._unusable = {}
        for path in sorted(self._sockets()):
            if not _NAME.fullmatch(path.stem):
                self._refuse(path, "name it of letters, digits and dashes")
            elif path.stem in found:
                self._refuse(path, f"give it another name than {found[path.stem]}")
            elif len(found) >= _PLUGINS_MAX:
                self._refuse(path, f"run at most {_PLUGINS_MAX}")
            else:
                found[path.stem] = path
        return found

    def _refuse(self, path: Path, why: str) -> None:
        if len(self._unusable) < _PLUGINS_MAX:
            self._unusable[clean(str(path))] = why

    def _sockets(self) -> Iterator[Path]:
        def unreadable(error: OSError) -> None:
            # No folder is no plugins; a folder that went meanwhile is none either.
            self._is_readable &= not isinstance(error, PermissionError)

        seen = 0
        for folder, _, names in os.walk(self._folder, onerror=unreadable):
            for name in names:
                seen += 1
                if seen > _FILES_MAX:
                    return
                path = Path(folder, name)
                try:
                    is_socket = stat.S_ISSOCK(path.stat().st_mode)
                except OSError:  # It went between the list and now.
                    continue
                if is_socket:
                    yield path

    async def _ask(self, name: str, one: _Plugin) -> None:
        try:
            report = plugin.read(await one.connection.get(self._target), name)
        except (HttpError, ScopeReportError) as error:
            one.failures += 1
            one.pause = _PAUSES[min(one.in_a_row, len(_PAUSES) - 1)]
            one.in_a_row += 1
            one.problem = self._shown(str(error), Redactor())
            self._take_back(one, set())
            self._site.ledger["plugin"].put(
                self._id(name),
                host=self._site.host,
                state=State.FAILED.value,
                problem=one.problem,
                failures=one.failures,
            )
            return
        one.problem, one.in_a_row = None, 0
        await self._tell(name, one, report)

    async def _tell(self, name: str, one: _Plugin, report: PluginReport) -> None:
        told: set[_Where] = set()
        strangers = hidden = judged_chars = 0
        turn_at = _TURN_CHARS
        for topology, nodes in report.nodes.items():
            table = self._site.ledger[topology]
            for scope_id, values in nodes.items():
                id_ = self._ours(topology, scope_id)
                if id_ is None or id_ not in table:
                    strangers += len(values)
                    continue
                places = {(topology, id_, clean(key, 160)): value for key, value in values.items()}
                told |= places.keys()
                chars_max = min(THING_CHARS_MAX, _LOOK_CHARS_MAX - judged_chars)
                redactor = Redactor(chars_max)
                hidden += self._put(one, places, redactor)
                judged_chars += chars_max - redactor.left
                if judged_chars >= turn_at:
                    turn_at = judged_chars + _TURN_CHARS
                    await asyncio.sleep(0)
        self._take_back(one, told)
        spec, redactor = report.spec, Redactor()
        self._site.ledger["plugin"].put(
            self._id(name),
            host=self._site.host,
            label=self._shown(spec.label, redactor, NAME_CHARS_MAX),
            description=self._shown(spec.description, redactor),
            interfaces=clean_all([self._shown(one, redactor) for one in spec.interfaces[:16]]),
            columns=self._pairs(report.columns.items(), redactor),
            controls=self._pairs(report.controls.items(), redactor),
            state=State.FULL.value,
            problem=None,
            nodes=len({(topology, id_) for topology, id_, _ in told}),
            left_out=report.left_out + strangers + hidden,
            failures=one.failures,
        )

    def _put(self, one: _Plugin, values: Mapping[_Where, Value], redactor: Redactor) -> int:
        """Write values of a node; how many of them could not be judged any more, and are hidden."""
        hidden = 0
        for where, value in values.items():
            topology, id_, column = where
            table = self._site.ledger[topology]
            if not isinstance(value, str):
                shown, mark = value, None
            elif (
                one.told.get(where) == (mark := hash(value)) and table.get(id_, column) is not None
            ):
                continue
            elif not self._site.redact:
                shown = clean(value, LABEL_CHARS_MAX)
            else:
                shown = redactor.pair(column, value, LABEL_CHARS_MAX)
                hidden += shown == CUT
            # Noted before it is told: whoever is interrupted in between takes it back all the same.
            one.told[where] = None if shown == CUT else mark
            table.set(table.row(id_), column, shown)
        return hidden

    def _ours(self, topology: str, scope_id: str) -> str | None:
        """The id of a node here. A plugin knows the host by its own name for it."""
        if topology == "host":
            return self._site.host
        if topology == "process":
            _, pid, _ = [*scope_id.rsplit(";", 2), "", ""][:3]
            return self._site.process_id(document.whole(pid))
        return scope_id

    def _take_back(self, one: _Plugin, told: set[_Where]) -> None:
        """Let go of what is told no more."""
        for where in one.told.keys() - told:
            topology, id_, column = where
            table = self._site.ledger[topology]
            if id_ in table:
                table.set(table.row(id_), column, None)
            del one.told[where]

    async def _leave(self, name: str) -> None:
        one = self._plugins.pop(name)
        self._take_back(one, set())
        self._site.ledger["plugin"].remove(self._id(name))
        await one.connection.close()

    def _id(self, name: str) -> str:
        return f"{self._site.host};{name}"

    # A plugin may tell what it read in a command line or a configuration: its texts come in here.

    def _shown(self, text: str, redactor: Redactor, chars_max: int = TEXT_CHARS_MAX) -> str:
        return redactor.text(text, chars_max) if self._site.redact else clean(text, chars_max)

    def _pairs(self, told: Iterable[tuple[str, str]], redactor: Redactor) -> list[str]:
        first = list(told)[:_TEXTS_MAX]
        return clean_all([f"{name}={self._shown(text, redactor)}" for name, text in first])

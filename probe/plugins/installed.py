"""Which plugins there are, and how one is loaded.

A plugin is named by its id, where it is one of ours or a package has an entry point for it in the
group `probe.plugins`; or by its place, `module:Class` or `path/of/file.py:Class`. Agents load none
of them: a plugin is a process of its own.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import msgspec

from probe.plugins.errors import DefinitionError, OptionError, UnknownPluginError
from probe.plugins.hooks import Column, Plugin
from probe.report.scope.keys import KINDS
from probe.report.scope.plugin import COLUMNS_MAX

GROUP = "probe.plugins"
_OURS = {
    "cpu-throttling": "probe.plugins.examples.cpu_throttling:CpuThrottling",
    "mesos-sandbox": "probe.plugins.examples.mesos_sandbox:MesosSandbox",
}
_ID = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,63}")
# An agent takes these from nobody but itself.
_TAKEN = frozenset(key for kind in KINDS.values() for key in (*kind.latest, *kind.metrics))


def places() -> dict[str, str]:
    """Plugins that can be called by their id, each with its place; ours yield to a package's."""
    return _OURS | {one.name: one.value for one in entry_points(group=GROUP)}


def load(name: str) -> type[Plugin]:
    """The class of a plugin.

    Raises:
        UnknownPluginError: it cannot be loaded.
        DefinitionError: it is no plugin.
    """
    place = places().get(name, name)
    module_name, sign, class_name = place.rpartition(":")
    if not sign:
        known = ", ".join(sorted(places()))
        msg = f"expected {known}, module:Class or file.py:Class, saw {name!r}"
        raise UnknownPluginError(msg)
    try:
        module = _file(Path(module_name)) if module_name.endswith(".py") else None
        found = getattr(module or import_module(module_name), class_name)
    except (ImportError, AttributeError, OSError, SyntaxError) as error:
        msg = f"expected a plugin at {place}, saw {type(error).__name__}: {error}"
        raise UnknownPluginError(msg) from None
    if not inspect.isclass(found) or not issubclass(found, Plugin):
        msg = f"expected a subclass of hooks.Plugin at {place}, saw {found!r}"
        raise DefinitionError(msg)
    check(found)
    return found


def make(plugin: type[Plugin], given: Mapping[str, str]) -> Plugin:
    """A plugin with its settings, given as texts.

    Raises:
        OptionError: it has no such setting, or cannot use it.
    """
    try:
        settings = msgspec.convert(dict(given), plugin.settings_type, strict=False)
    except (msgspec.ValidationError, TypeError) as error:
        known = ", ".join(plugin.settings_type.__struct_fields__) or "none"
        msg = f"expected settings of {plugin.id} ({known}), saw: {error}"
        raise OptionError(msg) from None
    return plugin(settings)


def check(plugin: type[Plugin]) -> None:
    """Check what a plugin says of itself.

    Raises:
        DefinitionError: an agent would not take it.
    """
    name = plugin.__name__
    for attribute in ("id", "label", "description", "columns"):
        if not getattr(plugin, attribute, None):
            msg = f"expected {name} to have {attribute!r}, saw none: set it in the class"
            raise DefinitionError(msg)
    if inspect.isabstract(plugin):
        missing = ", ".join(sorted(plugin.__abstractmethods__))
        msg = f"expected {name} to have the hook {missing}, saw none: define it"
        raise DefinitionError(msg)
    if not _ID.fullmatch(plugin.id):
        msg = f"expected an id of letters, digits and dashes, saw {plugin.id!r} in {name}"
        raise DefinitionError(msg)
    if len(plugin.columns) > COLUMNS_MAX:
        msg = f"expected at most {COLUMNS_MAX} columns in {name}, saw {len(plugin.columns)}"
        raise DefinitionError(msg)
    seen: set[str] = set()
    for column in plugin.columns:
        _check_column(column, name, seen)
        seen.add(column.name)


def _check_column(column: Column, name: str, seen: set[str]) -> None:
    if not _COLUMN.fullmatch(column.name):
        msg = f"expected columns of small letters, digits and _ in {name}, saw {column.name!r}"
        raise DefinitionError(msg)
    if column.name in seen:
        msg = f"expected each column once in {name}, saw {column.name!r} twice"
        raise DefinitionError(msg)
    if column.name in _TAKEN:
        msg = f"expected another name than Scope's own probe uses, saw {column.name!r} in {name}"
        raise DefinitionError(msg)


def _file(path: Path) -> ModuleType:
    """Load a file as a module of its own name."""
    name = f"probe_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"no Python in {path}"
        raise ImportError(msg)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and annotations look a class's module up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

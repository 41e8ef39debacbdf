"""`probe plugin`: plugins of our own, listed, tried and kept at work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from probe.console import EPILOG, do, example, fail, json_option, until_stopped
from probe.plugins.errors import OptionError, PluginError

_FOLDER = Path("/var/run/scope/plugins")
_MODE_MAX = 0o777

if TYPE_CHECKING:
    from probe.plugins.hooks import Plugin

options_option = click.option(
    "--set", "options", multiple=True, metavar="NAME=VALUE", help="A setting of the plugin."
)


@click.group(epilog=EPILOG)
def plugin() -> None:
    """Plugins: they add columns to nodes that an agent sees.

    A plugin is named by its id (`probe plugin list`), as module:Class or as file.py:Class.
    """


@plugin.command(name="list", epilog=example("probe plugin list"))
@json_option
def list_(*, as_json: bool) -> None:
    """Say which plugins can be called by their id, and what they add."""
    from probe.plugins import installed  # noqa: PLC0415 - an agent loads no plugin

    found = [_about(name, place) for name, place in sorted(installed.places().items())]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        click.echo(f"{one['name']:<16} {one.get('problem') or one.get('description')}")
        for what in ("columns", "settings"):
            if told := one.get(what):
                click.echo(f"{'':<16} {what}: {told}")


def _about(name: str, place: str) -> dict[str, str]:
    from probe.plugins import installed  # noqa: PLC0415 - an agent loads no plugin

    try:
        found = installed.load(name)
    except PluginError as error:
        return {"name": name, "place": place, "problem": str(error)}
    return {
        "name": name,
        "place": place,
        "description": found.description,
        "columns": ", ".join(column.name for column in found.columns),
        "settings": ", ".join(found.settings_type.__struct_fields__),
    }


@plugin.command(epilog=example("probe plugin check mesos-sandbox --set work_dir=/var/lib/mesos"))
@click.argument("name")
@options_option
@click.option("--again", type=float, metavar="S", help="Look again after so long: rates take two.")
@json_option
def check(name: str, options: Sequence[str], again: float | None, *, as_json: bool) -> None:
    """Look once with a plugin, and print what it tells."""
    from probe.plugins import testing  # noqa: PLC0415 - an agent loads no plugin

    async def look() -> dict[str, dict[str, dict[str, str | float]]]:
        made = _made(name, options, as_json=as_json)
        return (await asyncio.to_thread(testing.look, made, again)).nodes

    nodes = do(look(), as_json=as_json)
    if as_json:
        click.echo(json.dumps(nodes, indent=2, sort_keys=True))
        return
    for topology, found in nodes.items():
        click.echo(click.style(f"{topology} ({len(found)})", bold=True))
        for id_, values in found.items():
            told = "  ".join(f"{column}={value}" for column, value in values.items())
            click.echo(f"  {id_}  {told}")
    if not nodes:
        click.echo("It looked, and had nothing to tell.")


@plugin.command(
    epilog=example("probe plugin run mesos-sandbox cpu-throttling --set work_dir=/var/lib/mesos")
)
@click.argument("names", nargs=-1, required=True)
@options_option
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=_FOLDER,
    show_default=True,
    help="Where the sockets are made: the agent's setting `plugins`.",
)
@click.option("--mode", default="600", show_default=True, help="Permissions of the sockets.")
def run(names: Sequence[str], options: Sequence[str], folder: Path, mode: str) -> None:
    """Keep plugins at work until told to stop; settings go to all of them that have such."""
    from probe.agent.log import Log  # noqa: PLC0415 - with what it needs
    from probe.plugins import service  # noqa: PLC0415 - an agent loads no plugin

    if not mode.isdecimal() or set(mode) & {"8", "9"} or int(mode, 8) > _MODE_MAX:
        msg = f"expected permissions such as 660, saw {mode!r}"
        raise click.BadParameter(msg)
    plugins = [_made(name, options, is_alone=len(names) == 1) for name in names]
    log = Log()
    do(until_stopped(service.serve(plugins, folder, log, mode=int(mode, 8))))
    log.event("plugins.ended")


def _made(
    name: str, options: Sequence[str], *, is_alone: bool = True, as_json: bool = False
) -> Plugin:
    """A plugin with those of the settings that are its own; ends the process if it cannot be."""
    from probe.plugins import installed  # noqa: PLC0415 - an agent loads no plugin

    given: dict[str, str] = {}
    try:
        made = installed.load(name)
        for option in options:
            key, sign, value = option.partition("=")
            if not sign:
                msg = f"expected NAME=VALUE, saw {option!r}"
                raise OptionError(msg)
            if is_alone or key in made.settings_type.__struct_fields__:
                given[key] = value
        return installed.make(made, given)
    except PluginError as error:
        fail(error, as_json=as_json)

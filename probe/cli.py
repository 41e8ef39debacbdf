"""`probe`: runs an agent, asks one, or looks once without one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from probe.agent import status as agent_status
from probe.agent.agent import Agent
from probe.agent.errors import SettingsError
from probe.agent.log import Log
from probe.agent.settings import Settings
from probe.console import (
    EPILOG,
    EXIT_UNWELL,
    do,
    example,
    fail,
    json_option,
    load,
    settings_option,
    until_stopped,
)
from probe.plugin_verbs import plugin
from probe.report.topologies import TOPOLOGIES

if TYPE_CHECKING:
    from probe.agent.doctor import Diagnosis

_NODES_SHOWN = 20
# Rates take two looks.
_AGAIN_S = 1.0


@click.group(epilog=EPILOG)
@click.version_option(package_name="mesos-platform")
def main() -> None:
    """See what runs on a node, and what talks to what."""


@main.group(epilog=EPILOG)
def agent() -> None:
    """The agent of this node."""


main.add_command(plugin)


@agent.command(
    epilog=example("probe agent run --settings /etc/probe/settings.yaml --app https://app:4040")
)
@settings_option
@click.option("--app", "apps", multiple=True, help="Publish there too: http://host:port.")
@click.option("--read-only", is_flag=True, help="Refuse every act, whatever is granted.")
def run(settings_file: Path | None, apps: Sequence[str], *, read_only: bool) -> None:
    """Collect and publish until told to stop."""
    settings = load(settings_file)
    settings = msgspec.structs.replace(
        settings,
        apps=(*settings.apps, *apps),
        read_only=settings.read_only or read_only,
    )
    try:
        do(_serve(settings))
    except SettingsError as error:
        fail(error)


async def _serve(settings: Settings) -> None:
    log = Log()
    await until_stopped(Agent(settings, log).run())
    log.event("agent.ended")


@agent.command(
    epilog=example(
        "probe agent once --topology process",
        "probe agent once --scope | curl --json @- http://scope:4040/api/report",
    )
)
@settings_option
@json_option
@click.option("--topology", "chosen", multiple=True, help="Only this kind of node.")
@click.option("--scope", is_flag=True, help="Print all of it as Weave Scope does (JSON).")
def once(settings_file: Path | None, *, as_json: bool, chosen: Sequence[str], scope: bool) -> None:
    """Look once and print the report."""
    unknown = sorted(set(chosen) - TOPOLOGIES.keys())
    if unknown:
        msg = f"expected topologies of {', '.join(TOPOLOGIES)}; saw {', '.join(unknown)}"
        raise click.BadParameter(msg, param_hint="--topology")
    if scope and chosen:
        msg = "a report for Scope is a whole: expected no --topology beside --scope"
        raise click.UsageError(msg)
    settings = load(settings_file, as_json=as_json)
    nodes = do(_look(settings), as_json=as_json)
    if scope:
        from probe.report.scope import exporter  # noqa: PLC0415 - asked for seldom

        told = exporter.write(nodes, probe=settings.host_name, time_ms=round(time.time() * 1000))
        click.echo(told.decode())
        return
    shown = {name: found for name, found in nodes.items() if not chosen or name in chosen}
    if as_json:
        click.echo(json.dumps(shown, indent=2, sort_keys=True))
    else:
        _print(shown, everything=bool(chosen))


async def _look(settings: Settings) -> dict[str, dict[str, Mapping[str, Any]]]:
    looking = Agent(settings, Log())
    async with looking.once(_AGAIN_S):
        return {name: dict(table) for name, table in looking.ledger.tables.items() if len(table)}


def _print(nodes: Mapping[str, Mapping[str, Mapping[str, Any]]], *, everything: bool) -> None:
    for topology, found in nodes.items():
        click.echo(click.style(f"{topology} ({len(found)})", bold=True))
        for number, (id_, values) in enumerate(found.items()):
            if number == _NODES_SHOWN and not everything:
                click.echo(f"  … and {len(found) - number} more: --topology {topology}")
                break
            told = "  ".join(f"{name}={_short(value)}" for name, value in values.items())
            click.echo(f"  {id_}  {told}")


def _short(value: object, chars_max: int = 60) -> str:
    text = str(value)
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


@agent.command(
    epilog=example("probe agent status --json | jq '.collectors[] | {name, state, misses}'")
)
@settings_option
@json_option
@click.option("--alive", is_flag=True, help="Done if it answers, whatever its collectors do.")
def status(settings_file: Path | None, *, as_json: bool, alive: bool) -> None:
    """Ask the running agent what it does and costs."""
    settings = load(settings_file, as_json=as_json)
    found = do(agent_status.ask(settings.status_socket), as_json=as_json)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        _print_status(found)
    if not found.is_healthy and not alive:
        raise SystemExit(EXIT_UNWELL)


def _print_status(found: agent_status.Status) -> None:
    click.echo(
        f"{found.host}: up {found.uptime_s:.0f} s, {found.cpu_percent:.1f} % of a processor (of "
        f"{found.cpu_percent_max:g}), {found.rss_mb:.0f} MB (of {found.rss_mb_max:g})"
    )
    nodes = ", ".join(f"{count} {name}" for name, count in found.nodes.items())
    click.echo(f"frame {found.frame}: {nodes}")
    may = "nothing: read-only" if found.read_only else ", ".join(found.granted) or "nothing"
    refused = f" ({found.refused} acts refused)" if found.refused else ""
    click.echo(f"may do: {may}{refused}")
    for meaning in found.degraded:
        click.echo(f"degraded: {meaning}")
    for one in found.collectors:
        click.echo(
            f"  {one.name:<12} {one.state:<8} {one.cpu_ms_per_s:6.1f} ms/s  each "
            f"{one.interval_s:g} s  {one.mode}"
        )
        for miss in one.misses:
            click.echo(f"    missed: {miss}")
        if one.problem:
            click.echo(f"    {one.problem} ({one.failures} failures, {one.restarts} restarts)")
    for app in found.apps:
        state = app.problem or f"has frame {app.acknowledged}"
        click.echo(f"  app {app.app}: {state}; {app.frames} frames, {app.bytes / 1e3:.0f} kB")


@agent.command(epilog=example("probe agent doctor --settings /etc/probe/settings.yaml"))
@settings_option
@json_option
def doctor(settings_file: Path | None, *, as_json: bool) -> None:
    """Say what can be seen on this machine, and what would add the rest."""
    from probe.agent.doctor import diagnose  # noqa: PLC0415 - asked for seldom

    settings = load(settings_file, as_json=as_json)
    found = do(diagnose(settings), as_json=as_json)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        _print_diagnosis(found)
    if any(one.state != "full" for one in found.findings):
        raise SystemExit(EXIT_UNWELL)


def _print_diagnosis(found: Diagnosis) -> None:
    for one in found.findings:
        click.echo(f"{one.state:<8} {one.collector:<12} {one.nodes} nodes, by {one.mode}")
        for miss in one.misses:
            click.echo(f"         missed: {miss}")
        if one.problem:
            click.echo(f"         {one.problem}")
    if found.host_processes is False:
        click.echo("Processes are those of a container: run in the host's pid namespace.")
    for capability in found.capabilities:
        held = "held" if capability.held else "missing"
        click.echo(f"{held:<8} {capability.name:<20} {capability.adds}")


if __name__ == "__main__":
    main()

"""Verbs of `zk-sync` that need no engine: they look at both ensembles, or at one tree."""

from __future__ import annotations

import base64
import difflib
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click

from sync_engine import offline, preflight
from sync_engine.console import (
    EXIT_DIFFERENT,
    EXIT_FAILED,
    do,
    json_option,
    load_rules,
    progress,
    rules_option,
    show,
    side_choice,
)
from sync_engine.direction import Side
from sync_engine.engine_verbs import describe_copy
from sync_engine.report import Copy, DiffReport, PathDifference
from sync_engine.restore import Existing, restore
from sync_engine.tree import export
from sync_engine.verb_report import CheckReport, FileReport, ImportReport, PlanReport

limit_option = click.option(
    "--limit",
    default=1000,
    show_default=True,
    type=click.IntRange(min=0),
    help="Paths that are listed; all are counted.",
)
side_option = click.option("--side", required=True, type=side_choice, help="The ensemble.")
file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def _check_paths(
    context: click.Context, parameter: click.Parameter, paths: tuple[str, ...]
) -> tuple[str, ...]:
    del context, parameter
    for path in paths:
        names = path.split("/")[1:]
        if not path.startswith("/") or (path != "/" and not all(names)):
            msg = f"expected a znode's path, as /shop/orders, saw {path!r}."
            raise click.BadParameter(msg)
    return paths


@click.command()
@rules_option
@json_option
@click.option("--offline", "is_offline", is_flag=True, help="The file alone, without connecting.")
def check(*, rules_file: Path, as_json: bool, is_offline: bool) -> None:
    """Check the rules file, what it names and both ensembles, and change nothing; exit 1 if a run
    would fail or wait."""
    rules = load_rules(rules_file, as_json=as_json)

    def text(found: CheckReport) -> None:
        click.echo(f"{rules_file}: {found.subtrees} subtrees, {found.projections} projections")
        show_check(found)

    if is_offline:
        report = CheckReport(subtrees=len(rules.subtrees), projections=len(rules.projections))
    else:
        report = do(lambda: preflight.check(rules), as_json=as_json, waiting="asking both sides")
    show(report, text, as_json=as_json)
    if report.problems:
        sys.exit(EXIT_FAILED)


@click.command()
@rules_option
@json_option
@limit_option
def plan(*, rules_file: Path, as_json: bool, limit: int) -> None:
    """Show what a run would change, and change nothing; exit 4 if it would write."""
    rules = load_rules(rules_file, as_json=as_json)
    with progress("comparing both sides") as shown:
        found = do(lambda: offline.plan(rules, limit=limit, progress=shown), as_json=as_json)
    show(found, show_plan, as_json=as_json)
    if not found.is_empty:
        sys.exit(EXIT_DIFFERENT)


@click.command()
@rules_option
@json_option
@limit_option
@click.argument("subtrees", nargs=-1)
def diff(*, rules_file: Path, as_json: bool, limit: int, subtrees: tuple[str, ...]) -> None:
    """Show what differs in SUBTREES (default: all), with both versions; exit 4 if anything does."""
    rules = load_rules(rules_file, as_json=as_json)
    with progress("comparing both sides") as shown:
        found = do(
            lambda: offline.diff(rules, subtrees, limit=limit, progress=shown), as_json=as_json
        )
    show(found, show_diff, as_json=as_json)
    if found.total:
        sys.exit(EXIT_DIFFERENT)


@click.command("export")
@rules_option
@json_option
@side_option
@click.option(
    "--path", "paths", multiple=True, callback=_check_paths, help="Root of what is exported."
)
@file_argument
def export_(
    *, rules_file: Path, as_json: bool, side: str, paths: tuple[str, ...], file: Path
) -> None:
    """Write the subtrees of the rules (or each --path) with data and ACLs to FILE (0600).

    What the rules leave out is left out; a --path is written whole.
    """
    rules = load_rules(rules_file, as_json=as_json)
    roots = paths or tuple(rule.path(Side(side)) for rule in rules.subtrees)
    is_wanted = None if paths else partial(rules.covers, Side(side))

    async def work() -> FileReport:
        address = preflight.address(rules, Side(side))
        found = await export(address, roots, file, is_wanted=is_wanted, advance=shown.advance)
        return FileReport(znodes=found.znodes, bytes=found.bytes, sha256=found.sha256)

    def text(report: FileReport) -> None:
        click.echo(f"{file}: {report.znodes} znodes, {report.bytes} bytes, {report.sha256}")

    with progress(f"exporting side {side}") as shown:
        found = do(work, as_json=as_json)
    show(found, text, as_json=as_json)


@click.command("import")
@rules_option
@json_option
@side_option
@click.option(
    "--existing",
    default=Existing.REFUSE.value,
    show_default=True,
    type=click.Choice([each.value for each in Existing]),
    help="What happens to znodes that are there with another content.",
)
@file_argument
def import_(*, rules_file: Path, as_json: bool, side: str, existing: str, file: Path) -> None:
    """Write the znodes of FILE to a side, as a client would.

    A damaged file is refused before anything is written. To an engine that runs this is a client:
    write to the owner's side.
    """
    rules = load_rules(rules_file, as_json=as_json)

    async def work() -> ImportReport:
        return await restore(
            preflight.address(rules, Side(side)), file, existing=Existing(existing), progress=shown
        )

    def text(report: ImportReport) -> None:
        click.echo(
            f"{report.znodes} znodes: {report.created} created, {report.replaced} replaced, "
            f"{report.unchanged} unchanged, {report.left} left as they were"
        )

    with progress(f"importing to side {side}") as shown:
        found = do(work, as_json=as_json)
    show(found, text, as_json=as_json)


VERBS: tuple[click.Command, ...] = (check, plan, diff, export_, import_)


def show_check(found: CheckReport) -> None:
    """The servers of both sides, and what is to be said of them."""
    for side, one in found.sides.items():
        for server in one.servers:
            mode, version = server.mode or "does not serve", server.version or "unknown version"
            click.echo(f"  side {side.value}: {server.address} {mode}, {version}")
    _warn(found.warnings, "  ")
    for problem in found.problems:
        click.echo(f"  PROBLEM: {problem}")


def show_plan(found: PlanReport) -> None:
    """Counts and paths of each subtree."""
    _warn(found.warnings)
    for name, one in found.subtrees.items():
        counts = ", ".join(f"{count} {action}" for action, count in sorted(one.counts.items()))
        base = "" if one.has_base else " (never compared before: nothing is deleted)"
        click.echo(f"{name}: {counts or 'nothing to do'}{base}")
        if one.stalls is not None:
            click.echo(f"  would stop: {one.stalls}")
        for change in one.changes:
            why = f" ({change.conflict or change.why})" if change.conflict or change.why else ""
            click.echo(f"  {change.action} {change.side.value}:{change.path}{why}")


def show_diff(found: DiffReport) -> None:
    """Both versions of each path."""
    _warn(found.warnings)
    for one in found.differences:
        click.echo(f"{one.kind} {one.path_a}" + _other_path(one))
        for line in _lines(one):
            click.echo(f"  {line}")
    listed = len(found.differences)
    cut = "" if listed == found.total else f", {listed} of them listed"
    click.echo(f"{found.total} of {sum(found.znodes.values())} paths differ{cut}")


def _warn(warnings: Iterable[str], indent: str = "") -> None:
    for warning in warnings:
        click.echo(f"{indent}warning: {warning}")


def _other_path(one: PathDifference) -> str:
    return "" if one.path_a == one.path_b else f" ({one.path_b} on side b)"


def _lines(one: PathDifference) -> Iterable[str]:
    a, b = _text(one.a), _text(one.b)
    if a is None or b is None or one.a is None or one.b is None or one.a.acl != one.b.acl:
        yield f"a: {describe_copy(one.a)}"
        yield f"b: {describe_copy(one.b)}"
        return
    yield from difflib.unified_diff(a, b, "a", "b", lineterm="", n=1)


def _text(copy: Copy | None) -> list[str] | None:
    """The lines of data that is text of more than one line; None for any other."""
    if copy is None or copy.data is None:
        return None
    try:
        text = base64.b64decode(copy.data).decode()
    except UnicodeDecodeError:
        return None
    return text.splitlines() if "\n" in text else None

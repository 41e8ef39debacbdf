"""Verbs of `zk-sync` that ask a running engine."""

from __future__ import annotations

import base64
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sync_engine.client import EngineClient
from sync_engine.console import (
    EXIT_DIFFERENT,
    ask,
    do,
    json_option,
    load,
    rules_option,
    show,
    side_choice,
    timeout_option,
)
from sync_engine.direction import Side
from sync_engine.report import (
    CONFLICTS_MAX,
    AuditReport,
    Copy,
    EngineStatus,
    FlipReport,
    HeldConflict,
    HeldReport,
    PadReport,
    ProjectionKind,
    ProjectionStatus,
)
from sync_engine.tree import replacing
from sync_engine.verb_report import ConflictExport

_SHOWN_BYTES_MAX = 400
_WATCH_S = 1.0


@click.command()
@rules_option
@json_option
@click.option("--watch", is_flag=True, help="Every second, in place where it is a terminal.")
def status(*, rules_file: Path, as_json: bool, watch: bool) -> None:
    """Show how the engine is."""

    def look() -> EngineStatus:
        return ask(rules_file, lambda client: client.status(), as_json=as_json)

    try:
        if watch and not as_json and Console().is_terminal:
            with Live(status_view(look()), auto_refresh=False) as live:
                while True:
                    time.sleep(_WATCH_S)
                    live.update(status_view(look()), refresh=True)
        while True:
            show(look(), lambda found: Console().print(status_view(found)), as_json=as_json)
            if not watch:
                return
            time.sleep(_WATCH_S)
    except KeyboardInterrupt:
        # How whoever watches ends it.
        if not watch:
            raise


@click.command()
@rules_option
@json_option
@timeout_option
def audit(*, rules_file: Path, as_json: bool, timeout_s: float) -> None:
    """Compare both sides in full; exit 4 if they differ."""
    found = ask(
        rules_file,
        lambda client: client.audit(timeout_s=timeout_s),
        as_json=as_json,
        waiting="comparing both sides",
        total=lambda status: len(Side) * sum(one.znodes for one in status.subtrees.values()),
    )
    show(found, show_audit, as_json=as_json)
    if not found.equal:
        sys.exit(EXIT_DIFFERENT)


@click.command()
@rules_option
@json_option
@timeout_option
@click.argument("subtree")
@click.argument("to", type=side_choice, required=False)
def flip(
    *, rules_file: Path, as_json: bool, timeout_s: float, subtree: str, to: str | None
) -> None:
    """Make side TO the owner of SUBTREE; its writers must stand still.

    Without TO it is the side that does not own it now. Calling again with TO finishes what was
    begun and changes nothing that is done; without TO it turns it back.
    """

    async def work(client: EngineClient) -> FlipReport:
        side = None if to is None else Side(to)
        if side is None:
            known = (await client.status()).subtrees.get(subtree)
            # The engine says which subtrees there are.
            side = Side.B if known is None else known.owner.other
        return await client.flip(subtree, side, timeout_s=timeout_s)

    found = ask(
        rules_file,
        work,
        as_json=as_json,
        waiting=f"changing the owner of {subtree}",
    )
    show(found, show_flip, as_json=as_json)


@click.command()
@rules_option
@json_option
@click.argument("name")
@click.argument("kind", type=click.Choice([kind.value for kind in ProjectionKind]))
def project(*, rules_file: Path, as_json: bool, name: str, kind: str) -> None:
    """Show the leader of projection NAME as KIND."""

    def text(report: ProjectionStatus) -> None:
        click.echo(f"{name}: {report.kind} {report.leader or ''}")

    found = ask(
        rules_file, lambda client: client.project(name, ProjectionKind(kind)), as_json=as_json
    )
    show(found, text, as_json=as_json)


@click.command()
@rules_option
@json_option
@click.option("--seen", help="Only if this is what waits; `status` names it so.")
@click.argument("subtree", required=False)
def confirm(*, rules_file: Path, as_json: bool, seen: str | None, subtree: str | None) -> None:
    """Let happen one thing that SUBTREE waits for, as many deletes; without SUBTREE, what the start
    of the engine waits for. `zk-sync status` says what that is; without --seen it is the first."""

    def text(report: EngineStatus) -> None:
        click.echo(f"confirmed; the engine is {report.state.value}")

    found = ask(rules_file, lambda client: client.confirm(subtree, seen=seen), as_json=as_json)
    show(found, text, as_json=as_json)


@click.command()
@rules_option
@json_option
@timeout_option
@click.argument("subtree")
def pad(*, rules_file: Path, as_json: bool, timeout_s: float, subtree: str) -> None:
    """Move the sequence counters of SUBTREE's other side on to where its owner's stand."""

    def text(report: PadReport) -> None:
        click.echo(f"{report.subtree}: side {report.side.value} moved on by {report.padded}")

    found = ask(
        rules_file,
        lambda client: client.pad(subtree, timeout_s=timeout_s),
        as_json=as_json,
        waiting=f"padding {subtree}",
    )
    show(found, text, as_json=as_json)


@click.group()
def conflicts() -> None:
    """Conflicts that wait for an operator, and those that are recorded."""


@conflicts.command("list")
@rules_option
@json_option
def list_(*, rules_file: Path, as_json: bool) -> None:
    """List the conflicts that wait."""
    found = ask(rules_file, lambda client: client.held(), as_json=as_json)
    show(found, show_held, as_json=as_json)


@conflicts.command("show")
@rules_option
@json_option
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
def show_(*, rules_file: Path, as_json: bool, id_: int) -> None:
    """Show both versions of conflict ID as they are now."""
    found = ask(rules_file, lambda client: client.show_held(id_), as_json=as_json)
    show(found, show_conflict, as_json=as_json)


@conflicts.command()
@rules_option
@json_option
@timeout_option
@click.option("--seen", help="Only if the versions are still those that `show` named so.")
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@click.argument("winner", type=side_choice)
def resolve(  # noqa: PLR0913 - options of one command
    *, rules_file: Path, as_json: bool, timeout_s: float, seen: str | None, id_: int, winner: str
) -> None:
    """Copy side WINNER's version of conflict ID to the other side."""
    found = ask(
        rules_file,
        lambda client: client.resolve(id_, Side(winner), seen=seen, timeout_s=timeout_s),
        as_json=as_json,
    )
    show(found, show_held, as_json=as_json)


@conflicts.command("export")
@rules_option
@json_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export_(*, rules_file: Path, as_json: bool, file: Path) -> None:
    """Write all recorded conflicts, both versions included, to FILE as JSON lines (0600)."""
    rules, _ = load(rules_file, as_json=as_json)

    async def work() -> ConflictExport:
        async with EngineClient(f"http://{rules.listen}", rules.token_path) as client:
            # 0600: the versions may hold anything. An older file stays until this one is whole.
            with replacing(file) as out:
                count = after = 0
                while True:
                    page = await client.conflicts(after=after, limit=CONFLICTS_MAX)
                    if not page.conflicts:
                        return ConflictExport(conflicts=count, total=page.total)
                    for record in page.conflicts:
                        out.write(record.model_dump_json().encode() + b"\n")
                    count += len(page.conflicts)
                    after = page.conflicts[-1].id

    def text(report: ConflictExport) -> None:
        click.echo(f"{file}: {report.conflicts} conflicts")

    found = do(work, as_json=as_json, waiting="exporting conflicts")
    show(found, text, as_json=as_json)


VERBS: tuple[click.Command, ...] = (status, audit, flip, project, confirm, pad, conflicts)


def status_view(found: EngineStatus) -> Group:
    """A table for people."""
    head = f"{found.state.value}, epoch {found.epoch}, {found.conflicts} conflicts"
    lines = [Text(f"{head}, {found.held} wait", style="bold")]
    lines += [Text(f"  {reason}") for reason in found.reasons]
    asked = [("", found.waiting)] if found.waiting is not None else []
    asked += [(f" {name}", one) for name, sub in found.subtrees.items() for one in sub.waiting]
    lines += [
        Text(f"  to let it happen: zk-sync confirm --seen {one.seen}{name} ({one.reason[:40]}...)")
        for name, one in asked
    ]
    ways = Table("direction", "backlog", "applied", "per s", "lag p50 ms", "p99 ms", "max ms")
    for name, way in found.directions.items():
        lag = [way.lag.p50_ms, way.lag.p99_ms, way.lag.max_ms]
        shown = ["-" if value is None else f"{value:.1f}" for value in lag]
        ways.add_row(
            name.value, str(way.backlog), str(way.applied), f"{way.applied_per_s:.1f}", *shown
        )
    subtrees = Table("subtree", "owner", "znodes", "fenced")
    for name, subtree in found.subtrees.items():
        fenced = "a" * subtree.fenced_a + "b" * subtree.fenced_b
        owner = f"{subtree.owner.value}, both ways" if subtree.both_ways else subtree.owner.value
        subtrees.add_row(name, owner, str(subtree.znodes), fenced or "-")
    return Group(*lines, ways, subtrees)


def show_audit(found: AuditReport) -> None:
    """One line a subtree, and the differences."""
    for name, one in found.subtrees.items():
        word = "equal" if one.equal else "DIFFERENT"
        click.echo(f"{name}: {word}, {one.znodes} znodes, {one.digest_a[:16]}")
        for difference in one.differences:
            click.echo(f"  {difference.kind} {difference.path}")


def show_flip(found: FlipReport) -> None:
    """One line."""
    word = "was already owned" if found.already_done else "is now owned"
    click.echo(f"{found.subtree} {word} by side {found.to_side.value}, epoch {found.epoch}")


def show_held(found: HeldReport) -> None:
    """One line a conflict."""
    if not found.conflicts:
        click.echo("no conflict waits")
    for one in found.conflicts:
        click.echo(f"{one.id}\t{one.subtree}\t{_time(one.at)}\t{one.reason}\t{one.path_a}")


def show_conflict(found: HeldConflict) -> None:
    """Both versions."""
    click.echo(f"{found.id}: {found.reason} in {found.subtree} since {_time(found.at)}")
    click.echo(f"waits because of: {found.why}")
    click.echo(f"seen as {found.seen}")
    for side, path, copy in (("a", found.path_a, found.a), ("b", found.path_b, found.b)):
        click.echo(f"side {side}: {path}")
        click.echo(f"  {describe_copy(copy)}")


def describe_copy(copy: Copy | None) -> str:
    """A version in one line; long data is cut."""
    if copy is None:
        return "is not there"
    if copy.data is None:
        data = "null"
    else:
        raw = base64.b64decode(copy.data)
        cut = "..." if len(raw) > _SHOWN_BYTES_MAX else ""
        data = f"{len(raw)} bytes {raw[:_SHOWN_BYTES_MAX]!r}{cut}"
    acl = " ".join(f"{scheme}:{id_}:{perms}" for perms, scheme, id_ in copy.acl)
    return f"{data}, version {copy.version}, {_time(copy.mtime / 1000)}, ACL {acl}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")

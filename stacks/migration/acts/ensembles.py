"""Acts on ensembles and on the sync engine: epoch, copy, soak, flips, and the last look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.lag import Window, slowest_ms
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until
from stacks.migration.world import World
from sync_engine.client import (
    AuditReport,
    EngineBusyError,
    EngineClient,
    EngineStatus,
    Side,
    facts,
    session_ids,
)

_FRAMEWORKS = "frameworks-"
_LOOK_S = 1.0


async def choose_target_epoch(world: World, situation: Situation, tell: Tell) -> Findings:
    """Let a fresh ensemble start above the source's epoch; one that is there keeps what it has."""
    source = await facts(world.ensemble(world.source))
    if world.has_ensemble(world.target):
        target = await facts(world.ensemble(world.target))
        numbers = {"source_epoch": source.epoch, "target_epoch": target.epoch}
        ok = target.zxid > source.zxid
        said = f"epoch {target.epoch} of {world.target}, {source.epoch} of {world.source}"
        return Findings((Evidence("target epoch", ok=ok, said=said, numbers=numbers),), numbers)
    epoch = source.epoch + world.bounds.epoch_margin
    tell(f"epoch {epoch} for {world.target}, {world.source} has {source.epoch}")
    await asyncio.to_thread(
        world.runner.set_migration, situation.standing, epochs={world.target: epoch}
    )
    return Findings(numbers={"source_epoch": source.epoch, "target_epoch": epoch})


async def first_copy(world: World, _: Situation, tell: Tell) -> Findings:
    """Wait until the engine follows live."""
    started = time.monotonic()
    status = await await_live(world, tell, bound_s=world.bounds.copy_s)
    counts = {name: subtree.znodes for name, subtree in status.subtrees.items()}
    seconds = round(time.monotonic() - started, 3)
    return Findings(numbers={"znodes": counts, "seconds": seconds})


async def await_live(world: World, tell: Tell, *, bound_s: float) -> EngineStatus:
    """Wait until the engine follows both sides with nothing left over."""
    engine = await world.engine()

    async def look() -> EngineStatus:
        status = await engine.status()
        if status.last_audit is not None and not status.last_audit.equal:
            # It stands until the next one, and nobody audits by himself.
            await engine.audit(timeout_s=world.bounds.audit_s)
            status = await engine.status()
        if not status.is_sound:
            copied = sum(subtree.znodes for subtree in status.subtrees.values())
            reasons = f" ({'; '.join(status.reasons)})" if status.reasons else ""
            msg = f"engine {status.state}{reasons}, {copied} znodes copied"
            raise NotYetError(msg)
        return status

    return await wait_until("the sync engine to be live", look, bound_s=bound_s, tell=tell)


async def audit(world: World, _: Situation, tell: Tell) -> Findings:
    """Compare both sides in full, while clients go on writing."""
    report = await equal_audit(world, tell)
    return Findings((audit_evidence(report),), {"audit": report.model_dump(mode="json")})


async def equal_audit(world: World, tell: Tell) -> AuditReport:
    """Audit until both sides are equal; a server that just died makes one attempt void."""
    engine = await world.engine()

    async def look() -> AuditReport:
        report = await engine.audit(timeout_s=world.bounds.audit_s)
        evidence = audit_evidence(report)
        if not evidence.ok:
            raise NotYetError(evidence.said)
        return report

    what = "both sides to be equal in an audit"
    return await wait_until(what, look, bound_s=world.bounds.audit_s, tell=tell)


def audit_evidence(report: AuditReport) -> Evidence:
    """An audit for people."""
    znodes = sum(subtree.znodes for subtree in report.subtrees.values())
    different = [
        f"{difference.path} ({difference.kind})"
        for subtree in report.subtrees.values()
        for difference in subtree.differences
    ]
    reread = sum(subtree.reread for subtree in report.subtrees.values())
    said = f"{znodes} znodes equal, {reread} read again"
    if not report.equal:
        said = f"{len(different)} paths differ: {', '.join(different[:5])}"
    if not report.subtrees:
        said = "nothing was compared: no subtree in the engine's rules"
    numbers = {"znodes": znodes, "differences": len(different), "seconds": report.seconds}
    ok = report.equal and bool(report.subtrees)
    return Evidence("audit", ok=ok, said=said, numbers=numbers, told_by="engine /audit")


async def soak(world: World, _: Situation, tell: Tell) -> Findings:
    """Wait for a stretch of time in which the engine keeps up."""
    bounds = world.bounds
    engine = await world.engine()
    deadline = time.monotonic() + bounds.soak_window_s
    best = float("inf")
    while True:
        window = Window(await engine.status())
        ended = time.monotonic() + bounds.soak_s
        while time.monotonic() < ended:
            await asyncio.sleep(min(_LOOK_S, bounds.soak_s))
            tell(f"lag p99 {slowest_ms(window.upto(await engine.status())):.0f} ms")
        status = await engine.status()
        p99_ms = slowest_ms(window.upto(status))
        best = min(best, p99_ms)
        if p99_ms <= bounds.lag_p99_ms and status.is_sound:
            said = f"lag p99 {p99_ms:g} ms over {bounds.soak_s:g} s"
            numbers = {"lag_p99_ms": p99_ms, "bound_ms": bounds.lag_p99_ms}
            return Findings(
                (Evidence("soak", ok=True, said=said, numbers=numbers, told_by="engine /status"),),
                {"lag": _lag_numbers(status)},
            )
        if time.monotonic() > deadline:
            msg = (
                f"expected a lag p99 of at most {bounds.lag_p99_ms:g} ms over {bounds.soak_s:g} s, "
                f"saw {best:g} ms at best ({status.state}). Give the machine rest, or the engine a "
                "faster disk, then run `migrate resume`"
            )
            raise ActFailedError(msg)


def _lag_numbers(status: EngineStatus) -> dict[str, object]:
    return {
        str(way): direction.lag.model_dump(mode="json")
        for way, direction in status.directions.items()
    }


async def flip_frameworks(world: World, _: Situation, tell: Tell) -> Findings:
    """Make the target the owner of the frameworks' subtrees."""
    return await _flip(world, await _framework_subtrees(world), Side.B, tell)


async def flip_frameworks_back(world: World, _: Situation, tell: Tell) -> Findings:
    """Make the source the owner of the frameworks' subtrees."""
    return await _flip(world, await _framework_subtrees(world), Side.A, tell)


async def flip_group(world: World, situation: Situation, tell: Tell) -> Findings:
    """Make the target the owner of a client group's subtree."""
    return await _flip(world, [f"clients-{situation.transition.group}"], Side.B, tell)


async def flip_group_back(world: World, situation: Situation, tell: Tell) -> Findings:
    """Make the source the owner of a client group's subtree."""
    return await _flip(world, [f"clients-{situation.transition.group}"], Side.A, tell)


async def _framework_subtrees(world: World) -> list[str]:
    status = await (await world.engine()).status()
    found = sorted(name for name in status.subtrees if name.startswith(_FRAMEWORKS))
    if not found:
        msg = (
            "expected the sync engine to copy subtrees of frameworks, saw none in its rules: they "
            "are not this stack's. Run `pulumi up`, then `migrate resume`"
        )
        raise ActFailedError(msg)
    return found


async def _flip(world: World, subtrees: Sequence[str], to: Side, tell: Tell) -> Findings:
    engine = await world.engine()
    bound_s = world.bounds.flip_s
    evidence: list[Evidence] = []
    for name in subtrees:

        async def look(subtree: str = name) -> Evidence:
            try:
                report = await engine.flip(subtree, to, timeout_s=bound_s / 2)
            except EngineBusyError as error:
                raise NotYetError(str(error)) from None
            told = report.model_dump(mode="json")
            done = "was flipped already" if report.already_done else f"{report.seconds:.2f} s"
            said = f"{subtree}: {report.znodes} znodes, digest {report.digest[:12]}, {done}"
            return Evidence("flip", ok=True, said=said, numbers=told, told_by="engine /flip")

        what = f"subtree {name} to be owned by side {to}"
        evidence.append(await wait_until(what, look, bound_s=bound_s, tell=tell))
        tell(evidence[-1].said)
    return Findings(tuple(evidence))


async def await_quiet(world: World, _: Situation, tell: Tell) -> Findings:
    """Wait until nobody but the engine has had a session on the source for some time."""
    seen = await quiet(world, tell)
    return Findings((seen,))


async def quiet(world: World, tell: Tell) -> Evidence:
    """The evidence that nobody but the engine uses the source's ensemble."""
    engine = await world.engine()
    address = world.ensemble(world.source)
    quiet_s = world.bounds.quiet_s
    since: float | None = None
    foreign: frozenset[int] = frozenset()

    async def look() -> Evidence:
        nonlocal since, foreign
        own = await _own_sessions(engine)
        found = await session_ids(address)
        # The engine may have opened a session between the two questions.
        foreign = found - own - await _own_sessions(engine)
        if foreign:
            since = None
            names = ", ".join(f"0x{one:x}" for one in sorted(foreign)[:5])
            msg = f"{len(foreign)} foreign sessions on {world.source}: {names}"
            raise NotYetError(msg)
        since = since or time.monotonic()
        calm_s = time.monotonic() - since
        if calm_s < quiet_s:
            msg = f"no foreign session on {world.source}, waiting {quiet_s:g} s"
            raise NotYetError(msg)
        said = f"no foreign session on {world.source} for {calm_s:.1f} s"
        numbers = {"quiet_s": round(calm_s, 1), "engine_sessions": len(own)}
        return Evidence("sessions", ok=True, said=said, numbers=numbers, told_by="cons of servers")

    what = f"no session but the engine's on {world.source} for {quiet_s:g} s"
    return await wait_until(what, look, bound_s=world.bounds.sessions_s, tell=tell)


async def _own_sessions(engine: EngineClient) -> frozenset[int]:
    status = await engine.status()
    side = status.sessions.get(Side.A)
    return frozenset(int(one, 16) for one in side.session_ids) if side else frozenset()


async def final_digest(world: World, _: Situation, tell: Tell) -> Findings:
    """The last full comparison before the source's ensemble goes."""
    report = await equal_audit(world, tell)
    digests = {
        name: {"a": subtree.digest_a, "b": subtree.digest_b, "znodes": subtree.znodes}
        for name, subtree in report.subtrees.items()
    }
    return Findings((audit_evidence(report),), {"digests": digests})

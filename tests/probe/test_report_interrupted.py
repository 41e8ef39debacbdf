"""A table whose writer is interrupted anywhere, as a stuck collector is, is told of rightly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from probe.report import table as table_module
from probe.report import wire
from probe.report.ledger import Ledger
from probe.report.mirror import Mirror

LEASE_MS = 10_000
Act = Callable[[Ledger], object]
ACTS: dict[str, Act] = {
    "a node in a new row": lambda ledger: ledger["container"].put("new", name="new", pid=7),
    "a node in a freed row": lambda ledger: ledger["process"].put("new", name="new"),
    "a value": lambda ledger: ledger["container"].put("b", pid=8),
    "a column of a plugin": lambda ledger: ledger["container"].put("b", **{"x:plugin": 1}),
    "a removal": lambda ledger: ledger["container"].remove("a"),
    "a removal of what is not told yet": lambda ledger: ledger["container"].remove("c"),
    "a removal of all others": lambda ledger: ledger["container"].keep({"b"}),
}


class Interruption(Exception):  # noqa: N818 - as StuckError, raised by a signal: nobody's error
    """Raised between two instructions of the writer."""


def interrupted(act: Callable[[], object], after: int) -> bool:
    """Do something that is interrupted before that instruction of the table's; whether it was."""
    left = after

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != table_module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise Interruption
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return False


def world() -> tuple[Ledger, Mirror]:
    """A ledger with nodes that are told, one that is not, and a freed row; and who is told."""
    ledger, mirror = Ledger("p", 1), Mirror()
    for id_ in ("a", "b"):
        ledger["container"].put(id_, name=id_, pid=1)
    ledger["process"].put("gone", name="gone")
    ledger["process"].put("here", name="here")
    ledger.delta(1, LEASE_MS)
    mirror.apply(ledger.snapshot(1, LEASE_MS))
    ledger["process"].remove("gone")
    tell(ledger, mirror)
    ledger["container"].put("c", name="c", pid=1)
    return ledger, mirror


def tell(ledger: Ledger, mirror: Mirror) -> None:
    mirror.apply(wire.decode(wire.encode(ledger.delta(2, LEASE_MS))))


def agrees(ledger: Ledger, mirror: Mirror) -> bool:
    snapshot = Mirror()
    snapshot.apply(wire.decode(wire.encode(ledger.snapshot(3, LEASE_MS))))
    held = [
        {id_: dict(values) for id_, values in ledger[name]} for name in ("container", "process")
    ]
    seen = [
        [
            {id_: dict(values) for id_, values in one.nodes(name).items()}
            for one in (mirror, snapshot)
        ]
        for name in ("container", "process")
    ]
    return seen == [[one, one] for one in held]


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
@pytest.mark.parametrize("is_told_at_once", [True, False], ids=["told at once", "told after it"])
def test_who_is_told_holds_the_same_wherever_a_writer_was_interrupted(
    act: Act, *, is_told_at_once: bool
) -> None:
    expected, _ = world()
    act(expected)
    after = 0
    while True:
        ledger, mirror = world()
        was_interrupted = interrupted(lambda one=ledger: act(one), after)
        if is_told_at_once:
            tell(ledger, mirror)
            assert agrees(ledger, mirror), f"interrupted at instruction {after}"
        # The collector is made anew, and does it again.
        act(ledger)
        ledger["container"].put("d", name="d", pid=3)
        ledger["container"].remove("d")
        tell(ledger, mirror)
        assert agrees(ledger, mirror), f"done again after instruction {after}"
        for name in ("container", "process"):
            assert dict(ledger[name]) == dict(expected[name]), f"of instruction {after}"
        if not was_interrupted:
            break
        after += 1
    assert after > 10

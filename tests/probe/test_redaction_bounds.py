"""However much somebody writes about one thing, judging it holds up nothing and shows no secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.agent.collectors import container_texts
from probe.agent.collectors.process import ProcessCollector
from probe.agent.errors import StuckError
from probe.agent.redaction import REDACTED, Redactor, shown_pairs
from probe.agent.text import CUT
from tests.probe.docker_engine import container
from tests.probe.sites import site
from tests.probe.test_container_collector import A, B, looking
from tests.probe.test_plugins import look, place, report, saying, serving
from tests.probe.test_process_collector import Proc, by_pid

# What takes the longest of all that is known: each word is a line for a shell.
SLOW = ('a="b c" ' * 2_000)[:8_150]
SECRET = "https://me:" + "s3cr3tvalue" * 9 + "@h/"


def test_labels_of_one_thing_are_judged_up_to_a_bound_and_short_ones_are_shown() -> None:
    labels = {f"l{number}": SLOW for number in range(250)} | {"app": "web", "zone": "z 1"}
    before = time.process_time()
    shown = shown_pairs(labels, redacts=True, chars_max=1_024)

    assert time.process_time() - before < 3.0
    assert len(shown) == 252
    assert {"app=web", "zone=z 1"} <= set(shown)
    assert sum(len(one) > 1_000 for one in shown) == 5
    assert sum(one.endswith(f"={CUT}") for one in shown) == 245


@pytest.mark.parametrize("chars_max", [256, 1_024])
@pytest.mark.parametrize("piece", ["x ", "x", "a='b c' "])
def test_no_secret_is_shown_because_the_bound_is_met(chars_max: int, piece: str) -> None:
    for chars in (0, 250, 1_000, 2_300, 3_060):
        text = (piece * chars)[:chars] + f" {SECRET} " * 9
        for left in (chars + 12, 16_384):
            redactor = Redactor(left)
            shown = [redactor.pair(f"l{number}", text, chars_max) for number in range(7)]
            shown += [redactor.text(text, chars_max) for _ in range(7)]

            assert "s3cr3t" not in str(shown)
            assert max(map(len, shown)) <= chars_max
            assert redactor.left >= 0


def test_what_is_secret_by_its_name_is_so_when_nothing_is_left() -> None:
    assert Redactor(0).pair("db_password", "x", 256) == REDACTED
    assert Redactor(0).pair("note", "x", 256) == CUT
    assert Redactor(0).pair("note", "", 256) == ""


async def test_a_container_of_many_long_labels_is_told_of_and_so_are_the_others(
    tmp_path: Path,
) -> None:
    labels = {f"l{number}": SLOW for number in range(256)}
    async with looking(
        tmp_path, container(A, name="bad", labels=labels), container(B, name="good")
    ) as world:
        assert (world.node(A) or {})["name"] == "bad"
        assert (world.node(B) or {})["name"] == "good"


async def test_a_container_that_cannot_be_judged_is_shown_as_hidden_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(pairs: Mapping[str, str], **how: Any) -> list[str]:
        if "odd" in pairs:
            msg = "s3cr3tvalue"
            raise StuckError(msg)
        return shown_pairs(pairs, **how)

    monkeypatch.setattr(container_texts, "shown_pairs", judged)
    odd, good = container(A, labels={"odd": "1"}), container(B, labels={"app": "web"})
    async with looking(tmp_path, odd, good) as world:
        told = world.node(A) or {}
        assert (told["state"], told["command"], told["labels"]) == ("exited", REDACTED, [REDACTED])
        assert (world.node(B) or {})["labels"] == ["app=web"]
        capability = world.collector.capability()
        assert capability.state is State.PARTIAL
        assert "labels of 1 containers, which failed: StuckError" in str(capability.misses[0])
        assert "s3cr3tvalue" not in str(capability.misses)

        world.engine.remove(A)
        world.engine.put(container(B, name="renamed"), "rename")
        await world.told(B, name="renamed")
        assert world.collector.capability().misses == ()


async def seen_during(work: asyncio.Task[None], count: Callable[[], int]) -> set[int]:
    """What others see while something is done."""
    seen: set[int] = set()
    while not work.done():
        await asyncio.sleep(0)
        seen.add(count())
    work.result()
    return seen


async def test_others_have_their_turn_between_two_long_command_lines(tmp_path: Path) -> None:
    proc = Proc(tmp_path)
    for pid in range(10, 20):
        proc.put(pid, line=b"sh\0-c\0" + SLOW.encode() + b"\0")
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)
    work = asyncio.create_task(collector.collect())
    seen = await seen_during(work, lambda: len(place.ledger["process"]))

    assert len(seen) >= 10
    assert "b c" in (by_pid(place, 10) or {})["command_line"]
    await collector.close()


async def test_command_lines_beyond_what_a_look_may_judge_are_shown_by_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = Proc(tmp_path)
    monkeypatch.setattr("probe.agent.collectors.process._LOOK_CHARS_MAX", 20_000)
    for pid in range(10, 20):
        proc.put(pid, line=b"app\0" + b"x" * 8_000 + b"\0")
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)

    hidden: list[int] = []
    for _ in range(4):
        await collector.collect()
        lines = [(by_pid(place, pid) or {})["command_line"] for pid in range(10, 20)]
        hidden.append(lines.count(REDACTED))
    assert hidden == [7, 4, 1, 0]
    await collector.close()


def plugin_of(count: int, text: str) -> dict[str, Any]:
    latest = {f"k{number}": {"value": f"{number} {text}"} for number in range(count)}
    return report(Host={"nodes": {"h;<host>": {"latest": latest}}})


async def test_what_a_plugin_tells_beyond_what_may_be_judged_comes_with_later_looks(
    tmp_path: Path,
) -> None:
    made = place()
    async with serving(tmp_path, iowait=saying(plugin_of(12, SLOW))):
        collector = await look(made, tmp_path)
        shown: list[int] = []
        for _ in range(3):
            values = made.ledger["host"].node("node").values()
            shown.append(sum(isinstance(one, str) and "b c" in one for one in values))
            await collector.collect()
        assert shown == [5, 10, 12]
        assert made.ledger["plugin"].node("node;iowait")["left_out"] == 1
        await collector.close()


async def test_a_text_that_a_plugin_tells_again_is_not_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    pair = Redactor.pair

    def noting(self: Redactor, name: str, value: str, chars_max: int) -> str:
        judged.append(name)
        return pair(self, name, value, chars_max)

    monkeypatch.setattr(Redactor, "pair", noting)
    made = place()
    async with serving(tmp_path, iowait=saying(plugin_of(3, "text"))) as answers:
        collector = await look(made, tmp_path)
        assert len(judged) == 5
        await collector.collect()
        assert len(judged) == 5
        answers["iowait"] = saying(plugin_of(3, "other"))
        await collector.collect()
        assert made.ledger["host"].node("node")["x:iowait:k1"] == "1 other"
        # What went with its node comes back with it.
        made.ledger["host"].remove("node")
        made.ledger["host"].put("node", name="node")
        await collector.collect()
        assert made.ledger["host"].node("node")["x:iowait:k1"] == "1 other"
        await collector.close()


async def test_others_have_their_turn_between_two_nodes_that_a_plugin_tells_of(
    tmp_path: Path,
) -> None:
    made = place()
    ids = [f"{number:064x}" for number in range(8)]
    for id_ in ids:
        made.ledger["container"].put(id_, name="c")

    def told(text: str) -> dict[str, Any]:
        latest = {f"k{number}": {"value": text} for number in range(2)}
        nodes = {f"{id_};<container>": {"latest": latest} for id_ in ids}
        return report(Container={"nodes": nodes})

    async with serving(tmp_path, iowait=saying(told(SLOW))) as answers:
        collector = await look(made, tmp_path)
        # They had it at the first look; a text that has changed is judged anew.
        answers["iowait"] = saying(told(f"b {SLOW}"))
        table = made.ledger["container"]
        seen = await seen_during(
            asyncio.create_task(collector.collect()),
            lambda: sum(str(table.get(id_, "x:iowait:k0")).startswith("b") for id_ in ids),
        )
        assert seen >= set(range(1, 9))
        await collector.close()

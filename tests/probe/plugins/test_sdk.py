"""What an author says and tells arrives so at an agent; what is wrong is said to the author."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from probe.agent.log import Log
from probe.agent.unix_http import Request
from probe.plugins import document, hooks, installed, testing
from probe.plugins.errors import (
    ColumnError,
    DefinitionError,
    LookError,
    OptionError,
    UnknownPluginError,
)
from probe.plugins.keeper import Keeper
from tests.probe.sites import Clock
from tests.waiting import block_until

CONTAINER = "c" * 64
ASK = Request("GET", "/report?probe_id=p&api_version=1")


class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Of the sample."""

    level: int = 1


class Sample(hooks.Plugin):
    """Tells what it is told to tell."""

    id = "sample"
    label = "Sample"
    description = "Tells a thing or two."
    columns = (
        hooks.text("note", "A note"),
        hooks.number("limit", "A limit", unit="files"),
        hooks.gauge("use", "In use", unit="percent"),
    )
    settings_type = Options

    def __init__(
        self,
        settings: Options | None = None,
        tell: Callable[[hooks.Told], None] = lambda told: told.host(note="fine"),
    ) -> None:
        super().__init__(settings or Options())
        self.tell = tell
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def look(self, told: hooks.Told) -> None:
        self.calls.append("look")
        self.tell(told)

    def close(self) -> None:
        self.calls.append("close")


async def test_what_is_told_arrives_with_its_type_label_and_unit() -> None:
    def tell(told: hooks.Told) -> None:
        told.host(note="fine", limit=1024, use=12.5)
        told.process(7, limit=2.5)
        told.container(CONTAINER, note="0012")
        told.node("mesos_task", "framework;task", use=1)

    task = "framework;task"
    nodes = {
        "host": [testing.HOST],
        "process": ["7"],
        "container": [CONTAINER],
        "mesos_task": [task],
    }
    shown = await testing.shown(Sample(tell=tell), nodes)

    assert shown["host"][testing.HOST] == {"note": "fine", "limit": 1024, "use": 12.5}
    assert shown["process"]["node;7;0"] == {"pid": 7, "limit": 2.5}
    assert shown["container"][CONTAINER] == {"note": "0012"}
    assert shown["mesos_task"][task] == {"use": 1}
    said = shown["plugin"][f"{testing.HOST};sample"]
    assert said["columns"] == [
        "x:sample:limit=A limit, files",
        "x:sample:note=A note",
        "x:sample:use=In use, percent",
    ]
    assert (said["state"], said["nodes"], said["left_out"]) == ("full", 4, 0)


async def test_nodes_that_an_agent_does_not_see_are_counted() -> None:
    shown = await testing.shown(
        Sample(tell=lambda told: told.container(CONTAINER, note="x")), {"host": [testing.HOST]}
    )

    assert shown["plugin"][f"{testing.HOST};sample"]["left_out"] == 1
    assert "container" not in shown


def test_scope_s_probe_finds_what_it_knows_where_it_looks_for_it() -> None:
    plugin = Sample()
    told = hooks.Told(plugin.columns, "h")
    told.process(7, use=1.5, limit=3)
    written: dict[str, Any] = json.loads(document.write(plugin, told, 0))

    process = written["Process"]["nodes"]["h;7"]
    assert process["metrics"]["use"]["samples"] == [
        {"date": "1970-01-01T00:00:00.000000Z", "value": 1.5}
    ]
    assert process["latest"]["limit"]["value"] == "3"
    assert written["Process"]["metadata_templates"]["limit"]["dataType"] == "number"
    assert written["Process"]["metric_templates"]["use"]["format"] == "percent"
    assert written["Plugins"][0]["interfaces"] == ["reporter"]


WRONG: dict[str, tuple[Callable[[hooks.Told], None], str]] = {
    "an undeclared column": (lambda told: told.host(other=1), "add it to the plugin's `columns`"),
    "a number for a text": (lambda told: told.host(note=1), "a text"),
    "a text for a number": (lambda told: told.host(use="1"), "finite number"),
    "a truth value": (lambda told: told.host(use=True), "finite number"),
    "no number": (lambda told: told.host(use=float("nan")), "finite number"),
}


@pytest.mark.parametrize(("tell", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_look_that_tells_something_else_is_refused(
    tell: Callable[[hooks.Told], None], says: str
) -> None:
    plugin = Sample(tell=tell)
    with pytest.raises(ColumnError, match="expected") as raised:
        testing.look(plugin)

    assert says in str(raised.value)
    assert plugin.calls == ["start", "look", "close"]


def test_none_takes_a_value_back() -> None:
    def tell(told: hooks.Told) -> None:
        told.host(note="x", use=1)
        told.host(note=None)

    assert testing.look(Sample(tell=tell)).nodes == {"host": {testing.HOST: {"use": 1}}}


def test_more_nodes_than_an_agent_takes_are_an_error_in_a_test() -> None:
    def tell(told: hooks.Told) -> None:
        for number in range(hooks.NODES_MAX + 3):
            told.container(f"{number}", use=1)

    with pytest.raises(LookError, match="saw 3 values or nodes too many"):
        testing.look(Sample(tell=tell))


def defined(**more: Any) -> type[hooks.Plugin]:
    return type("Wrong", (Sample,), more)


DEFINITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"label": ""}, "label"),
    "an id that is no file name": ({"id": "a/b"}, "letters, digits and dashes"),
    "no columns": ({"columns": ()}, "columns"),
    "a column with blanks": ({"columns": (hooks.text("a b", "x"),)}, "small letters"),
    "a column twice": ({"columns": (hooks.text("a", "x"), hooks.gauge("a", "y"))}, "twice"),
    "a column of Scope's own": ({"columns": (hooks.text("cmdline", "x"),)}, "another name"),
    "too many columns": (
        {"columns": tuple(hooks.text(f"c{n}", "x") for n in range(33))},
        "at most 32",
    ),
}


@pytest.mark.parametrize(("more", "says"), DEFINITIONS.values(), ids=DEFINITIONS.keys())
def test_a_class_that_is_no_plugin_is_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match="expected") as raised:
        installed.check(defined(**more))
    assert says in str(raised.value)


def test_a_plugin_without_a_look_is_refused() -> None:
    class Blind(hooks.Plugin):
        """Does not look."""

        id = label = description = "blind"
        columns = (hooks.text("a", "A"),)

    with pytest.raises(DefinitionError, match="the hook look"):
        installed.check(Blind)


@pytest.mark.parametrize(
    "name", ["nobody", "no.such.module:X", "probe.plugins.hooks:Nothing", "/nowhere/x.py:X"]
)
def test_a_plugin_that_is_not_there_is_said_to_be_missing(name: str) -> None:
    with pytest.raises(UnknownPluginError, match="expected"):
        installed.load(name)


def test_a_place_that_holds_something_else_is_no_plugin() -> None:
    with pytest.raises(DefinitionError, match=r"subclass of hooks\.Plugin"):
        installed.load("probe.plugins.hooks:Told")


def test_packages_make_their_plugins_known_by_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    place = "tests.probe.plugins.test_sdk:Sample"
    (about / "entry_points.txt").write_text(f"[{installed.GROUP}]\nsample = {place}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    assert installed.places()["sample"] == place
    assert installed.load("sample").id == "sample"


def test_settings_are_typed_and_checked() -> None:
    assert installed.make(Sample, {"level": "3"}).settings == Options(level=3)
    for given in ({"level": "high"}, {"levels": "3"}):
        with pytest.raises(OptionError, match=r"settings of sample \(level\)"):
            installed.make(Sample, given)


# How a plugin is kept at work.


def keeper(plugin: Sample, clock: Clock | None = None) -> Keeper:
    return Keeper(plugin, Log(io.StringIO()), host="h", clock=clock or Clock())


def test_before_the_first_look_has_ended_a_plugin_is_there_and_tells_nothing() -> None:
    answer = keeper(Sample()).answer(ASK)

    assert answer.status == 200
    assert list(json.loads(answer.body)) == ["Plugins"]


def test_a_look_that_raises_is_the_plugin_s_problem_until_the_next_one() -> None:
    def tell(told: hooks.Told) -> None:
        if len(plugin.calls) == 2:
            msg = "no disk\x1b[31m"
            raise OSError(msg)
        told.host(note="fine")

    plugin = Sample(tell=tell)
    kept = keeper(plugin)
    kept.look()
    assert (kept.answer(ASK).status, kept.answer(ASK).body) == (
        500,
        "OSError: no disk�[31m".encode(),
    )
    kept.look()
    assert kept.answer(ASK).status == 200
    assert plugin.calls == ["start", "look", "look"]


def test_a_slow_look_holds_no_answer_up_and_one_that_never_ends_is_shown() -> None:
    clock, hung, looking = Clock(), threading.Event(), threading.Event()

    def tell(told: hooks.Told) -> None:
        told.host(note=f"look {len(plugin.calls)}")
        if plugin.calls.count("look") == 2:
            looking.set()
            hung.wait(60)

    plugin = Sample(tell=tell)
    plugin.interval_s = 0.0  # pyright: ignore[reportAttributeAccessIssue] - of this one alone
    kept = keeper(plugin, clock)
    kept.begin()
    try:
        assert looking.wait(15)
        assert b"look 2" in kept.answer(ASK).body
        clock.now += plugin.look_s_max + 1
        answer = kept.answer(ASK)
        assert answer.status == 503
        assert b"has not ended for 61 s" in answer.body
    finally:
        hung.set()
        kept.end()
    block_until(lambda: plugin.calls[-1] == "close", "it was closed")


def test_a_look_that_never_ends_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probe.plugins.keeper._CLOSE_S_MAX", 0.05)
    hung = threading.Event()

    def tell(told: hooks.Told) -> None:
        del told
        hung.wait(60)

    plugin = Sample(tell=tell)
    kept = keeper(plugin)
    kept.begin()
    kept.end()
    assert "close" not in plugin.calls
    hung.set()
    block_until(lambda: plugin.calls[-1] == "close", "it ended after all")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("POST", "/control", 403), ("POST", "/report", 404), ("GET", "/", 404)],
)
def test_a_plugin_reports_and_does_nothing_else(method: str, target: str, status: int) -> None:
    assert keeper(Sample()).answer(Request(method, target)).status == status

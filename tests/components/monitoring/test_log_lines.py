"""Lines of real programs become the events and fields that they are meant to be.

Patterns are tried by the library that Elasticsearch itself takes lines apart with
(org.elasticsearch:elasticsearch-grok, on Joni), and by their translation to Python, which must say
the same: previews and other tests use that. The date processor's formats, the script and Filebeat's
own regular expressions and dissect (Go) are not run; their patterns are of the part that Python
shares, and no dissect library is published beside grok's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import pytest

from components.errors import ArgumentsError
from components.monitoring.log_lines import GLOG, JAVA, KINDS, LEVELS, Lines, as_python
from tests.components.monitoring.log_events import (
    START_S_MAX,
    Fields,
    by_elasticsearch,
    by_python,
    joined,
    lines,
)
from tests.leaving import leave_out
from tools import locate

FILES = (
    (GLOG, "mesos.log"),
    (GLOG, "mesos-crashes.log"),
    (JAVA, "marathon.log"),
    (JAVA, "zookeeper.log"),
)
HOLDS_A_LINE = "somebody's words\nI0909 22:47:01.240617 21904 master.cpp:3600] Sending 1 offers"
TRACE = "\n".join(["java.io.IOException: x", *["\tat org.apache.Zoo.keeper(Zoo.java:1)"] * 498])
LONG = {
    "glog": f"F1118 21:30:55.832010    93 master.cpp:1536] Check failed\n{TRACE}",
    "java": f"2024-07-04 23:23:40,924 - WARN  [Worker-2:o.a.z.s.NIOServerCnxn@388] - x\n{TRACE}",
}
OTHERS = ("", "I am a task", "\u00e9" * 40, HOLDS_A_LINE, *LONG.values())
# Python's form of each that the date processor is given, behind a year where there is none.
DATES = {
    "MMdd HH:mm:ss.SSSSSS": ("2024 {}", "%Y %m%d %H:%M:%S.%f"),
    "yyyy-MM-dd HH:mm:ss,SSS": ("{}", "%Y-%m-%d %H:%M:%S,%f"),
}


def events_of(kind: Lines, file: str) -> list[str]:
    # One an event, some by a journal: there is nothing to join.
    return lines(file) if file == "mesos.log" else joined(kind, lines(file))


def is_date(text: str, form: str) -> bool:
    written, parsed = DATES[form]
    try:
        return bool(datetime.strptime(f"{written.format(text)} +0000", f"{parsed} %z"))
    except ValueError:
        return False


@pytest.mark.parametrize(("kind", "file"), FILES, ids=lambda one: one if type(one) is str else "")
def test_every_real_event_is_taken_apart(kind: Lines, file: str) -> None:
    for event in events_of(kind, file):
        fields = by_python(kind, event)
        assert fields is not None, event
        assert fields["log.level"] in LEVELS
        assert sum(is_date(fields["log.at"], form) for form in kind.dates) == 1
        assert fields["message"].strip()
        # Nothing of it is lost: what is no field of its own is text.
        end = fields.get("error.stack_trace") or fields["message"]
        assert event.endswith(end) or fields.get("log.logger", "") in event


@pytest.fixture(scope="module")
def elasticsearch() -> Callable[[Lines, str], Fields | None]:
    """What Elasticsearch's own library makes of an event; all of them at once, for it starts
    slowly. Left out where it was not fetched, which CI takes for a failure."""
    asked = {
        kind: [*(e for of, file in FILES if of is kind for e in events_of(kind, file)), *OTHERS]
        for kind in KINDS
    }
    try:
        answers = by_elasticsearch(asked)
    except locate.ToolMissingError as error:
        leave_out(str(error))
    found = {
        (kind.kind, event): fields
        for kind, events in asked.items()
        for event, fields in zip(events, answers[kind], strict=True)
    }
    return lambda kind, event: found[kind.kind, event]


@pytest.mark.timeout(START_S_MAX)
@pytest.mark.parametrize(("kind", "file"), FILES, ids=lambda one: one if type(one) is str else "")
def test_elasticsearch_takes_apart_what_python_does_and_alike(
    kind: Lines, file: str, elasticsearch: Callable[[Lines, str], Fields | None]
) -> None:
    for event in (*events_of(kind, file), *OTHERS):
        assert elasticsearch(kind, event) == by_python(kind, event)


@pytest.mark.timeout(START_S_MAX)
def test_in_elasticsearch_a_text_that_only_holds_a_line_is_none(
    elasticsearch: Callable[[Lines, str], Fields | None],
) -> None:
    """In its regular expressions `^` stands at every line of a text."""
    assert elasticsearch(GLOG, HOLDS_A_LINE) is None


@pytest.mark.timeout(START_S_MAX)
def test_in_elasticsearch_long_traces_are_kept_whole(
    elasticsearch: Callable[[Lines, str], Fields | None],
) -> None:
    """As many lines as Filebeat joins at most."""
    for kind, field in ((GLOG, "message"), (JAVA, "error.stack_trace")):
        fields = elasticsearch(kind, LONG[kind.kind])
        assert fields is not None
        assert fields[field].endswith(TRACE)


def test_lines_of_every_level_are_among_the_real_ones() -> None:
    seen = {
        LEVELS[fields["log.level"]]
        for kind, file in FILES
        for event in events_of(kind, file)
        if (fields := by_python(kind, event))
    }

    assert seen == {"info", "warning", "error", "fatal"}


def test_fields_of_a_line_are_what_they_are_called() -> None:
    line = lines("mesos.log")[3]
    assert by_python(GLOG, line) == {
        "log.level": "I",
        "log.at": "0916 22:22:28.686725",
        "process.thread.id": "841",
        "log.origin.file.name": "slave.cpp",
        "log.origin.file.line": "1249",
        "message": line.partition("] ")[2],
    }


def test_a_crash_is_one_event_with_its_trace() -> None:
    events = joined(GLOG, lines("mesos-crashes.log"))

    assert [event[:5] for event in events] == [
        *("I1118", "E1118", "I1118", "F1118", "I0605", "2016-", "I1117", "F1117", "I1117")
    ]
    assert events[3].count("\n    @ ") == 6
    fields = by_python(GLOG, events[3])
    assert fields is not None
    assert fields["message"].startswith("Recovery failed: ")
    assert "mesos::internal::master::fail()" in fields["message"]
    # An abort writes no line of its own level: its trace is the last line's.
    assert "*** Aborted at 1465108403 (unix time)" in events[4]
    assert events[4].endswith("MesosContainerizerProcess::recoverIsolators()")
    # Another thread's line comes between, whose own line it is.
    assert events[7].endswith("*** Check failure stack trace: ***")


def test_mesos_client_of_zookeeper_writes_lines_of_its_own() -> None:
    (event,) = (event for event in joined(GLOG, lines("mesos-crashes.log")) if "ZOO_INFO" in event)

    fields = by_python(GLOG, event)
    assert fields is not None
    assert fields["log.level"] == "INFO"
    assert (fields["log.origin.function"], fields["log.origin.file.line"]) == (
        *("check_events", "1775"),
    )
    assert fields["message"].startswith("session establishment complete on server")


def test_a_trace_of_marathon_belongs_to_its_line() -> None:
    first, *_ = joined(JAVA, lines("marathon.log"))

    assert by_python(JAVA, first) == {
        "log.at": "2015-06-08 23:55:47,214",
        "log.level": "WARN",
        "message": "error while calling class mesosphere.marathon.state.MarathonStore.names() for "
        "prefix app:",
        "log.logger": "mesosphere.marathon.state.MarathonStore",
        "process.thread.name": "131",
        "error.stack_trace": "\n".join(lines("marathon.log")[1:6]),
    }


def test_a_message_of_marathon_may_have_lines_and_parentheses() -> None:
    (event,) = (e for e in joined(JAVA, lines("marathon.log")) if "redirectUI" in e)

    fields = by_python(JAVA, event)
    assert fields is not None
    assert fields["message"].endswith("contains empty path annotation.")
    assert fields["log.logger"] == "org.glassfish.jersey.internal.Errors"
    assert fields["process.thread.name"] == "MarathonHttpService STARTING"


def test_threads_of_zookeeper_have_brackets() -> None:
    events = joined(JAVA, lines("zookeeper.log"))
    found = [by_python(JAVA, event) or {} for event in events]

    assert [fields["process.thread.name"] for fields in found] == [
        "WorkerSender[myid=5]",
        "QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181",
        "QuorumPeer[myid=133](plain=/0.0.0.0:2181)(secure=disabled)",
        "NIOWorkerThread-1",
        "NIOWorkerThread-2",
        "NIOWorkerThread-3",
    ]
    assert found[0]["error.stack_trace"].count("\n\tat ") == 3
    assert "error.stack_trace" not in found[1]


@pytest.mark.parametrize("kind", [GLOG, JAVA], ids=lambda kind: kind.kind)
@pytest.mark.parametrize("line", ["", "I am a task", "I0909 22:47:01.240617 21904 no source] text"])
def test_a_line_of_somebody_else_is_left_whole(kind: Lines, line: str) -> None:
    assert by_python(kind, line) is None
    failed = {"append": {"field": "tags", "value": f"not-{kind.kind}"}}
    assert failed in kind.document()["on_failure"]


def test_what_does_not_begin_a_line_belongs_to_the_one_before() -> None:
    for line in ("    @     0x7f process::dispatch()", "*** Aborted at 1 ***", "", "I am a task"):
        assert not re.search(GLOG.begins, line)
    for line in ("\tat a.b(C.java:1)", "Caused by: x", "... 7 more", ""):
        assert not re.search(JAVA.begins, line)


def test_a_pattern_that_names_nothing_known_is_refused() -> None:
    with pytest.raises(ArgumentsError, match="NOTHING"):
        as_python("%{NOTHING:message}")

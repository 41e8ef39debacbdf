r"""How programs write lines, and what an ingest pipeline of Elasticsearch makes of them.

Mesos writes glog: a letter for the level, month and day, time, thread, source, text. Its client of
ZooKeeper writes beside it in a form of its own. ZooKeeper and Marathon write lines of Java: by the
layout that `components.zookeeper_image` gives servers, by that of ZooKeeper's own distribution, by
Marathon's. What follows without such a beginning (a stack trace, a dump of flags) belongs to the
line before: Filebeat joins it (`begins`), and a pattern keeps it.

Filebeat and Elasticsearch have regular expressions of their own (RE2, Joni); these are of the part
that both and Python share. In Joni `^` and `$` stand at every line of a text, so texts begin with
`\A`, and a line ends where no other character than its end follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.errors import ArgumentsError

DEFINITIONS: Mapping[str, str] = {
    "GLOGAT": r"[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}",
    "ISOAT": "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}",
    "LETTER": "[IWEF]",
    "WORD": "[A-Z]+",
    "COUNT": "[0-9]+",
    "HEX": "0x[0-9a-f]+",
    "FILE": r"[^ :\]]+",
    "SYMBOL": "[A-Za-z0-9_]+",
    "CLASS": r"[^\s:@()\[\]]+",
    # Names of threads have blanks and brackets.
    "THREAD": r"[^\n]+?",
    "LINE": r"[^\n]*",
    "TEXT": r"[\s\S]*",
    "FIRST": r"[\s\S]*?",
    # What a unit of systemd puts in front, where journals are read in place of files.
    "JOURNAL": r"(?:[A-Z][a-z]{2} +[0-9]+ [0-9:]{8} [^ ]+ [^ ]+\[[0-9]+\]: )?",
}
_LINE_ENDS = r"(?![^\n])"
_STACK = r"(?:\n%{TEXT:error.stack_trace})?"
SANDBOX_PATH = (
    "%{}/slaves/%{mesos.agent.id}/frameworks/%{mesos.framework.id}/executors/%{mesos.executor.id}"
    "/runs/%{mesos.container.id}/%{mesos.stream}"
)
"""A pattern of dissect, which Filebeat itself takes the path of a task's file apart by."""
LEVELS = {"I": "info", "W": "warning", "E": "error", "F": "fatal"} | {
    each: each.lower().replace("warn", "warning")
    for each in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
}
"""Words of all for one level, by which lines of different programs are found together."""


@dataclass(frozen=True)
class Lines:
    """Lines of programs of a kind. `begins` is what the first line of each event matches;
    `patterns` are those of grok, of which the first that matches holds; `dates` are forms of their
    times, which are UTC."""

    kind: str
    begins: str
    patterns: tuple[str, ...]
    dates: tuple[str, ...]

    @property
    def pipeline(self) -> str:
        """The name of what takes them apart."""
        return f"mesos-platform-{self.kind}"

    def document(self) -> dict[str, Any]:
        """What takes them apart. A line that is none of them stays whole, and says why."""
        return {
            "description": f"Lines of {self.kind}, as programs of a Mesos cluster write them",
            "processors": [
                {
                    "grok": {
                        "field": "message",
                        "patterns": list(self.patterns),
                        "pattern_definitions": dict(DEFINITIONS),
                    }
                },
                {
                    "script": {
                        "description": "One word for a level",
                        "params": LEVELS,
                        "source": "ctx.log.level = params[ctx.log.level]",
                    }
                },
                # glog writes no year; Elasticsearch takes the present one.
                {"date": {"field": "log.at", "formats": list(self.dates), "timezone": "UTC"}},
                {
                    "convert": {
                        "field": "log.origin.file.line",
                        "type": "integer",
                        "ignore_missing": True,
                    }
                },
                {"remove": {"field": "log.at"}},
            ],
            "on_failure": [
                {"append": {"field": "tags", "value": f"not-{self.kind}"}},
                {"set": {"field": "error.message", "value": "{{_ingest.on_failure_message}}"}},
            ],
        }


_MESOS = (
    r"\A%{JOURNAL}%{LETTER:log.level}%{GLOGAT:log.at} +%{COUNT:process.thread.id} "
    r"%{FILE:log.origin.file.name}:%{COUNT:log.origin.file.line}\] %{TEXT:message}"
)
_ZOOKEEPER_CLIENT = (
    r"\A%{JOURNAL}%{ISOAT:log.at}:%{COUNT:process.pid}\(%{HEX:process.thread.name}\):"
    "ZOO_%{WORD:log.level}@%{SYMBOL:log.origin.function}@%{COUNT:log.origin.file.line}: "
    "%{TEXT:message}"
)
_MARATHON = (
    r"\A%{JOURNAL}\[%{ISOAT:log.at}\] %{WORD:log.level} +%{FIRST:message}\s+"
    r"\(%{CLASS:log.logger}:%{THREAD:process.thread.name}\)" + _LINE_ENDS + _STACK
)
_ZOOKEEPER = (
    r"\A%{JOURNAL}%{ISOAT:log.at} %{WORD:log.level} +\[%{THREAD:process.thread.name}\] "
    "%{CLASS:log.logger}: %{LINE:message}" + _STACK
)
_ZOOKEEPER_DISTRIBUTED = (
    r"\A%{JOURNAL}%{ISOAT:log.at} (?:\[myid:[^\]\n]*\] )?- %{WORD:log.level} +"
    r"\[%{THREAD:process.thread.name}:%{CLASS:log.logger}@%{COUNT:log.origin.file.line}\] - "
    "%{LINE:message}" + _STACK
)
_ISO_DATE = "yyyy-MM-dd HH:mm:ss,SSS"
GLOG = Lines(
    kind="glog",
    begins=(
        r"^([IWEF][0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+ "
        r"|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8},[0-9]{3}:[0-9]+\(0x[0-9a-f]+\):ZOO_)"
    ),
    patterns=(_MESOS, _ZOOKEEPER_CLIENT),
    dates=("MMdd HH:mm:ss.SSSSSS", _ISO_DATE),
)
JAVA = Lines(
    kind="java",
    begins=r"^\[?[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}",
    patterns=(_MARATHON, _ZOOKEEPER, _ZOOKEEPER_DISTRIBUTED),
    dates=(_ISO_DATE,),
)
KINDS = (GLOG, JAVA)


def as_python(grok: str) -> re.Pattern[str]:
    """A pattern of grok for tests and previews: fields become groups, dots in them two underscores.

    Raises:
        ArgumentsError: it names what is not defined here.
    """

    def expanded(found: re.Match[str]) -> str:
        name, _, target = found[1].partition(":")
        if name not in DEFINITIONS:
            msg = f"expected a definition of {name}, saw {', '.join(DEFINITIONS)}"
            raise ArgumentsError(msg)
        group = target.replace(".", "__")
        return f"(?P<{group}>{DEFINITIONS[name]})" if group else f"(?:{DEFINITIONS[name]})"

    return re.compile(re.sub(r"%\{([^}]+)\}", expanded, grok))

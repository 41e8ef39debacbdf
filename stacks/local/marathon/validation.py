"""What Marathon refuses: fields of another kind (400), values that cannot be (422).

Paths and texts are Marathon's where its sources were at hand; the rest says the same in our words
(docs/stand-ins.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from stacks.local.errors import ApiError
from stacks.local.mesos.values import Json

Problem = tuple[str, str]
_NUMBERS = (
    "backoffFactor", "backoffSeconds", "cpus", "disk", "gpus", "instances", "maxLaunchDelaySeconds",
    "mem", "taskKillGracePeriodSeconds",
)  # fmt: skip
_TEXTS = ("cmd", "executor", "id", "killSelection", "role", "user")
_LISTS = (
    "acceptedResourceRoles", "args", "constraints", "dependencies", "fetch", "healthChecks",
    "networks", "portDefinitions", "ports", "readinessChecks", "uris",
)  # fmt: skip
_OBJECTS = ("container", "env", "ipAddress", "labels", "secrets", "upgradeStrategy")
OPERATORS = frozenset({"UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"})
_OPERATOR_TEXT = (
    "Operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS"
)
_PORT_INDEX_TEXT = (
    "Health check port indices must address an element of the ports array or container port "
    "mappings."
)
_PROTOCOLS = frozenset(
    {"HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"}
)


def check_kinds(given: Json) -> None:
    """Refuse fields of another kind than the API's.

    Raises:
        ApiError: 400.
    """

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    wanted: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
        (_NUMBERS, is_number, "jsnumber"),
        (_TEXTS, lambda value: isinstance(value, str), "jsstring"),
        (_LISTS, lambda value: isinstance(value, list), "jsarray"),
        (_OBJECTS, lambda value: isinstance(value, dict), "jsobject"),
    ]
    problems = [
        {"path": f"/{name}", "errors": [f"error.expected.{kind}"]}
        for names, fits, kind in wanted
        for name in names
        if given.get(name) is not None and not fits(given[name])
    ]
    if problems:
        raise ApiError(400, {"message": "Invalid JSON", "details": problems})


def validate(app: Json) -> list[Problem]:
    """All that is wrong with a complete definition."""
    from stacks.local.marathon.definition import path_problem

    problems: list[Problem] = []
    problem = path_problem(app["id"])
    if app["id"] == "/":
        problems.append(("/id", "Path must contain at least one path element"))
    elif problem is not None:
        problems.append(("/id", problem))
    container: Json = app.get("container") or {}
    has_image = "docker" in container
    has_cmd, has_args = bool(app.get("cmd")), bool(app.get("args"))
    if has_cmd == has_args and not (has_image and not has_cmd):
        problems.append(
            (
                "/",
                "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
            )
        )
    least = {"cpus": 0, "mem": 0, "disk": 0, "gpus": 0, "instances": 0, "backoffSeconds": 0,
             "maxLaunchDelaySeconds": 0, "backoffFactor": 1}  # fmt: skip
    for name, value in least.items():
        if app[name] < value:
            problems.append(
                (f"/{name}", f"got {float(app[name])}, expected {float(value)} or more")
            )
    for name in ("minimumHealthCapacity", "maximumOverCapacity"):
        value = float(app["upgradeStrategy"][name])
        if not 0 <= value <= 1:
            problems.append(
                (f"/upgradeStrategy/{name}", f"got {value}, expected between 0.0 and 1.0")
            )
    problems += _constraints(app)
    problems += _checks(app)
    return problems


def _constraints(app: Json) -> list[Problem]:
    problems: list[Problem] = []
    for index, constraint in enumerate(app.get("constraints", ())):
        path = f"/constraints({index})"
        if len(constraint) not in {2, 3}:
            problems.append((path, "Each constraint must have either 2 or 3 fields"))
            continue
        operator = constraint[1]
        value = constraint[2] if len(constraint) > 2 else None  # noqa: PLR2004 - the third field
        if operator not in OPERATORS:
            problems.append((path, _OPERATOR_TEXT))
        elif operator in {"LIKE", "UNLIKE"} and (value is None or not _is_pattern(value)):
            problems.append((path, f"'{value}' is not a valid regular expression"))
        elif operator == "MAX_PER" and not (value or "").isdigit():
            problems.append((path, f"Value was specified but is not a number: {value}"))
        elif operator == "UNIQUE" and value:
            problems.append((path, "Value specified but not used"))
        elif operator == "IS" and not value:
            problems.append((path, "A value must be specified"))
    return problems


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _checks(app: Json) -> list[Problem]:
    problems: list[Problem] = []
    container: Json = app.get("container") or {}
    is_host = all(one["mode"] == "host" for one in app["networks"])
    ports: list[Json] = app["portDefinitions"] if is_host else container.get("portMappings") or []
    for index, check in enumerate(app.get("healthChecks", ())):
        path = f"/healthChecks({index})"
        if check["protocol"] not in _PROTOCOLS:
            problems.append((f"{path}/protocol", f"error.unknown.enum.literal {check['protocol']}"))
        elif check["protocol"] == "COMMAND" and "command" not in check:
            problems.append((path, "COMMAND health checks must have a command"))
        elif "portIndex" in check and check["portIndex"] >= max(len(ports), 1):
            problems.append(("/", _PORT_INDEX_TEXT))
    if len(app.get("readinessChecks", ())) > 1:
        problems.append(("/readinessChecks", "May have at most 1 readiness check"))
    names = {port.get("name") for port in ports}
    for index, check in enumerate(app.get("readinessChecks", ())):
        if check["portName"] not in names:
            problems.append(
                (
                    f"/readinessChecks({index})/portName",
                    "No port definition reference for portName " + str(check["portName"]),
                )
            )
    return problems

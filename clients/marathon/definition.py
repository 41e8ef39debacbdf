"""What an app may say, checked before Marathon sees it.

Field names are Marathon's own (docs of v2, types of its RAML). Marathon ignores or rewrites some of
what it does not know; here an unknown field is an error, because a typed `instance` that does
nothing is worse. Only fields that were given are sent, so that Marathon's defaults stay Marathon's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from clients.marathon.errors import DefinitionError

_SEGMENT = re.compile(r"(?:[a-z0-9]|[a-z0-9][a-z0-9.-]*[a-z0-9])")
# They are parts of Marathon's own addresses below an app's.
_RESERVED = frozenset({"restart", "tasks", "versions"})
_ID_MAX = 500
Json = dict[str, Any]


def check_id(app_id: str) -> str:
    """Refuse what is no path of an app or group; returns it as an absolute path.

    Raises:
        ValueError: it is none.
    """
    path = "/" + app_id.strip("/")
    segments = path[1:].split("/") if path != "/" else []
    wrong = [one for one in segments if not _SEGMENT.fullmatch(one) or one in _RESERVED]
    if wrong or len(path) > _ID_MAX:
        seen = wrong[0] if wrong else f"{len(path)} characters"
        msg = (
            f"expected an id of lower-case letters, digits, '-' and '.' between slashes, none of "
            f"them {', '.join(sorted(_RESERVED))}, saw {seen!r} in {app_id!r}"
        )
        raise ValueError(msg)
    return path


Id = Annotated[str, AfterValidator(check_id)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Labels = dict[str, str]
_WITHOUT_VALUE_OR_WITH = {
    "UNIQUE": False,
    "LIKE": True,
    "UNLIKE": True,
    "MAX_PER": True,
    "IS": True,
}
_OPERATORS = (*_WITHOUT_VALUE_OR_WITH, "CLUSTER", "GROUP_BY")


def check_constraint(constraint: list[str]) -> list[str]:
    """Refuse a constraint that no offer can fulfil.

    Raises:
        ValueError: it is one.
    """
    if len(constraint) not in {2, 3}:
        msg = f"expected [field, operator] or [field, operator, value], saw {constraint}"
        raise ValueError(msg)
    operator, value = constraint[1], constraint[2] if len(constraint) > 2 else ""  # noqa: PLR2004 - the third
    if operator not in _OPERATORS:
        msg = f"expected an operator of {', '.join(sorted(_OPERATORS))}, saw {operator!r}"
        raise ValueError(msg)
    wants_value = _WITHOUT_VALUE_OR_WITH.get(operator, bool(value))
    if bool(value) is not wants_value:
        wanted = "a value" if wants_value else "no value"
        msg = f"expected {operator} with {wanted}, saw {value!r}: no offer could fulfil it"
        raise ValueError(msg)
    if operator in {"MAX_PER", "GROUP_BY"} and value and not (value.isdigit() and int(value) > 0):
        msg = f"expected a number above 0 with {operator}, saw {value!r}"
        raise ValueError(msg)
    if operator in {"LIKE", "UNLIKE"}:
        try:
            re.compile(value)
        except re.error as error:
            msg = f"expected a regular expression with {operator}, saw {value!r}: {error}"
            raise ValueError(msg) from None
    return constraint


Constraint = Annotated[list[str], AfterValidator(check_constraint)]


class Part(BaseModel):
    """A part of a definition: Marathon's field names, and no others."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, strict=False, populate_by_name=False
    )


class PortMapping(Part):
    """A port of a container."""

    container_port: Port | None = None
    host_port: Port | None = None
    service_port: Port | None = None
    protocol: str | None = None
    name: str | None = None
    labels: Labels | None = None
    network_names: list[str] | None = None


class PortDefinition(Part):
    """A port of the host."""

    port: Port | None = None
    protocol: str | None = None
    name: str | None = None
    labels: Labels | None = None


class Volume(Part):
    """A volume: of the host, persistent, external or a secret."""

    container_path: str
    host_path: str | None = None
    mode: Literal["RO", "RW"] | None = None
    persistent: Json | None = None
    external: Json | None = None
    secret: str | None = None


class Docker(Part):
    """An image."""

    image: str
    force_pull_image: bool | None = None
    # Written so in Marathon's own test definitions, and refused by none.
    force_pull: bool | None = None
    network: str | None = None
    parameters: list[Labels] | None = None
    port_mappings: list[PortMapping] | None = None
    privileged: bool | None = None
    pull_config: Labels | None = None
    require_ports: bool | None = None


class Container(Part):
    """What an instance runs in."""

    type: Literal["DOCKER", "MESOS"] | None = None
    docker: Docker | None = None
    volumes: list[Volume] | None = None
    port_mappings: list[PortMapping] | None = None
    linux_info: Json | None = None


class Network(Part):
    """A network."""

    mode: Literal["host", "container", "container/bridge"] | None = None
    name: str | None = None
    labels: Labels | None = None


class HealthCheck(Part):
    """How Marathon, or the agent (MESOS_…), asks an instance how it is."""

    protocol: str | None = None
    path: str | None = None
    port: Port | None = None
    port_index: Count | None = None
    command: Json | None = None
    grace_period_seconds: Count | None = None
    interval_seconds: Count | None = None
    timeout_seconds: Count | None = None
    delay_seconds: Count | None = None
    max_consecutive_failures: Count | None = None
    ip_protocol: Literal["IPv4", "IPv6"] | None = None
    ignore_http1xx: bool | None = Field(default=None, alias="ignoreHttp1xx")


class ReadinessCheck(Part):
    """When a new instance is ready to count in a deployment."""

    name: str | None = None
    protocol: Literal["HTTP", "HTTPS"] | None = None
    path: str | None = None
    port_name: str | None = None
    interval_seconds: Count | None = None
    timeout_seconds: Count | None = None
    http_status_codes_for_ready: list[int] | None = None
    preserve_last_response: bool | None = None


class UpgradeStrategy(Part):
    """How many instances may be missing and how many too many meanwhile, as shares."""

    minimum_health_capacity: Share | None = None
    maximum_over_capacity: Share | None = None


class UnreachableStrategy(Part):
    """When instances of an unreachable agent are replaced, and forgotten."""

    inactive_after_seconds: Count | None = None
    expunge_after_seconds: Count | None = None


class Fetch(Part):
    """A file that the agent fetches."""

    uri: str
    executable: bool | None = None
    extract: bool | None = None
    cache: bool | None = None
    dest_path: str | None = None


class SecretSource(Part):
    """Where a secret plugin finds a secret; its value is never part of a definition."""

    source: str


class AppDefinition(Part):
    """An app."""

    id: Id
    cmd: str | None = None
    args: list[str] | None = None
    instances: Count | None = None
    cpus: NotNegative | None = None
    mem: NotNegative | None = None
    disk: NotNegative | None = None
    gpus: Count | None = None
    resource_limits: Json | None = None
    container: Container | None = None
    networks: list[Network] | None = None
    port_definitions: list[PortDefinition] | None = None
    ports: list[Port] | None = None
    require_ports: bool | None = None
    ip_address: Json | None = None
    constraints: list[Constraint] | None = None
    accepted_resource_roles: list[str] | None = None
    role: str | None = None
    user: str | None = None
    env: dict[str, Any] | None = None
    labels: Labels | None = None
    secrets: dict[str, SecretSource] | None = None
    fetch: list[Fetch] | None = None
    uris: list[str] | None = None
    store_urls: list[str] | None = None
    dependencies: list[str] | None = None
    health_checks: list[HealthCheck] | None = None
    readiness_checks: list[ReadinessCheck] | None = None
    check: Json | None = None
    upgrade_strategy: UpgradeStrategy | None = None
    unreachable_strategy: UnreachableStrategy | Literal["disabled"] | None = None
    kill_selection: Literal["YOUNGEST_FIRST", "OLDEST_FIRST"] | None = None
    task_kill_grace_period_seconds: Count | None = None
    backoff_seconds: Count | None = None
    backoff_factor: Annotated[float, Field(ge=1)] | None = None
    max_launch_delay_seconds: Count | None = None
    executor: str | None = None
    residency: Json | None = None
    tty: bool | None = None

    @model_validator(mode="after")
    def _check_command(self) -> AppDefinition:
        if self.cmd is not None and self.args is not None:
            msg = "expected cmd or args, saw both: Marathon takes one of them"
            raise ValueError(msg)
        if self.cmd is None and self.args is None and self.container is None:
            msg = "expected a cmd, args or a container, saw none: nothing would run"
            raise ValueError(msg)
        return self


def read_app(definition: Mapping[str, Any], parent: str = "/") -> Json:
    """Check an app's definition; returns what is sent, with absolute ids.

    Raises:
        DefinitionError: it is not one; the message names each field that is wrong.
    """
    what = str(definition.get("id", "an app"))
    try:
        checked = AppDefinition.model_validate(dict(definition))
    except ValidationError as error:
        raise DefinitionError(_told(what, error)) from None
    app: Json = checked.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if app.get("dependencies"):
        app["dependencies"] = _dependencies(what, app["dependencies"], parent)
    return app


def read_group(definition: Mapping[str, Any], parent: str = "/") -> Json:
    """Check a group's definition with all groups and apps in it; ids come out absolute.

    Raises:
        DefinitionError: it is not one, or an id stands outside of its group.
    """
    unknown = definition.keys() - {"id", "apps", "groups", "dependencies"}
    try:
        group_id = absolute(str(definition["id"]), parent)
    except (KeyError, ValueError) as error:
        msg = f"expected a group with an id, saw {error}"
        raise DefinitionError(msg) from None
    if unknown:
        msg = (
            f"expected id, apps, groups and dependencies in group {group_id}, saw "
            f"{', '.join(sorted(unknown))}: pods are not declared here"
        )
        raise DefinitionError(msg)
    group: Json = {"id": group_id, "apps": [], "groups": []}
    for app in definition.get("apps") or ():
        app_id = absolute(str(app.get("id", "")), group_id)
        group["apps"].append(read_app({**app, "id": app_id}, group_id))
    for inner in definition.get("groups") or ():
        group["groups"].append(read_group(inner, group_id))
    # Sent where there are none, too: Marathon keeps the old ones of a group that names none.
    group["dependencies"] = _dependencies(group_id, definition.get("dependencies"), group_id)
    for child in (*group["apps"], *group["groups"]):
        if not child["id"].startswith(group_id.rstrip("/") + "/"):
            msg = f"expected {child['id']} to stand below {group_id}: correct one of the ids"
            raise DefinitionError(msg)
    return group


def absolute(path: str, parent: str) -> str:
    """An id as an absolute path; `.` and `..` are resolved, as Marathon does.

    Raises:
        ValueError: it is no id.
    """
    segments = [] if path.startswith("/") else parent.strip("/").split("/")
    for one in path.split("/"):
        if one == "..":
            segments = segments[:-1]
        elif one != ".":
            segments.append(one)
    return check_id("/" + "/".join(one for one in segments if one))


def _dependencies(what: str, given: Any, parent: str) -> list[str]:
    try:
        return [absolute(str(one), parent) for one in given or ()]
    except ValueError as error:
        msg = f"expected dependencies of {what} that are ids: {error}"
        raise DefinitionError(msg) from None


def _told(what: str, error: ValidationError) -> str:
    problems: list[str] = []
    for one in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in one["loc"]) or "it"
        unknown = one["type"] == "extra_forbidden"
        problems.append(f"{where}: {'no such field of Marathon' if unknown else one['msg']}")
    return f"expected a definition of {what} that Marathon takes, saw {'; '.join(problems)}"

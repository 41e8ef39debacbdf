"""Pages of docs/reference: what can be declared for a task, from the code that declares it.

`python -m stacks.reference` writes them; a test fails where one differs from the code. A page has
the docstrings of its modules, the fields of their arguments and of the keys of configuration, and
an example that a test deploys. Whoever adds a component adds a `Page` to `PAGES`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

import pulumi
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = CHECKOUT / "docs" / "reference"
_EXAMPLES = "examples/clusters"
_HEAD = "<!-- Written by `python -m stacks.reference` from the code; change that. -->\n"


@dataclass(frozen=True)
class Page:
    """One page. `modules` are those whose public classes it tells of; `keys` are names of models
    of stack configuration, as `module:Class`. A module with a function `listed` has a table of what
    it declares as values."""

    file: str
    title: str
    tasks: str
    modules: tuple[str, ...]
    keys: tuple[str, ...]
    example: str


PAGES = (
    Page(
        "zookeeper.md",
        "ZooKeeper ensemble",
        "2",
        ("components.zookeeper", "components.zookeeper_image", "controllers.caretaker.membership"),
        ("stacks.cluster_spec:ZooKeeperConfig", "stacks.kubernetes_config:TlsConfig",
         "stacks.kubernetes_config:IssuerConfig", "stacks.kubernetes_config:SnapshotsConfig"),
        "ha.yaml",
    ),
    Page(
        "masters.md",
        "Mesos masters",
        "1, 13, 14",
        ("components.mesos.masters", "components.mesos.engine", "controllers.caretaker.rolling",
         "controllers.caretaker.copies", "controllers.caretaker.settings"),
        ("stacks.cluster_spec:MastersConfig", "stacks.cluster_spec:DomainConfig",
         "stacks.cluster_spec:EngineConfig"),
        "ha.yaml",
    ),
    Page(
        "agents.md",
        "Mesos agents",
        "3, 5, 6, 15",
        ("components.mesos.agents", "components.mesos.isolation", "controllers.node_check.decide",
         "controllers.caretaker.draining"),
        ("stacks.cluster_spec:AgentsConfig", "stacks.cluster_spec:PoolConfig",
         "stacks.cluster_spec:IsolationConfig", "stacks.cluster_spec:CachesConfig"),
        "multi-tenant.yaml",
    ),
    Page(
        "tenancy.md",
        "Tenants and frameworks",
        "4, 11",
        ("components.mesos.access", "components.mesos.quota", "components.mesos.weight"),
        ("stacks.cluster_spec:TenantConfig", "stacks.cluster_spec:PrincipalConfig",
         "stacks.kubernetes_config:MastersReachedConfig"),
        "multi-tenant.yaml",
    ),
    Page(
        "marathon.md",
        "Marathon and its apps",
        "7, 8, 9, 12",
        ("components.marathon.service", "components.marathon.flags", "components.marathon.real",
         "components.marathon.backup", "components.marathon.app",
         "components.marathon.group", "components.marathon.rollout",
         "components.marathon.versions"),
        ("stacks.cluster_spec:MarathonConfig", "stacks.cluster_spec:MarathonBackupConfig"),
        "ha.yaml",
    ),
    Page(
        "monitoring.md",
        "Metrics, alerts and the way to web interfaces",
        "16, 18",
        ("components.monitoring.exporter", "components.monitoring.telemetry",
         "components.monitoring.alert", "components.monitoring.alerts",
         "components.monitoring.dashboards",
         "components.network.web_route"),
        ("stacks.services_spec:MetricsConfig", "stacks.services_spec:WebRouteConfig",
         "stacks.services_spec:WebTlsConfig"),
        "ha.yaml",
    ),
    Page(
        "sync.md",
        "Sync engine and migration",
        "24, 36",
        ("components.sync",),
        ("stacks.config:MigrationConfig", "stacks.config:BoundsConfig"),
        "migrating.yaml",
    ),
    Page(
        "logging.md",
        "Logs",
        "17",
        ("components.monitoring.log_stack", "components.monitoring.elasticsearch",
         "components.monitoring.shipping", "components.monitoring.logs",
         "components.monitoring.log_lines", "controllers.log_keeper.settings"),
        ("stacks.services_spec:LoggingConfig",),
        "ha.yaml",
    ),
    Page(
        "container-networks.md",
        "Networks of containers",
        "19",
        ("components.network.cni", "controllers.node_network.profiles",
         "controllers.node_network.settings"),
        ("stacks.networks_spec:NetworksConfig", "stacks.networks_spec:BridgeConfig",
         "stacks.networks_spec:OverlayConfig"),
        "ha.yaml",
    ),
    Page(
        "discovery.md",
        "Names and load balancing",
        "10, 20",
        ("components.network.discovery", "components.network.mesos_dns",
         "components.network.stub_zone",
         "components.network.registrator", "controllers.registrator.settings",
         "components.network.edge", "controllers.edge.settings"),
        ("stacks.services_spec:DiscoveryConfig", "stacks.services_spec:StubZoneConfig",
         "stacks.services_spec:EdgeConfig"),
        "ha.yaml",
    ),
    Page(
        "secrets.md",
        "Access, secrets and hardening",
        "21, 22, 23",
        ("components.security.secrets", "components.security.encryption",
         "components.targets.hardening", "components.targets.pods", "components.network.policies",
         "components.targets.image"),
        ("stacks.kubernetes_config:KubernetesConfig", "stacks.kubernetes_config:ImagesConfig",
         "stacks.kubernetes_config:SecretStoreConfig"),
        "multi-tenant.yaml",
    ),
    Page(
        "probe.md",
        "The probe",
        "36, 41",
        ("components.monitoring.probe", "components.monitoring.probe_settings",
         "components.monitoring.probe_watch", "components.monitoring.probe_pods",
         "components.monitoring.permissions"),
        ("stacks.services_spec:ProbeConfig", "stacks.services_spec:ProbeTlsConfig"),
        "ha.yaml",
    ),
)  # fmt: skip


def render(page: Page) -> str:
    """The text of a page."""
    parts = [_HEAD, f"# {page.title}\n", f"Tasks {page.tasks} of the roadmap.\n"]
    parts.append("## Configuration\n")
    parts += [_model(_named(key)) for key in page.keys]
    parts.append(f"## Example\n\n`{_EXAMPLES}/{page.example}`, which a test deploys:\n")
    text = (CHECKOUT / _EXAMPLES / page.example).read_text()
    parts.append(f"```yaml\n{text}```\n")
    parts.append("## What it is made of\n")
    for name in page.modules:
        parts += _module(name)
    return "\n".join(parts)


def _named(key: str) -> type[BaseModel]:
    module, _, name = key.partition(":")
    return getattr(importlib.import_module(module), name)


def _module(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    yield f"### `{name}`\n\n{inspect.getdoc(module)}\n"
    own = [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == name and not each.__name__.startswith("_")
    ]
    for each in sorted(own, key=lambda one: inspect.getsourcelines(one)[1]):
        if issubclass(each, BaseModel):
            yield _model(each)
        else:
            yield _class(each)
    if hasattr(module, "listed"):
        yield _table(*module.listed())


def _class(each: type[Any]) -> str:
    lines = [f"#### `{each.__name__}`\n", _doc(each)]
    if issubclass(each, Enum):
        lines.append(f"Values: {', '.join(f'`{one.value}`' for one in each)}.\n")
    elif dataclasses.is_dataclass(each):
        rows = [(f.name, str(f.type), _default(f)) for f in dataclasses.fields(each)]
        lines.append(_table(("argument", "type", "default"), rows))
    elif issubclass(each, pulumi.Resource):
        known = inspect.get_annotations(each)
        if known:
            rows = [(name, str(type_)) for name, type_ in known.items()]
            lines.append(_table(("output", "type"), rows))
    return "\n".join(line for line in lines if line)


def _model(model: type[BaseModel]) -> str:
    rows: list[tuple[str, ...]] = []
    said = _said_of_keys(model)
    for name, field in model.model_fields.items():
        if field.is_required():
            default = "required"
        elif field.default is PydanticUndefined:
            default = _value(field.get_default(call_default_factory=True))
        else:
            default = _value(field.default)
        rows.append((name, _type(model, name), default, " ".join(said.get(name, "").split())))
    head = f"#### `{model.__name__}`\n\n{_doc(model)}"
    return f"{head}\n{_table(('key', 'type', 'default', 'what it says'), rows)}"


def _said_of_keys(model: type[BaseModel]) -> dict[str, str]:
    """The text below each key, of the class itself before what it inherits."""
    said: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, BaseModel) or each is BaseModel:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(tree, ast.ClassDef)
        for key, text in itertools.pairwise(tree.body):
            match key, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    said[name] = inspect.cleandoc(words)
                case _:
                    pass
    return said


def _type(model: type[BaseModel], name: str) -> str:
    for each in model.__mro__:
        found: Any = inspect.get_annotations(each).get(name)
        if found is not None:
            return str(found)
    return ""


def _doc(each: type[Any]) -> str:
    # A dataclass without a docstring has its signature for one.
    own = cast("str | None", each.__dict__.get("__doc__"))
    if not own or own.startswith(f"{each.__name__}("):
        return ""
    return f"{inspect.cleandoc(own)}\n"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _value(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _value(field.default_factory())
    return "required"


def _value(value: Any) -> str:
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return f"`{type(value).__name__}()`"
    return f"`{value!r}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        escaped = [cell.replace("|", "\\|") for cell in cells]
        return f"| {' | '.join(escaped)} |"

    coded = [(f"`{row[0]}`", f"`{row[1]}`", *row[2:]) for row in rows]
    return "\n".join([line(head), line(("---",) * len(head)), *map(line, coded)]) + "\n"


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for page in PAGES:
        (FOLDER / page.file).write_text(render(page))
    sys.stdout.write(f"{len(PAGES)} pages in {FOLDER}\n")


if __name__ == "__main__":
    main()

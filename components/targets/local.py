"""Workloads as processes of this machine, which outlive the update that declares them.

A member of a workload is one dynamic resource (`LocalProcess`) over a program of supervisord; the
work is done in components.targets.process. `read` and `diff` are real: a refresh sees a process
that was stopped or changed by hand, and the next update mends it. Pulumi pickles a provider by
reference to its class, so providers live here, take no arguments, and look alike in every run.

Secrets are files that `LocalSecrets` makes once; state holds their paths, never their contents.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, UpdateResult
from pulumi.dynamic import Resource as DynamicResource

from components import whole_file
from components.dynamic import Provider, for_people
from components.errors import ArgumentsError
from components.mesos.access import (
    AGENT,
    AGENT_SECRET,
    MARATHON,
    MARATHON_SECRET,
    OPERATOR,
    SAMPLE,
    SAMPLE_SECRET,
)
from components.targets import port_map, process, run_folder
from components.targets.ports import LOOPBACK
from components.targets.process import ProcessSpec
from components.targets.readiness import Check
from components.targets.supervisor import python
from components.workload import Endpoint, Member, PortRole, Readiness, Secret, Workload

OBSERVED = "observed"
SECRETS = (*map(str, Secret), AGENT_SECRET, MARATHON_SECRET, SAMPLE_SECRET)
# Who each of them is the secret of; the others are no more than a word.
_PRINCIPALS = {
    Secret.ZOOKEEPER_SUPER: "super",
    Secret.MESOS_OPERATOR: OPERATOR,
    AGENT_SECRET: AGENT,
    MARATHON_SECRET: MARATHON,
    SAMPLE_SECRET: SAMPLE,
}


class LocalProvider(Provider):
    """What the providers of this target share."""


class LocalProcessProvider(LocalProvider):
    """Create, read, update and delete one process."""

    @for_people
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Write its files, start it, wait until it is ready; adopts one that is there already."""
        spec = ProcessSpec.from_properties(props)
        process.realise(spec, create=True)
        return CreateResult(spec.name, _outputs(spec))

    @for_people
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Tell what really runs."""
        spec = ProcessSpec.from_properties(props)
        seen = process.observe(spec)
        if seen is None:
            return ReadResult("", {})
        return ReadResult(id_, {**spec.properties, OBSERVED: seen})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare what is asked for with what was asked for, and with what a refresh saw."""
        old, new = ProcessSpec.from_properties(_olds), ProcessSpec.from_properties(_news)
        moved = [key for key in ("name", "run_dir") if _olds[key] != _news[key]]
        drifted = _olds.get(OBSERVED, process.expected(old)) != process.expected(old)
        return DiffResult(
            changes=bool(moved) or drifted or new.differs_from(old),
            replaces=moved,
            delete_before_replace=True,
        )

    @for_people
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Restart it when its command, files or environment changed; start or stop it."""
        spec = ProcessSpec.from_properties(_news)
        process.realise(spec, create=False)
        return UpdateResult(_outputs(spec))

    @for_people
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Stop it and all that it left running; keep its volumes."""
        process.withdraw(ProcessSpec.from_properties(_props))


def _outputs(spec: ProcessSpec) -> dict[str, Any]:
    return {**spec.properties, OBSERVED: process.expected(spec)}


class LocalProcess(DynamicResource, module="local", name="Process"):
    """One process under supervisord."""

    def __init__(self, spec: ProcessSpec, opts: pulumi.ResourceOptions) -> None:
        super().__init__(LocalProcessProvider(), spec.name, {**spec.properties}, opts)


class LocalReadinessProvider(LocalProvider):
    """Wait for conditions that only all members of a workload together can fulfil."""

    @for_people
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait, with the bound of each check."""
        self._await(props)
        return CreateResult(str(props["name"]), dict(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Changed conditions are waited for again."""
        return DiffResult(changes=_olds.get("conditions") != _news.get("conditions"))

    @for_people
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Wait again."""
        self._await(_news)
        return UpdateResult(dict(_news))

    def _await(self, props: dict[str, Any]) -> None:
        for condition in props["conditions"]:
            check = Check.from_properties(condition["check"])
            spec = ProcessSpec(
                name=str(condition["process"]),
                run_dir=str(props["run_dir"]),
                argv=(),
                config_file="",
                config="",
            )
            process.await_check(check, spec, bound=check.timeout_s)


class LocalReadiness(DynamicResource, module="local", name="Readiness"):
    """A workload serves as a whole, not only its members each by itself."""


class LocalSecretsProvider(LocalProvider):
    """Make files of random content, once."""

    @for_people
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make what is missing; files that are there keep their content."""
        directory = Path(str(props["directory"]))
        run_folder.claim(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)
        for name in props["names"]:
            _make_secret(directory / str(name))
        return CreateResult(str(directory), dict(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Gone when any file is gone: creating makes what is missing."""
        directory = Path(str(props["directory"]))
        if all((directory / str(name)).is_file() for name in props["names"]):
            return ReadResult(id_, dict(props))
        return ReadResult("", {})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another folder is another set of files; in the same one, those that are kept stay."""
        changed = [key for key in ("directory", "names") if _olds.get(key) != _news.get(key)]
        replaces = [key for key in changed if key == "directory"]
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=False)

    @for_people
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Make what is missing; remove what is no longer named."""
        self.create(_news)
        for name in set(_olds["names"]) - set(_news["names"]):
            (Path(str(_news["directory"])) / str(name)).unlink(missing_ok=True)
        return UpdateResult(dict(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the files."""
        directory = Path(str(_props["directory"]))
        for name in _props["names"]:
            (directory / str(name)).unlink(missing_ok=True)


def _make_secret(path: Path) -> None:
    if path.exists():
        return
    value = secrets.token_hex(24)
    name = _PRINCIPALS.get(path.name)
    whole_file.write(path, f"{value}\n" if name is None else f"{name}:{value}\n")


class LocalSecrets(DynamicResource, module="local", name="Secrets"):
    """The secret files of a local stack."""

    def __init__(self, directory: Path, opts: pulumi.ResourceOptions) -> None:
        properties = {"directory": str(directory), "names": list(SECRETS)}
        super().__init__(LocalSecretsProvider(), "secrets", properties, opts)


class LocalTarget:
    """Runs workloads on this machine, those of a stack below one folder and in one port block."""

    def __init__(self, run_dir: Path, port_base: int) -> None:
        self.run_dir = run_dir
        self.port_base = port_base

    def listen_host(self) -> str:
        """Loopback, always: nothing here is protected enough for a network."""
        return LOOPBACK

    def endpoint(self, workload: str, color: str | None, role: PortRole, index: int) -> Endpoint:
        """Address of a member's port.

        Raises:
            ArgumentsError: the block of ports has no place for so many members.
        """
        count = port_map.room_for(role)
        if index >= count:
            msg = (
                f"{workload}: on one machine there is room for {count} {role} ports, "
                f"member {index} would be one more. Declare fewer replicas"
            )
            raise ArgumentsError(msg)
        return Endpoint(LOOPBACK, self.port_base + port_map.offset_of(role, color) + index)

    @property
    def has_nodes(self) -> bool:
        """One machine, on which every process has ports of its own."""
        return False

    def task_ports(self, color: str, index: int) -> tuple[int, int] | None:
        """A few of the block: agents share this machine with those of other stacks."""
        first, last = port_map.task_ports(color, index)
        return self.port_base + first, self.port_base + last

    def directory(self, member: str) -> str:
        """Folder of a member, which holds its rendered file, volumes and output."""
        return str(self.run_dir / member)

    def private_dir(self, member: str) -> str:
        """Beside the member's volumes; whoever is to read it, as with the secrets themselves."""
        return str(self.run_dir / member / "private")

    def secret(self, secret: str) -> str:
        """File that holds a secret."""
        return str(self.run_dir / "secrets" / secret)

    def certificate_dir(self) -> str:
        """Connections of one machine are not encrypted: all of them are on loopback."""
        msg = "expected no TLS on target local, whose connections are on loopback: leave it out"
        raise ArgumentsError(msg)

    def declare_secrets(self, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Declare the secret files, which every other process may need."""
        return LocalSecrets(self.run_dir / "secrets", opts)

    def run(
        self,
        workload: Workload,
        *,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource],
        protect: bool,
    ) -> list[pulumi.Resource]:
        """Declare one process a member, and the condition that they fulfil together."""
        opts = pulumi.ResourceOptions(parent=parent, depends_on=list(depends_on), protect=protect)
        specs = [self._spec(workload, member) for member in workload.members]
        processes: list[pulumi.Resource] = [LocalProcess(spec, opts) for spec in specs]
        if workload.serving is None:
            return processes
        conditions = [
            {
                "process": member.name,
                "check": self._check(workload.serving, member).properties,
            }
            for member in workload.members
        ]
        ready = LocalReadiness(
            LocalReadinessProvider(),
            f"{workload.name}-ready",
            {"name": workload.name, "run_dir": str(self.run_dir), "conditions": conditions},
            pulumi.ResourceOptions(parent=parent, depends_on=processes, protect=protect),
        )
        return [ready]

    def _spec(self, workload: Workload, member: Member) -> ProcessSpec:
        config_file = f"{member.name}{workload.config_suffix}"
        directory = self.directory(member.name)
        places = {"{config}": str(Path(directory, config_file)), "{directory}": directory}
        words = (*workload.program.command, *workload.arguments)
        argv = [places.get(word, word) for word in words]
        if argv[0] == "python":
            argv[0] = python()
        return ProcessSpec(
            name=member.name,
            run_dir=str(self.run_dir),
            argv=tuple(argv),
            config_file=config_file,
            config=member.config,
            ports=tuple(member.ports.values()),
            volumes=workload.volumes,
            environment=workload.environment,
            check=self._check(workload.readiness, member) if workload.readiness else None,
            running=workload.running,
            fresh=workload.fresh,
            leaves_children=workload.leaves_children,
            stop_timeout_s=workload.stop_timeout_s,
        )

    def _check(self, readiness: Readiness, member: Member) -> Check:
        port = member.ports[readiness.port]
        return Check(readiness.probe, LOOPBACK, port, readiness.path, float(readiness.timeout_s))

"""What stands in front of a member in its pod: a look at the node, and what is put on it."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi_kubernetes import core

from components.errors import ArgumentsError
from components.targets.hardening import Container
from components.targets.image import check_image
from components.workload import NodeSetup, Workload

_MEMORY = {"memory": "64Mi"}
_PERIOD_S = 1
_STARTS_S_MAX = 120


def files(workload: Workload) -> dict[str, str]:
    """Files of theirs, beside those of members."""
    setup = workload.on_nodes.setup
    return {} if setup is None else {_file(setup): setup.config}


def folders(workload: Workload) -> dict[str, str]:
    """Names of volumes, and the folders of the node that they fill, as the member finds them."""
    setup = workload.on_nodes.setup
    return {} if setup is None else {f"node-{setup.name}": setup.folder}


def folder_mounts(workload: Workload) -> list[core.v1.VolumeMountArgs]:
    """The member's mounts of them."""
    return [
        core.v1.VolumeMountArgs(name=name, mount_path=path)
        for name, path in folders(workload).items()
    ]


def declare(
    workload: Workload,
    mounts: Sequence[core.v1.VolumeMountArgs],
    config_dir: str,
    address: core.v1.EnvVarArgs,
) -> list[core.v1.ContainerArgs]:
    """All of them, in their order. `mounts` are the member's; `address` tells the pod's own."""
    return [*_checks(workload, mounts), *_setups(workload, config_dir, address)]


def _checks(
    workload: Workload, mounts: Sequence[core.v1.VolumeMountArgs]
) -> list[core.v1.ContainerArgs]:
    """What refuses a node that is not fit, with the reason, before the member starts there."""
    if not workload.on_nodes.check_command:
        return []
    reading = [
        core.v1.VolumeMountArgs(name=mount.name, mount_path=mount.mount_path, read_only=True)
        for mount in mounts
        if mount.name != "config"
    ]
    return [
        core.v1.ContainerArgs(
            name="node-check",
            image=workload.program.image,
            command=list(workload.on_nodes.check_command),
            security_context=Container().args(),
            volume_mounts=reading,
        )
    ]


def _setups(
    workload: Workload, config_dir: str, address: core.v1.EnvVarArgs
) -> list[core.v1.ContainerArgs]:
    """What puts things on the node. It goes on beside the member: an init container that is always
    started again, of which others wait for the start and not for the end."""
    setup = workload.on_nodes.setup
    if setup is None:
        return []
    if setup.program.image is None:
        msg = f"{workload.name}: expected an image that sets nodes up ({setup.name}), saw none"
        raise ArgumentsError(msg)
    tmp = setup.ready_file.rpartition("/")[0]
    return [
        core.v1.ContainerArgs(
            name=setup.name,
            image=check_image(setup.program.image),
            command=[*setup.program.command, "--config", f"{config_dir}/{_file(setup)}"],
            env=[address],
            restart_policy="Always",
            resources=core.v1.ResourceRequirementsArgs(
                requests={"cpu": "10m", **_MEMORY}, limits=_MEMORY
            ),
            startup_probe=core.v1.ProbeArgs(
                exec_=core.v1.ExecActionArgs(command=["test", "-e", setup.ready_file]),
                period_seconds=_PERIOD_S,
                failure_threshold=_STARTS_S_MAX // _PERIOD_S,
            ),
            # What it does to the node, and no more: see components.network.cni.
            security_context=Container(adds=setup.capabilities).args(),
            volume_mounts=[
                core.v1.VolumeMountArgs(name="config", mount_path=config_dir, read_only=True),
                core.v1.VolumeMountArgs(name="tmp", mount_path=tmp),
                *folder_mounts(workload),
            ],
        )
    ]


def _file(setup: NodeSetup) -> str:
    return f"{setup.name}.json"

"""Pods of a workload, and what every one of them must have.

One place, so that no component can forget it: the hardening that all pods share
(components.targets.hardening), bounds of memory, and members on hosts of their own.

Agents are the exception. They start other people's containers, so they are the node's: its network
(an agent is its address), its processes, and a folder of it under the same path inside and outside.
They lie in a namespace of their own, which says so.
"""

from __future__ import annotations

import hashlib
import shlex

from pulumi_kubernetes import core
from pulumi_kubernetes import meta as k8s_meta

from components.targets import hardening, init_containers
from components.workload import NODE_NAME, POD_IP, Probe, Readiness, Shape, Spread, Workload

CONFIG_DIR = "/etc/mesos-platform"
STATE_DIR = "/var/lib/mesos-platform"
SECRETS_DIR = "/run/secrets/mesos-platform"
CERTIFICATE_DIR = "/run/secrets/mesos-platform-tls"
PRIVATE_DIR = "/run/mesos-platform"
SECRETS_OBJECT = "mesos-platform"
CONFIG_DIGEST = "mesos-platform/config-digest"
_RUNTIME_DIR = "/var/run/mesos"
_CGROUPS_DIR = "/sys/fs/cgroup"
_CERTIFICATE_FILES = ("tls.crt", "tls.key", "ca.crt")
_MEMBER = "MEMBER"
# Of what is made of secrets: a few lines.
_PRIVATE_BYTES_MAX = "1Mi"
_STOP_S_MIN = 30
_PERIOD_S = 5
# A server may have to read gigabytes before it opens its port.
_START_PERIODS_MAX = 120
_TROUBLED_PERIODS_MAX = 6


def labels(workload: Workload) -> dict[str, str]:
    """What tells a workload's objects from others."""
    found = {
        "app.kubernetes.io/name": workload.name,
        "app.kubernetes.io/component": workload.tier,
        "app.kubernetes.io/part-of": "mesos-platform",
    }
    if workload.color:
        found["mesos-platform/color"] = workload.color
    return found


def state_dir(workload: str) -> str:
    """Where a member finds its own folder, and an agent's host has it too."""
    return f"{STATE_DIR}/{workload}"


def files(workload: Workload) -> dict[str, str]:
    """What pods of a workload find in `CONFIG_DIR`."""
    found = {f"{m.name}{workload.config_suffix}": m.config for m in workload.members}
    return found | init_containers.files(workload)


def template(workload: Workload, spread: Spread) -> core.v1.PodTemplateSpecArgs:
    """What every pod of a workload is made from; another configuration is another pod."""
    text = "\0".join(f"{member.name}\0{member.config}" for member in workload.members)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return core.v1.PodTemplateSpecArgs(
        metadata=k8s_meta.v1.ObjectMetaArgs(
            labels=labels(workload), annotations={CONFIG_DIGEST: digest}
        ),
        spec=_pod(workload, spread),
    )


def _pod(workload: Workload, spread: Spread) -> core.v1.PodSpecArgs:
    on_node = workload.shape is Shape.PER_NODE
    # Whatever user their image is made for: agents are the node's, and so is their folder.
    user = hardening.ROOT if on_node else workload.user or hardening.USER
    return core.v1.PodSpecArgs(
        **hardening.Pod(user, asks_api=bool(workload.api_rules)).args(),
        service_account_name=workload.name if workload.api_rules else None,
        node_selector=dict(workload.on_nodes.selector) or None,
        tolerations=[
            core.v1.TolerationArgs(key=key, operator="Exists")
            for key in workload.on_nodes.tolerations
        ]
        or None,
        host_network=True if on_node else None,
        host_pid=True if on_node else None,
        # Names of Services, which a node's own resolver does not know.
        dns_policy="ClusterFirstWithHostNet" if on_node else None,
        termination_grace_period_seconds=max(_STOP_S_MIN, workload.stop_timeout_s),
        affinity=None if on_node else _affinity(workload, spread),
        topology_spread_constraints=None if on_node else _zones(workload, spread),
        init_containers=init_containers.declare(
            workload, _mounts(workload), CONFIG_DIR, _from_pod(POD_IP, "status.podIP")
        )
        or None,
        containers=[_container(workload)],
        volumes=_volumes(workload),
    )


def _affinity(workload: Workload, spread: Spread) -> core.v1.AffinityArgs | None:
    if len(workload.members) == 1:
        return None
    apart = core.v1.PodAffinityTermArgs(
        topology_key="kubernetes.io/hostname",
        label_selector=k8s_meta.v1.LabelSelectorArgs(match_labels=labels(workload)),
    )
    if spread is Spread.ANY:
        wish = core.v1.WeightedPodAffinityTermArgs(weight=100, pod_affinity_term=apart)
        rule = core.v1.PodAntiAffinityArgs(
            preferred_during_scheduling_ignored_during_execution=[wish]
        )
    else:
        rule = core.v1.PodAntiAffinityArgs(
            required_during_scheduling_ignored_during_execution=[apart]
        )
    return core.v1.AffinityArgs(pod_anti_affinity=rule)


def _zones(workload: Workload, spread: Spread) -> list[core.v1.TopologySpreadConstraintArgs] | None:
    if len(workload.members) == 1:
        return None
    return [
        core.v1.TopologySpreadConstraintArgs(
            max_skew=1,
            topology_key="topology.kubernetes.io/zone",
            when_unsatisfiable="DoNotSchedule" if spread is Spread.ZONES else "ScheduleAnyway",
            label_selector=k8s_meta.v1.LabelSelectorArgs(match_labels=labels(workload)),
        )
    ]


def _container(workload: Workload) -> core.v1.ContainerArgs:
    on_node = workload.shape is Shape.PER_NODE
    memory = f"{workload.needs.memory_mb}Mi"
    port = _started_port(workload)
    started = None if port is None else core.v1.TCPSocketActionArgs(port=port)
    return core.v1.ContainerArgs(
        name=workload.tier,
        image=workload.program.image,
        command=_command(
            workload, (*workload.program.command, *workload.arguments), f"$({_MEMBER})"
        ),
        env=[
            _from_pod(_MEMBER, "metadata.name"),
            # Who binds every address must tell others one that leads to it.
            _from_pod(POD_IP, "status.podIP"),
            # Every node's agent has the same file, so it learns here which node it is.
            *([_from_pod(NODE_NAME, "spec.nodeName")] if on_node else []),
            *(core.v1.EnvVarArgs(name=k, value=v) for k, v in workload.environment.items()),
        ],
        ports=[
            core.v1.ContainerPortArgs(name=str(role), container_port=port)
            for role, port in workload.members[0].ports.items()
        ],
        resources=core.v1.ResourceRequirementsArgs(
            requests={"cpu": f"{round(workload.needs.cpus * 1000)}m", "memory": memory},
            # None of processors: a pod that is held back answers late, and leaders lose sessions.
            limits={"memory": memory},
        )
        # What an agent uses is what its tasks do.
        if not on_node
        else None,
        startup_probe=started
        and core.v1.ProbeArgs(
            tcp_socket=started, period_seconds=_PERIOD_S, failure_threshold=_START_PERIODS_MAX
        ),
        liveness_probe=started
        and core.v1.ProbeArgs(
            tcp_socket=started,
            period_seconds=2 * _PERIOD_S,
            failure_threshold=_TROUBLED_PERIODS_MAX,
        ),
        readiness_probe=_probe(workload),
        # An agent mounts, makes control groups and becomes the users of its tasks.
        security_context=hardening.Container(is_node=on_node).args(),
        volume_mounts=_mounts(workload),
    )


def _command(workload: Workload, words: tuple[str, ...], member: str) -> list[str]:
    """Words with their places filled in; a member finds its file by its pod's name."""
    if workload.shape is not Shape.STATEFUL:
        # Pods of a StatefulSet are named like members; those of others share the first one's file.
        member = workload.members[0].name
    places = {
        "{config}": f"{CONFIG_DIR}/{member}{workload.config_suffix}",
        "{directory}": state_dir(workload.name),
    }
    return [places.get(word, word) for word in words]


def _from_pod(name: str, path: str) -> core.v1.EnvVarArgs:
    field = core.v1.ObjectFieldSelectorArgs(field_path=path)
    source = core.v1.EnvVarSourceArgs(field_ref=field)
    return core.v1.EnvVarArgs(name=name, value_from=source)


def _started_port(workload: Workload) -> int | None:
    asked = workload.readiness or workload.serving
    return None if asked is None else workload.members[0].ports[asked.port]


def _probe(workload: Workload) -> core.v1.ProbeArgs | None:
    if workload.ready_command:
        # Unlike a container's command, a probe's is not expanded: a shell reads the variable.
        quoted = tuple(
            word if word.startswith("{") else shlex.quote(word) for word in workload.ready_command
        )
        words = _command(workload, quoted, f"${{{_MEMBER}}}")
        action = core.v1.ExecActionArgs(command=["sh", "-c", f"exec {' '.join(words)}"])
        return core.v1.ProbeArgs(
            exec_=action, period_seconds=10, timeout_seconds=10, failure_threshold=3
        )
    readiness = workload.serving or workload.readiness
    return None if readiness is None else _asked(workload, readiness)


def _asked(workload: Workload, readiness: Readiness) -> core.v1.ProbeArgs:
    port = workload.members[0].ports[readiness.port]
    match readiness.probe:
        case Probe.HTTP:
            return core.v1.ProbeArgs(
                http_get=core.v1.HTTPGetActionArgs(path=readiness.path, port=port),
                period_seconds=_PERIOD_S,
                failure_threshold=_TROUBLED_PERIODS_MAX,
            )
        case Probe.TCP | Probe.ZOOKEEPER:
            return core.v1.ProbeArgs(
                tcp_socket=core.v1.TCPSocketActionArgs(port=port),
                period_seconds=_PERIOD_S,
                failure_threshold=_TROUBLED_PERIODS_MAX,
            )


def _mounts(workload: Workload) -> list[core.v1.VolumeMountArgs]:
    on_node = workload.shape is Shape.PER_NODE
    state = core.v1.VolumeMountArgs(
        name="state",
        mount_path=state_dir(workload.name),
        # What an agent mounts for a task, the node and the next agent must see.
        mount_propagation="Bidirectional" if on_node else None,
    )
    mounts = [
        core.v1.VolumeMountArgs(name="config", mount_path=CONFIG_DIR, read_only=True),
        state,
        core.v1.VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 - the pod's own
    ]
    if workload.secrets:
        secrets = core.v1.VolumeMountArgs(name="secrets", mount_path=SECRETS_DIR, read_only=True)
        mounts.append(secrets)
    if workload.writes_secrets:
        mounts.append(core.v1.VolumeMountArgs(name="private", mount_path=PRIVATE_DIR))
    if workload.certificate:
        mounts.append(
            core.v1.VolumeMountArgs(name="certificate", mount_path=CERTIFICATE_DIR, read_only=True)
        )
    mounts += [
        core.v1.VolumeMountArgs(name=f"secret-{one.secret}", mount_path=one.folder, read_only=True)
        for one in workload.others_secrets
    ]
    if on_node:
        mounts += [
            core.v1.VolumeMountArgs(name="runtime", mount_path=_RUNTIME_DIR),
            core.v1.VolumeMountArgs(name="cgroups", mount_path=_CGROUPS_DIR),
            *(
                core.v1.VolumeMountArgs(name=_name_of(path), mount_path=path)
                for path in workload.on_nodes.paths
            ),
            *init_containers.folder_mounts(workload),
        ]
    return mounts


def _volumes(workload: Workload) -> list[core.v1.VolumeArgs]:
    volumes = [
        core.v1.VolumeArgs(
            name="config", config_map=core.v1.ConfigMapVolumeSourceArgs(name=workload.name)
        ),
        core.v1.VolumeArgs(name="tmp", empty_dir=core.v1.EmptyDirVolumeSourceArgs()),
    ]
    if workload.secrets:
        volumes.append(_secrets("secrets", SECRETS_OBJECT, workload.secrets))
    if workload.writes_secrets:
        # On no disk, and in no copy of a volume.
        memory = core.v1.EmptyDirVolumeSourceArgs(medium="Memory", size_limit=_PRIVATE_BYTES_MAX)
        volumes.append(core.v1.VolumeArgs(name="private", empty_dir=memory))
    volumes += [
        _secrets(f"secret-{one.secret}", one.secret, one.keys) for one in workload.others_secrets
    ]
    if workload.certificate:
        source = core.v1.SecretVolumeSourceArgs(
            secret_name=workload.certificate.secret,
            default_mode=0o440,
            items=[core.v1.KeyToPathArgs(key=file, path=file) for file in _CERTIFICATE_FILES],
        )
        volumes.append(core.v1.VolumeArgs(name="certificate", secret=source))
    if workload.shape is Shape.PER_NODE:
        # Must not outlive a reboot of the node: what it says of processes would be wrong.
        memory = core.v1.EmptyDirVolumeSourceArgs(medium="Memory")
        volumes += [
            _of_host("state", state_dir(workload.name), "DirectoryOrCreate"),
            _of_host("cgroups", _CGROUPS_DIR, "Directory"),
            core.v1.VolumeArgs(name="runtime", empty_dir=memory),
            *(_of_host(_name_of(path), path, "") for path in workload.on_nodes.paths),
            *(
                _of_host(name, path, "DirectoryOrCreate")
                for name, path in init_containers.folders(workload).items()
            ),
        ]
    elif not (workload.shape is Shape.STATEFUL and workload.volumes):
        volumes.append(
            core.v1.VolumeArgs(name="state", empty_dir=core.v1.EmptyDirVolumeSourceArgs())
        )
    return volumes


def _name_of(path: str) -> str:
    """Name of the volume for a path of the node."""
    return "node-" + path.strip("/").replace("/", "-").replace(".", "-").lower()


def _secrets(name: str, secret: str, wanted: tuple[str, ...]) -> core.v1.VolumeArgs:
    """Those that a workload names and no other: without names it would get all of them."""
    source = core.v1.SecretVolumeSourceArgs(
        secret_name=secret,
        default_mode=0o440,
        items=[core.v1.KeyToPathArgs(key=str(one), path=str(one)) for one in wanted],
    )
    return core.v1.VolumeArgs(name=name, secret=source)


def _of_host(name: str, path: str, kind: str) -> core.v1.VolumeArgs:
    source = core.v1.HostPathVolumeSourceArgs(path=path, type=kind)
    return core.v1.VolumeArgs(name=name, host_path=source)

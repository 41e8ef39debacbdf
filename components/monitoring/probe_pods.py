"""Pods of a cluster's probe: what they mount, what they may do, and how they are looked at.

Agents get the host's pid and network namespaces and the three capabilities that add something
(`probe agent doctor` names them), as root, whom the sockets of runtimes belong to, and outside of
AppArmor, whose usual profile hides the processes of others. Whoever watches the cluster gets
nothing of it, but credentials of Mesos where that is watched, which are files. Nobody writes
anywhere but into a folder in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pulumi_kubernetes import core, meta

from components.monitoring.probe_settings import (
    AGENT,
    CERTIFICATES,
    HOST_RUN,
    RUN,
    SETTINGS,
    TOKENS,
    WATCHER,
    ProbeArgs,
)
from components.monitoring.probe_watch import CREDENTIALS, WATCHED_SECRET
from components.targets.hardening import ROOT, Container, Pod

CAPABILITIES = ("DAC_READ_SEARCH", "NET_ADMIN", "SYS_PTRACE")
_HOSTED = {"host-run": ("/run", HOST_RUN), "cgroups": ("/sys/fs/cgroup", "/sys/fs/cgroup")}


def agent(args: ProbeArgs) -> core.v1.PodSpecArgs:
    """An agent of a node."""
    security = Container(
        adds=CAPABILITIES,
        # Sockets of runtimes are root's.
        user=ROOT,
        # Where a node has AppArmor, runtimes' own profile lets a process look at none of another
        # profile, whatever its capabilities: no owner of a connection would be known.
        app_armor="Unconfined",
    )
    hosted = {name: inside for name, (_, inside) in _HOSTED.items()}
    return core.v1.PodSpecArgs(
        **Pod(user=None).args(),
        host_pid=True,
        host_network=True,
        dns_policy="ClusterFirstWithHostNet",
        termination_grace_period_seconds=10,
        # Nodes that let no other pods in are looked at too.
        tolerations=[core.v1.TolerationArgs(operator="Exists")],
        containers=[_container(args, "agent", args.agent_memory_mb, security, hosted)],
        volumes=[*_volumes(AGENT, args), *_host_volumes()],
    )


def watcher(args: ProbeArgs, labels: Mapping[str, str]) -> core.v1.PodSpecArgs:
    """One of those that watch the cluster, on another node than those with the same labels."""
    apart = core.v1.PodAffinityTermArgs(
        topology_key="kubernetes.io/hostname",
        label_selector=meta.v1.LabelSelectorArgs(match_labels=labels),
    )
    wish = core.v1.WeightedPodAffinityTermArgs(weight=100, pod_affinity_term=apart)
    # Of Mesos; an agent of a node has none.
    credentials = {"credentials": CREDENTIALS} if args.watched.keys else {}
    return core.v1.PodSpecArgs(
        **Pod(asks_api=True).args(),
        service_account_name=WATCHER,
        termination_grace_period_seconds=10,
        affinity=core.v1.AffinityArgs(
            pod_anti_affinity=core.v1.PodAntiAffinityArgs(
                preferred_during_scheduling_ignored_during_execution=[wish]
            )
        ),
        containers=[_container(args, "watcher", args.watcher_memory_mb, Container(), credentials)],
        volumes=[
            *_volumes(WATCHER, args),
            *(_secret(volume, WATCHED_SECRET, args.watched.keys) for volume in credentials),
        ],
    )


def _container(
    args: ProbeArgs,
    name: str,
    memory_mb: int,
    security: Container,
    more: Mapping[str, str],
) -> core.v1.ContainerArgs:
    program, settings = list(args.program.command), ["--settings", f"{SETTINGS}/settings.json"]
    memory = f"{memory_mb}Mi"
    tokens = {"token": TOKENS} if args.token_secret else {}
    tls = {"tls": CERTIFICATES} if args.tls else {}
    mounts = {"settings": SETTINGS, **tokens, **tls, **more}
    # A collector in trouble is told of in the report: the others must not be ended for it.
    asked = [*program, "agent", "status", "--alive", *settings]
    return core.v1.ContainerArgs(
        name=name,
        image=args.program.image,
        command=[*program, "agent", "run", *settings],
        security_context=security.args(),
        resources=core.v1.ResourceRequirementsArgs(
            requests={"cpu": "50m", "memory": memory}, limits={"memory": memory}
        ),
        liveness_probe=core.v1.ProbeArgs(
            exec_=core.v1.ExecActionArgs(command=asked),
            initial_delay_seconds=30,
            period_seconds=60,
            timeout_seconds=10,
        ),
        volume_mounts=[
            core.v1.VolumeMountArgs(name="run", mount_path=RUN),
            *(
                core.v1.VolumeMountArgs(name=volume, mount_path=path, read_only=True)
                for volume, path in mounts.items()
            ),
        ],
    )


def _volumes(settings: str, args: ProbeArgs) -> list[core.v1.VolumeArgs]:
    memory = core.v1.EmptyDirVolumeSourceArgs(medium="Memory")
    found = [
        core.v1.VolumeArgs(
            name="settings", config_map=core.v1.ConfigMapVolumeSourceArgs(name=settings)
        ),
        core.v1.VolumeArgs(name="run", empty_dir=memory),
    ]
    if args.token_secret:
        found.append(_secret("token", args.token_secret, ("token",)))
    if args.tls:
        found.append(_secret("tls", args.tls.secret, args.tls.keys))
    return found


def _secret(volume: str, secret: str, keys: Sequence[str]) -> core.v1.VolumeArgs:
    """Those keys of a Secret and no other: without names all of them would be files."""
    source = core.v1.SecretVolumeSourceArgs(
        secret_name=secret,
        default_mode=0o440,
        items=[core.v1.KeyToPathArgs(key=key, path=key) for key in keys],
    )
    return core.v1.VolumeArgs(name=volume, secret=source)


def _host_volumes() -> list[core.v1.VolumeArgs]:
    return [
        core.v1.VolumeArgs(
            name=name, host_path=core.v1.HostPathVolumeSourceArgs(path=path, type="Directory")
        )
        for name, (path, _) in _HOSTED.items()
    ]

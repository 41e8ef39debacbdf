"""What a cluster may have besides: certificates, copies of volumes, an order of going, pools."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.marathon.service import MarathonService, MarathonServiceArgs
from components.mesos.access import AGENT, Access, Principal, Tenant, secret_of
from components.mesos.agents import AgentPool, MesosAgents, MesosAgentsArgs, check_pools
from components.mesos.engine import CgroupVersion, Engine, Release
from components.mesos.isolation import Containerizer, Isolation, Profile
from components.mesos.masters import MesosMasters, MesosMastersArgs
from components.targets.kubernetes import KubernetesTarget
from components.workload import Certificate, Issuer, Program, Snapshots
from components.zookeeper import Launch, ZooKeeperEnsemble, ZooKeeperEnsembleArgs
from controllers.caretaker.settings import CaretakerSettings, MemberSettings
from stacks.local.settings import AgentSettings, MasterSettings
from tests.components.conftest import Recorder, Run

PROGRAM = Program(("python", "-m", "some.module"), f"example.invalid/any@sha256:{'0' * 64}")
ENSEMBLE = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM, launch=Launch.IMAGE)
MASTERS = MesosMastersArgs(color="blue", program=PROGRAM, zookeeper_hosts="h:1")
AGENTS = MesosAgentsArgs(color="blue", program=PROGRAM, election_url="zk://h:1/mesos")
TENANT = Tenant("dev", principals=(Principal("spark", ("spark",)),))


@pytest.fixture
def placing() -> Placing:
    target: HostTarget = KubernetesTarget(
        namespace="mesos",
        storage_class=None,
        volume_gib=1,
        node_networks=["10.0.0.0/16"],
        caretaker_program=PROGRAM,
    )
    return Placing(target)


def pod_of(inputs: dict[str, Any]) -> dict[str, Any]:
    return inputs["spec"]["template"]["spec"]


def test_a_certificate_is_for_every_server_and_mounted_by_reference(
    run: Run, placing: Placing
) -> None:
    certificate = Certificate("blue-zookeeper-tls", Issuer("company"))
    args = replace(ENSEMBLE, certificate=certificate, sasl_users=("sasl-ops",))

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    asked = recorder.named("blue-zookeeper", "Certificate").inputs["spec"]
    assert asked["secretName"] == "blue-zookeeper-tls"
    assert asked["privateKey"]["encoding"] == "PKCS8"
    assert asked["issuerRef"]["name"] == "company"
    hosts = [f"blue-zookeeper-{index}.blue-zookeeper.mesos.svc" for index in range(3)]
    assert asked["dnsNames"] == [*hosts, "blue-zookeeper-client.mesos.svc"]
    pod = pod_of(recorder.named("blue-zookeeper", "StatefulSet").inputs)
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["certificate"]["secret"]["secretName"] == "blue-zookeeper-tls"
    keys = {item["key"] for item in volumes["secrets"]["secret"]["items"]}
    assert keys == {"zookeeper-super", "sasl-ops"}
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    assert "zk-secure" in ports
    # Administration is for those beside the server.
    assert "zk-admin" not in ports


def test_a_given_certificate_is_not_asked_for(run: Run, placing: Placing) -> None:
    args = replace(ENSEMBLE, certificate=Certificate("mine"))

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    assert recorder.names("Certificate") == []


def test_our_own_launcher_takes_no_certificate() -> None:
    with pytest.raises(ArgumentsError, match="for target kubernetes"):
        replace(ENSEMBLE, launch=Launch.LAUNCHER, certificate=Certificate("mine"))


def test_volumes_are_copied_by_who_looks_after_them(run: Run, placing: Placing) -> None:
    args = replace(ENSEMBLE, snapshots=Snapshots("csi.example.com", every_h=2, keep=3))

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    made = recorder.named("blue-zookeeper-caretaker", "VolumeSnapshotClass").inputs
    assert made["driver"] == "csi.example.com"
    name = "blue-zookeeper-caretaker"
    text = recorder.named(name, "ConfigMap").inputs["data"][f"{name}-0.json"]
    settings = json.loads(text)
    assert settings["copies"]["snapshot_class"] == made["metadata"]["name"]
    assert (settings["copies"]["every_s"], settings["order"]) == (7200, "none")
    rules = recorder.named(name, "Role").inputs["rules"]
    assert {resource for rule in rules for resource in rule["resources"]} == {
        "volumesnapshots",
        "persistentvolumeclaims",
    }
    assert recorder.named(name, "Deployment")


def test_votes_of_an_ensemble_are_changed_by_who_looks_after_it(run: Run, placing: Placing) -> None:
    name = "blue-zookeeper-caretaker"
    args = replace(ENSEMBLE, replicas=5, voters=3)

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    settings = CaretakerSettings.model_validate_json(
        recorder.named(name, "ConfigMap").inputs["data"][f"{name}-0.json"]
    )
    assert settings.ensemble is not None
    assert settings.ensemble.wanted == {1, 2, 3}
    assert settings.ensemble.servers[3] == MemberSettings(
        id=4,
        address="blue-zookeeper-3.blue-zookeeper.mesos.svc:2181",
        description="blue-zookeeper-3.blue-zookeeper.mesos.svc:2888:3888;0.0.0.0:2181",
    )
    (mounted,) = {
        item["key"]
        for volume in pod_of(recorder.named(name, "Deployment").inputs)["volumes"]
        for item in volume.get("secret", {}).get("items", ())
    }
    assert mounted == str(settings.ensemble.credential_file).rpartition("/")[2] == "zookeeper-super"
    # The API server is not asked for that.
    assert recorder.names("Role") == []
    scripts = recorder.named("blue-zookeeper", "ConfigMap").inputs["data"]
    # A server without a past takes those that vote for members, and itself.
    for index, known in ((0, {1, 2, 3}), (4, {1, 2, 3, 5})):
        text = scripts[f"blue-zookeeper-{index}.sh"]
        assert {int(n) for n in re.findall(r"^server\.(\d+)=", text, re.MULTILINE)} == known


def test_clients_connect_to_those_that_vote(run: Run, placing: Placing) -> None:
    made: list[ZooKeeperEnsemble] = []

    recorder = run(
        lambda: made.append(ZooKeeperEnsemble(replace(ENSEMBLE, replicas=5, voters=3), placing))
    )

    assert [host.partition(".")[0] for host in made[0].hosts.split(",")] == [
        f"blue-zookeeper-{index}" for index in range(3)
    ]
    assert recorder.named("blue-zookeeper", "StatefulSet").inputs["spec"]["replicas"] == 5


def test_nobody_looks_after_an_ensemble_that_keeps_its_size(run: Run, placing: Placing) -> None:
    recorder = run(lambda: ZooKeeperEnsemble(ENSEMBLE, placing))

    assert recorder.names("Deployment") == []


def test_masters_are_replaced_by_who_knows_their_leader(run: Run, placing: Placing) -> None:
    recorder = run(lambda: MesosMasters(replace(MASTERS, rolled=True), placing))

    spec = recorder.named("blue-masters", "StatefulSet").inputs["spec"]
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    name = "blue-masters-caretaker"
    settings = json.loads(recorder.named(name, "ConfigMap").inputs["data"][f"{name}-0.json"])
    assert (settings["order"], settings["members"]) == ("leader-last", 3)
    assert settings["masters"][0] == "blue-masters-0.blue-masters.mesos.svc:5050"
    pod = pod_of(recorder.named(name, "Deployment").inputs)
    assert pod["automountServiceAccountToken"] is True
    assert pod["serviceAccountName"] == name
    assert pod["securityContext"]["runAsNonRoot"] is True
    subject = recorder.named(name, "RoleBinding").inputs["subjects"][0]
    assert (subject["name"], subject["namespace"]) == (name, "mesos")


def test_everybody_who_must_know_a_principal_is_told_the_same(run: Run, placing: Placing) -> None:
    access = Access((TENANT,))
    args = replace(MASTERS, access=access, zookeeper_identity="zookeeper-mesos")

    recorder = run(lambda: MesosMasters(args, placing))

    text = recorder.named("blue-masters", "ConfigMap").inputs["data"]["blue-masters-0.json"]
    settings = MasterSettings.model_validate_json(text)
    files = {str(path).rpartition("/")[2] for path in settings.principal_files}
    assert files == {"principal-spark", "principal-agent"}
    assert settings.acls == access.acls()
    assert settings.authenticate_agents
    pod = pod_of(recorder.named("blue-masters", "StatefulSet").inputs)
    volumes = {each["name"]: each for each in pod["volumes"]}
    keys = {item["key"] for item in volumes["secrets"]["secret"]["items"]}
    assert keys == {*files, "mesos-operator", "zookeeper-mesos"}

    agents = run(lambda: MesosAgents(replace(AGENTS, access=access), placing))
    text = agents.named("blue-agents", "ConfigMap").inputs["data"]["blue-agents-0.json"]
    credential = AgentSettings.model_validate_json(text).credential_file
    assert str(credential).endswith(f"/{secret_of(AGENT)}")


def test_a_pool_stands_on_its_nodes_isolates_and_is_drained(run: Run, placing: Placing) -> None:
    isolation = Isolation(
        Profile.HARDENED, CgroupVersion.V2, (Containerizer.MESOS, Containerizer.DOCKER)
    )
    pool = AgentPool(
        name="gpu",
        attributes={"rack": "7"},
        selector={"pool": "gpu"},
        tolerations=("gpu",),
        isolation=isolation,
    )
    args = replace(AGENTS, pool=pool, masters=("m:1",))

    recorder = run(lambda: MesosAgents(args, placing))

    spec = recorder.named("blue-agents-gpu", "DaemonSet").inputs
    pod = pod_of(spec)
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert {"/var/run/docker.sock", "/var/run/mesos", "/sys/fs/cgroup"} <= mounts
    (check,) = pod["initContainers"]
    assert check["command"][:3] == ["python", "-m", "controllers.node_check"]
    assert "--docker-socket" in check["command"]
    assert check["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    text = recorder.named("blue-agents-gpu", "ConfigMap").inputs["data"]["blue-agents-gpu-0.json"]
    settings = AgentSettings.model_validate_json(text)
    assert settings.flags["containerizers"] == "mesos,docker"
    assert "linux/nnp" in settings.flags["isolation"].split(",")
    assert settings.flags["cgroups_root"] == "mesos/blue-agents-gpu"
    assert settings.flags["fetcher_cache_size"] == "2048MB"
    assert settings.attributes == {"rack": "7"}
    role = recorder.named("blue-agents-gpu-caretaker", "Role").inputs
    # Its pods lie in a namespace of their own, and so do the rights.
    assert role["metadata"]["namespace"] == "mesos-agents"


@pytest.mark.parametrize(
    ("release", "cgroups", "fits"),
    [
        (Release(Engine.MESOS, "1.11.0"), CgroupVersion.V1, True),
        (Release(Engine.MESOS, "1.11.0"), CgroupVersion.V2, False),
        (Release(Engine.CLUSTERD, "1.11.0-0.9.0"), CgroupVersion.V2, True),
        (Release(Engine.CLUSTERD, "1.11.0-0.9.0"), CgroupVersion.V1, False),
        (Release(Engine.CLUSTERD, "1.11.0-0.10.0"), CgroupVersion.V1, True),
        (Release(Engine.CLUSTERD, "1.11.0-0.5.0"), CgroupVersion.V2, False),
    ],
)
def test_a_release_takes_the_control_groups_that_it_knows(
    release: Release, cgroups: CgroupVersion, fits: bool
) -> None:
    isolation = Isolation(cgroups=cgroups)
    if fits:
        isolation.check(release)
    else:
        with pytest.raises(ArgumentsError, match="control groups"):
            isolation.check(release)
    # What isolates nothing runs everywhere.
    replace(isolation, profile=Profile.POSIX).check(release)


def test_what_cannot_be_is_refused_with_its_reason() -> None:
    for make, expected in (
        (lambda: replace(MASTERS, flags={"quorom": "1"}), "did you mean 'quorum'"),
        (lambda: replace(MASTERS, flags={"quorum": "1"}), "follows from what is declared"),
        (lambda: AgentPool(flags={"isolatoin": "x"}), "did you mean 'isolation'"),
        (lambda: AgentPool(attributes={"color": "blue"}), "colour is no attribute"),
        (lambda: Release(Engine.MESOS, "1.11.0-0.9.0"), "expected a version of mesos"),
        (lambda: Tenant("dev/web", limits={"cpus": 1}), "top-level roles alone"),
        (lambda: Tenant("dev", limits={"cpus": 1}, guarantees={"cpus": 2}), "to its limit"),
        (lambda: Principal("operator"), "none of the platform's own"),
        (lambda: Principal("marathon"), "none of the platform's own"),
        (lambda: Access((TENANT, replace(TENANT, role="ops"))), "each principal once"),
        (lambda: Access((Tenant("a"), Tenant("a"))), "each role once"),
        (
            lambda: Access((Tenant("a", guarantees={"cpus": 9}),)).check_capacity({"cpus": 8}),
            "at most 8, which is what all agents offer, saw 9",
        ),
        (lambda: check_pools((AgentPool("a"), AgentPool("b"))), "the same port"),
        (
            lambda: check_pools(
                (AgentPool("a", selector={"x": "1"}), AgentPool("b", selector={"y": "1"}))
            ),
            "the same port",
        ),
    ):
        with pytest.raises(ArgumentsError, match=expected):
            make()
    check_pools((AgentPool("a", selector={"x": "1"}), AgentPool("b", selector={"x": "2"})))


@pytest.mark.parametrize("tier", ["masters", "agents"])
def test_what_is_made_of_secrets_is_in_memory_and_on_no_volume(
    run: Run, placing: Placing, tier: str
) -> None:
    isolation = Isolation(Profile.CGROUPS, CgroupVersion.V2, (Containerizer.MESOS,))
    agents = replace(AGENTS, pool=AgentPool(isolation=isolation), access=Access((TENANT,)))

    recorder = run(
        lambda: (
            MesosMasters(replace(MASTERS, access=Access((TENANT,))), placing)
            if tier == "masters"
            else MesosAgents(agents, placing)
        )
    )

    name = f"blue-{tier}"
    settings = json.loads(recorder.named(name, "ConfigMap").inputs["data"][f"{name}-0.json"])
    pod = pod_of(recorder.named(name, "StatefulSet" if tier == "masters" else "DaemonSet").inputs)
    volumes = {each["name"]: each for each in pod["volumes"]}
    (private,) = (
        mount
        for mount in pod["containers"][0]["volumeMounts"]
        if mount["mountPath"] == settings["private_dir"]
    )
    assert volumes[private["name"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}
    assert not settings["private_dir"].startswith(settings["work_dir"])


MARATHON = Program(("sh",), f"example.invalid/marathon@sha256:{'1' * 64}")


def real_marathon(run: Run, placing: Placing, hosts: str | None) -> Recorder:
    args = MarathonServiceArgs(
        MARATHON,
        hosts,
        instances=2,
        flags={"failover_timeout": 7200, "zk_compression": False},
        zookeeper_identity="zookeeper-mesos",
        is_real=True,
    )
    return run(lambda: MarathonService(args, placing))


def test_the_real_marathon_runs_in_its_image_and_masters_reach_it(
    run: Run, placing: Placing
) -> None:
    recorder = real_marathon(run, placing, "h:1")

    name = "frameworks-marathon"
    pod = pod_of(recorder.named(name, "StatefulSet").inputs)
    (container,) = pod["containers"]
    assert container["image"] == MARATHON.image
    assert container["command"] == ["sh", "/etc/mesos-platform/$(MEMBER).sh"]
    assert pod["enableServiceLinks"] is False
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"marathon": 8080, "libprocess": 9097}
    # Java and libmesos beside its heap.
    assert container["resources"]["limits"]["memory"] == "2048Mi"
    probe = container["readinessProbe"]
    assert "httpGet" not in probe
    assert "GET /ping" in probe["exec"]["command"][-1]
    assert "/run/secrets/mesos-platform/principal-marathon" in probe["exec"]["command"][-1]
    assert container["livenessProbe"]["tcpSocket"] == {"port": 8080}
    scripts = recorder.named(name, "ConfigMap").inputs["data"]
    assert sorted(scripts) == [f"{name}-0.sh", f"{name}-1.sh"]
    for index in range(2):
        text = scripts[f"{name}-{index}.sh"]
        assert f"{name}-{index}.{name}.mesos.svc" in text
        assert "zk://h:1/mesos" in text
        assert "--disable_zk_compression" in text
        assert "export LIBPROCESS_PORT=9097" in text
        assert 'LIBPROCESS_IP="$POD_IP"' in text
    policy = recorder.named(name, "NetworkPolicy").inputs["spec"]
    (called_back,) = (
        rule for rule in policy["ingress"] if {"port": 9097, "protocol": "TCP"} in rule["ports"]
    )
    (source,) = called_back["from"]
    assert "masters" in json.dumps(source)


def test_of_secrets_the_real_marathon_has_only_the_names_in_its_objects(
    run: Run, placing: Placing
) -> None:
    recorder = real_marathon(run, placing, "h:1")

    name = "frameworks-marathon"
    pod = pod_of(recorder.named(name, "StatefulSet").inputs)
    (container,) = pod["containers"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    keys = {item["key"] for item in volumes["secrets"]["secret"]["items"]}
    assert keys == {"principal-marathon", "zookeeper-mesos"}
    assert volumes["private"]["emptyDir"]["medium"] == "Memory"
    # Nothing is given to a variable but what the scheduler knows of the pod.
    assert {each["name"] for each in container["env"]} == {"MEMBER", "POD_IP"}
    assert all("valueFrom" in each for each in container["env"])
    kinds = {each.type for each in recorder.resources}
    assert not any(kind.endswith(":Secret") for kind in kinds)
    (zookeeper, *_) = (
        line
        for line in recorder.named(name, "ConfigMap").inputs["data"][f"{name}-0.sh"].splitlines()
        if "zk://%s@%s" in line
    )
    assert zookeeper.strip() == "printf -- '--zk\\nzk://%s@%s\\n' \"$identity\" h:1/marathon"


def test_the_real_marathon_stands_still_without_an_ensemble(run: Run, placing: Placing) -> None:
    recorder = real_marathon(run, placing, None)

    name = "frameworks-marathon"
    assert recorder.named(name, "StatefulSet").inputs["spec"]["replicas"] == 0
    assert "zk://" not in recorder.named(name, "ConfigMap").inputs["data"][f"{name}-0.sh"]

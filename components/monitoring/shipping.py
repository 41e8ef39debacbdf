"""Filebeat on every node: a pod that reads what others have written there, and changes nothing.

It lies beside agents, because no stricter namespace admits folders of a node. It is root without
any right of root's but to read what others own, on a root that nobody writes to; what it has sent
stands in a folder of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from components.targets.hardening import ROOT, Container, Pod
from components.targets.image import check_image
from components.workload import Member, Program, SecretFiles, Shape, Workload

NAME = "filebeat"
TIER = "shippers"
CONFIG_DIR = "/etc/filebeat"
PASSWORD_VARIABLE = "LOGS_PASSWORD"  # noqa: S105 - the name of a variable
WHY_PRIVILEGED = (
    "Filebeat reads logs of pods and sandboxes of tasks in folders of the node, whoever wrote "
    "them: it is root, with the capability DAC_READ_SEARCH alone, and changes nothing of theirs"
)
"""What its namespace says of it."""
_PODS, _WORK = "/var/log/pods", "/var/lib/mesos-platform"
_SENT = "/var/lib/mesos-platform-filebeat"
_MEMORY = "256Mi"


def value(image: str | None) -> Workload:
    """What labels and policies are made from."""
    return Workload(
        name=NAME,
        tier=TIER,
        color=None,
        shape=Shape.PER_NODE,
        program=Program(("filebeat",), image),
        members=(Member(NAME, 0, ""),),
        config_suffix=".yml",
    )


def container(image: str) -> dict[str, Any]:
    """The part of its pod that is the same whoever makes the pod."""
    mounts = [("pod-logs", _PODS), ("sandboxes", _WORK)]
    return {
        "name": NAME,
        "image": check_image(image),
        "resources": {
            "requests": {"cpu": "50m", "memory": _MEMORY},
            "limits": {"memory": _MEMORY},
        },
        # Files of a node are root's and of tasks' users. That it is root, it says itself: an
        # operator may say otherwise of the pod.
        "securityContext": {
            **Container(adds=("DAC_READ_SEARCH",), user=ROOT).document(),
            "runAsNonRoot": False,
        },
        "volumeMounts": [
            {"name": name, "mountPath": path, "readOnly": True} for name, path in mounts
        ],
    }


def pod(
    labels: Mapping[str, str], container: Mapping[str, Any], tolerations: Sequence[str]
) -> dict[str, Any]:
    """A template of pods with that container."""
    kept = (("pod-logs", _PODS), ("sandboxes", _WORK))
    return {
        "metadata": {"labels": dict(labels)},
        "spec": {
            **Pod(user=None).document(),
            "terminationGracePeriodSeconds": 30,
            "tolerations": [{"key": key, "operator": "Exists"} for key in tolerations],
            "containers": [dict(container)],
            "volumes": [
                {"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}
                for name, path in kept
            ],
        },
    }


def alone(template: dict[str, Any], config: str, password: SecretFiles, ca: SecretFiles) -> None:
    """Complete a template for a pod that no operator completes: its command, settings, password,
    whom it believes, and where it notes what it has sent."""
    spec = template["spec"]
    # Other settings are another pod.
    digest = hashlib.sha256(config.encode()).hexdigest()[:16]
    template["metadata"]["annotations"] = {"mesos-platform/config-digest": digest}
    (one,) = spec["containers"]
    (key,) = password.keys
    one["command"] = [
        "filebeat", "-e", "-c", f"{CONFIG_DIR}/filebeat.yml", "--strict.perms=false",
        "--path.data", _SENT, "--path.logs", "/tmp",  # noqa: S108 - the pod's own
    ]  # fmt: skip
    one["env"] = [
        {
            "name": PASSWORD_VARIABLE,
            "valueFrom": {"secretKeyRef": {"name": password.secret, "key": key}},
        }
    ]
    one["volumeMounts"] += [
        {"name": "settings", "mountPath": CONFIG_DIR, "readOnly": True},
        {"name": "authority", "mountPath": ca.folder, "readOnly": True},
        {"name": "sent", "mountPath": _SENT},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
    ]
    spec["volumes"] += [
        {"name": "settings", "configMap": {"name": NAME}},
        {
            "name": "authority",
            "secret": {
                "secretName": ca.secret,
                "defaultMode": 0o440,
                "items": [{"key": each, "path": each} for each in ca.keys],
            },
        },
        {"name": "sent", "hostPath": {"path": _SENT, "type": "DirectoryOrCreate"}},
        {"name": "tmp", "emptyDir": {}},
    ]

"""An app, a group of apps and a service whose versions are rolled out, of a Marathon that runs.

Run it in this folder after `make tools`, with a state of its own:

    pulumi login file://. && pulumi stack init try
    pulumi config set --path 'marathon[0]' 127.0.0.1:8080
    pulumi up
    pulumi config set version 2 && pulumi up    # the second version beside the first, step by step

Definitions have Marathon's own field names. Only what is declared is compared and changed; a field
that Marathon does not know is refused in the preview.
"""

from __future__ import annotations

from typing import Any

import pulumi

from components.marathon.app import AppArgs, MarathonApp
from components.marathon.endpoint import MarathonEndpoint
from components.marathon.group import GroupArgs, MarathonGroup
from components.marathon.rollout import RolloutSpec, Strategy
from components.marathon.versions import MarathonRollout, ServiceArgs

config = pulumi.Config()
endpoint = MarathonEndpoint(
    cluster="example",
    instances=config.require_object("marathon"),
    credential_file=config.get("credentialFile"),
)
SMALL: dict[str, Any] = {"cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32}

MarathonApp("clock", AppArgs({**SMALL, "id": "/clock", "instances": 2}), endpoint)

MarathonGroup(
    "shop",
    GroupArgs(
        {
            "id": "/shop",
            "apps": [{**SMALL, "id": "/shop/store", "instances": 1}],
            "groups": [
                {
                    "id": "/shop/front",
                    "dependencies": ["/shop/store"],
                    "apps": [{**SMALL, "id": "/shop/front/page"}],
                }
            ],
        }
    ),
    endpoint,
)

# One more of the new version, then one less of the old one, each watched for two seconds.
MarathonRollout(
    "web",
    ServiceArgs(
        {**SMALL, "id": "/web", "instances": 2, "env": {"VERSION": config.require("version")}},
        RolloutSpec(Strategy.ROLLING, instances=2, batch=1, soak_s=2, ready_timeout_s=120),
    ),
    endpoint,
)

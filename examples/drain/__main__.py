"""Drain an agent of a cluster that runs already, for as long as this stack is there.

Run it in this folder after `make tools`, with a state of its own:

    pulumi login file://. && pulumi stack init try
    pulumi config set --path 'masters[0]' 127.0.0.1:5050
    pulumi config set agentId 3c1f5b92-0000-4c5b-8d8f-000000000000-S0
    pulumi up         # ends the agent's tasks, and waits until their frameworks have heard of it
    pulumi destroy    # offers the agent again

A drain that has begun cannot be stopped. An update that was interrupted waits on when it is run
again, and asks for no second drain, which would drop the grace period.
"""

from __future__ import annotations

import pulumi

from components.mesos.drain import AgentDrain, DrainArgs
from components.mesos.endpoint import MesosEndpoint

config = pulumi.Config()
endpoint = MesosEndpoint(
    cluster="example",
    masters=config.require_object("masters"),
    credential_file=config.get("credentialFile"),
)

AgentDrain(
    "drain",
    DrainArgs(
        config.require("agentId"),
        max_grace_period_s=config.require_float("graceSeconds"),
        timeout_s=600,
    ),
    endpoint,
)

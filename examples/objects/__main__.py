"""Quota, weights and the maintenance schedule of a cluster that runs already.

Run it in this folder after `make tools`, with a state of its own:

    pulumi login file://. && pulumi stack init try
    pulumi config set --path 'masters[0]' 127.0.0.1:5050
    pulumi up

A preview asks no master; a refresh sees what was changed by hand, and an update mends it. When
the cluster has moved to other masters, set `masters` anew: that is written down without a call.
"""

from __future__ import annotations

import pulumi

from clients.mesos.model import Machine, Window
from components.mesos.endpoint import MesosEndpoint
from components.mesos.quota import Quota, QuotaArgs
from components.mesos.schedule import MaintenanceSchedule, ScheduleArgs
from components.mesos.weight import Weight, WeightArgs

HOUR_NS = 3600 * 10**9
JANUARY_2030_NS = 1_893_456_000 * 10**9

config = pulumi.Config()
endpoint = MesosEndpoint(
    cluster="example",
    masters=config.require_object("masters"),
    credential_file=config.get("credentialFile"),
)

Quota("dev-quota", QuotaArgs("dev", limits={"cpus": 2, "mem": 1024}), endpoint)
Weight("dev-weight", WeightArgs("dev", 2), endpoint)
MaintenanceSchedule(
    "schedule",
    ScheduleArgs([Window((Machine("host-1", "10.0.0.1"),), JANUARY_2030_NS, HOUR_NS)]),
    endpoint,
)

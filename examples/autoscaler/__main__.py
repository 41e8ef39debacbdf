"""An app whose number of instances an autoscaler owns, and the settings of that autoscaler.

Run it in this folder after `make tools`, with a state of its own:

    pulumi login file://. && pulumi stack init try
    pulumi config set --path 'marathon[0]' 127.0.0.1:8080
    pulumi up
    pulumi stack output autoscaler --json > autoscaler.json
    PYTHONPATH=../.. ../../.venv/bin/python -m controllers.autoscaler --config autoscaler.json

`instances` counts when the app is created; from then on updates and refreshes leave it alone. The
autoscaler logs each decision with its reason, tells it to who asks (`curl 127.0.0.1:9106/status`,
docs/autoscaler.md), and reads its file anew before each round.
"""

from __future__ import annotations

import pulumi

from components.marathon.app import AppArgs, MarathonApp
from components.marathon.endpoint import MarathonEndpoint

APP_ID = "/busy"

config = pulumi.Config()
credential_file = config.get("credentialFile") or None
marathon = config.require_object("marathon")
endpoint = MarathonEndpoint("example", marathon, credential_file)

MarathonApp(
    "busy",
    AppArgs(
        {"id": APP_ID, "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32, "instances": 2},
        is_scaled_elsewhere=True,
    ),
    endpoint,
)

pulumi.export(
    "autoscaler",
    {
        "marathon": marathon,
        "credential_file": credential_file,
        "prometheus": config.require("prometheus"),
        "interval_s": 5,
        "listen_port": config.require_int("statusPort"),
        "apps": [
            {
                "app_id": APP_ID,
                # Requests a second that an instance gets, and what one should carry.
                "query": 'avg(rate(http_requests_total{app="busy"}[1m]))',
                "target": 100,
                "instances_min": 1,
                "instances_max": 5,
            }
        ],
    },
)

"""The apps of a local stack's Marathon, unless its configuration names others.

They are what a migration can lose: several instances each, asked for their health by Marathon.
No input or output.
"""

from __future__ import annotations

from typing import Any


def _web_server(app_id: str, instances: int) -> dict[str, Any]:
    return {
        "id": app_id,
        # Serves the sandbox; on loopback alone, like everything of a local stack.
        "cmd": 'exec python3 -I -m http.server "$PORT0" --bind 127.0.0.1',
        "instances": instances,
        "cpus": 0.1,
        "mem": 64,
        "healthChecks": [
            {
                "protocol": "HTTP",
                "path": "/",
                "portIndex": 0,
                "gracePeriodSeconds": 60,
                "intervalSeconds": 2,
                # A busy machine makes them slow, not ill.
                "timeoutSeconds": 10,
                "maxConsecutiveFailures": 6,
            }
        ],
    }


SAMPLE_APPS: tuple[dict[str, Any], ...] = (
    _web_server("/shop/api", 2),
    _web_server("/shop/web", 3),
)

"""Ends with 0 when the master beside it has recovered its registry: what a probe of a pod runs.

A master answers /health before it knows anything, and while it can store nothing. Its own metric
`registrar/log/recovered` tells; it takes the operator's credential, which stays in its file.
"""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any

from stacks.local.errors import StartError
from stacks.local.process import config_file, end, read_secret
from stacks.local.settings import MasterSettings, SettingsError

_METRIC = "registrar/log/recovered"
_ASK_S_MAX = 5.0
_OK = 200


def problem(settings: MasterSettings) -> str | None:
    """What keeps the master of these settings from being ready; None when it is."""
    host = "127.0.0.1" if settings.ip == "0.0.0.0" else settings.ip  # noqa: S104 - compared, not bound
    headers: dict[str, str] = {}
    try:
        credential = read_secret(settings.credential_file)
        if credential is not None:
            headers["authorization"] = f"Basic {base64.b64encode(credential.encode()).decode()}"
        connection = http.client.HTTPConnection(host, settings.port, timeout=_ASK_S_MAX)
        try:
            connection.request("GET", "/metrics/snapshot", headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != _OK:
            return f"expected metrics of the master on port {settings.port}, saw {answer.status}"
        metrics: dict[str, Any] = json.loads(text)
    except StartError as error:
        return str(error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"expected metrics of the master on port {settings.port}, saw {error!r}"
    recovered = metrics.get(_METRIC)
    return None if recovered == 1 else f"expected {_METRIC} to be 1, saw {recovered}"


def main() -> None:
    """Ask once."""
    try:
        seen = problem(MasterSettings.read(config_file(__doc__ or "")))
    except SettingsError as error:
        seen = str(error)
    if seen is not None:
        end(f"not ready: {seen}")


if __name__ == "__main__":
    main()

"""The process as it is started: it answers probes and scrapes, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port
from tests.waiting import block_until

_BOUND_S = 60.0


def start(folder: Path, **settings: Any) -> subprocess.Popen[str]:
    file = folder / "registrator.json"
    file.write_text(json.dumps({"cluster": "main", "marathon": ["127.0.0.1:1"], **settings}))
    return subprocess.Popen(
        [sys.executable, "-m", "controllers.registrator", "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_lives_while_nobody_answers_and_says_so(tmp_path: Path) -> None:
    port = free_port()
    listen = {"listen_host": "127.0.0.1", "listen_port": port}
    process = start(tmp_path, consul=["127.0.0.1:1"], **listen)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            def asked() -> httpx.Response | None:
                assert process.poll() is None, process.communicate()
                try:
                    return client.get("/healthz")
                except httpx.TransportError:
                    return None

            assert block_until(asked, "an answer", _BOUND_S).status_code == 200
            assert client.get("/readyz").status_code == 503
            assert "registrator_last_look_timestamp_seconds 0" in client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_BOUND_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0


def test_settings_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    process = start(tmp_path, consul=[])
    _, said = process.communicate(timeout=_BOUND_S)

    assert process.returncode == 1
    assert "consul: Tuple should have at least 1 item" in said
    assert len(said.splitlines()) == 1

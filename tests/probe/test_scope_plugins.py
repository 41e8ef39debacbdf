"""Documents as Weave Scope's published example plugins write them, and servers as they run.

iowait (Go), http-requests (Python 2, HTTP/1.0), traffic-control (Go, offers controls) and
volume-count; github.com/weaveworks/scope at 12175b9, `examples/plugins`.
"""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any

from probe.agent.collector import State
from tests.probe import test_plugins
from tests.probe.test_plugins import CONTAINER, look, place, saying, serving

STAMP = "2016-09-05T10:31:02.123456Z"
HTTP_REQUESTS: dict[str, Any] = {
    "Process": {
        "nodes": {
            "elsewhere;77": {
                "metrics": {
                    "http_requests_per_second": {"samples": [{"date": STAMP, "value": 3.0}]}
                }
            }
        },
        "metric_templates": {
            "http_requests_per_second": {
                "id": "http_requests_per_second",
                "label": "HTTP Req/Second",
                "priority": 0.1,
            }
        },
    },
    "Plugins": [
        {
            "id": "http-requests",
            "label": "HTTP Requests",
            "description": "Adds http request metrics to processes",
            "interfaces": ["reporter"],
            "api_version": "1",
        }
    ],
}
_SLOW = "traffic-control-table-slow"
TRAFFIC_CONTROL: dict[str, Any] = {
    "Container": {
        "nodes": {
            f"{CONTAINER};<container>": {
                "latestControls": {_SLOW: {"timestamp": STAMP, "value": {"dead": False}}},
                "latest": {
                    "traffic-control-table-latency": {"timestamp": STAMP, "value": "-"},
                    "traffic-control-table-pktloss": {"timestamp": STAMP, "value": "10%"},
                },
            }
        },
        "controls": {
            _SLOW: {
                "id": _SLOW,
                "human": "Traffic speed: slow",
                "icon": "fa-hourglass-1",
                "rank": 20,
            }
        },
        "metadata_templates": {
            "traffic-control-latency": {
                "id": "traffic-control-latency",
                "label": "Latency",
                "priority": 13.5,
                "from": "latest",
            }
        },
        "table_templates": {
            "traffic-control-table": {
                "id": "traffic-control-table",
                "label": "Traffic Control",
                "prefix": "traffic-control-table-",
            }
        },
    },
    "Plugins": [
        {
            "id": "traffic-control",
            "label": "Traffic control",
            "description": "Adds traffic controls to the running Docker containers",
            "interfaces": ["reporter", "controller"],
            "api_version": "1",
        }
    ],
}


class Handler(BaseHTTPRequestHandler):
    """As the Python examples answer: HTTP/1.0, one thread a connection."""

    def do_GET(self) -> None:
        body = json.dumps(HTTP_REQUESTS).encode()
        self.send_response(200)
        self.send_header("Content-type", "application/json")
        self.send_header("Content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Nothing."""


async def test_a_plugin_with_python_s_own_server_is_heard(tmp_path: Path) -> None:
    made = place()
    server = ThreadingUnixStreamServer(str(tmp_path / "http-requests.sock"), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        collector = await look(made, tmp_path)
        await collector.collect()
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()
    process = made.ledger["process"].node("node;77;5")

    assert process["x:http-requests:http_requests_per_second"] == 3.0
    told = made.ledger["plugin"].node("node;http-requests")
    assert told["columns"] == ["x:http-requests:http_requests_per_second=HTTP Req/Second"]
    assert (told["state"], told["failures"]) == ("full", 0)
    await collector.close()


async def test_what_a_plugin_offers_to_do_is_told_and_never_asked_for(tmp_path: Path) -> None:
    test_plugins.asked.clear()
    made = place()
    async with serving(tmp_path, **{"traffic-control": saying(TRAFFIC_CONTROL)}):
        collector = await look(made, tmp_path)
        container = made.ledger["container"].node(CONTAINER)
        told = made.ledger["plugin"].node("node;traffic-control")

        assert container["x:traffic-control:traffic-control-table-pktloss"] == "10%"
        assert told["controls"] == [f"{_SLOW}=Traffic speed: slow"]
        assert told["interfaces"] == ["controller", "reporter"]
        assert collector.capability().state is State.FULL
        await collector.close()
    (head,) = test_plugins.asked
    assert head.startswith(b"GET /report?probe_id=node&api_version=1 HTTP/1.1\r\n")

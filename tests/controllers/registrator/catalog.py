"""A Consul in memory: what its catalog and health answer, as far as the client asks. It is held to
the real one by the tests of `test_consul.py`, which run against both.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import httpx

NO_LEADER = "No cluster leader"
_NODE_SERVICES = "/v1/catalog/node-services/"


class Catalog:
    """Nodes by name. `away` are servers that take no connection, `leaderless` those that know no
    leader, `lost` paths for which none does; `token` is asked for where there is one. `refused` are
    ids of services that no catalog may have, `forbidden` those that the token may not write."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.services: dict[str, dict[str, dict[str, Any]]] = {}
        self.checks: dict[str, dict[str, dict[str, Any]]] = {}
        self.away: set[str] = set()
        self.leaderless: set[str] = set()
        self.lost: set[str] = set()
        self.token: str | None = None
        self.refused: set[str] = set()
        self.forbidden: set[str] = set()
        self.writes: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[str] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        server = f"{request.url.host}:{request.url.port}"
        self.asked.append(server)
        if server in self.away:
            message = "connection refused"
            raise httpx.ConnectError(message, request=request)
        if server in self.leaderless or request.url.path in self.lost:
            return httpx.Response(500, text=NO_LEADER)
        if self.token and request.headers.get("x-consul-token") != self.token:
            return httpx.Response(403, text="Permission denied: token lacks permission")
        if request.method == "PUT":
            return self._put(request.url.path, json.loads(request.content))
        return httpx.Response(200, json=self._get(request))

    def _get(self, request: httpx.Request) -> Any:
        path = request.url.path
        if path == "/v1/catalog/nodes":
            return [
                {"ID": "", "Datacenter": "dc1", "TaggedAddresses": None, **node}
                for node in self.nodes.values()
            ]
        if path.startswith(_NODE_SERVICES):
            name = unquote(path.removeprefix(_NODE_SERVICES))
            services = list(self.services.get(name, {}).values())
            return {"Node": self.nodes.get(name), "Services": services}
        assert path == "/v1/health/state/any", path
        wanted = [one.split(":", 1) for one in request.url.params.get_list("node-meta")]
        return [
            check
            for name, checks in self.checks.items()
            for check in checks.values()
            if all(self.nodes[name]["Meta"].get(key) == value for key, value in wanted)
        ]

    def _put(self, path: str, body: dict[str, Any]) -> httpx.Response:
        name = body["Node"]
        if not name:
            return httpx.Response(500, text="Must provide node")
        service = body.get("Service")
        if service and service["ID"] in self.refused:
            return httpx.Response(500, text="Invalid service")
        if service and service["ID"] in self.forbidden:
            return httpx.Response(403, text="Permission denied: token lacks service:write")
        self.writes.append((path.rpartition("/")[2], body))
        if path == "/v1/catalog/register":
            self._register(name, body, service)
        elif "ServiceID" in body:
            service_id = body["ServiceID"]
            self.services.get(name, {}).pop(service_id, None)
            checks = self.checks.get(name, {})
            self.checks[name] = {k: v for k, v in checks.items() if v["ServiceID"] != service_id}
        else:
            for table in (self.nodes, self.services, self.checks):
                table.pop(name, None)
        return httpx.Response(200, text="true")

    def _register(self, name: str, body: dict[str, Any], service: dict[str, Any] | None) -> None:
        meta: dict[str, str] = body.get("NodeMeta") or {}
        self.nodes[name] = {"Node": name, "Address": body["Address"], "Meta": meta}
        if service:
            self.services.setdefault(name, {})[service["ID"]] = service
        check = body.get("Check")
        if check:
            self.checks.setdefault(name, {})[check["CheckID"]] = check

"""Where the autoscaler's numbers come from."""

from __future__ import annotations

import math
from typing import Any, Protocol

import httpx

from controllers.errors import MetricError

_TIMEOUT_S = 5.0


class Metrics(Protocol):
    """Tells a number."""

    async def read(self, query: str) -> float | None:
        """A query's number; None where there is none now.

        Raises:
            MetricError: nobody answered, or not with a number.
        """
        ...


class Prometheus:
    """Instant queries of one Prometheus; `transport` replaces the network in tests."""

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, timeout=_TIMEOUT_S, trust_env=False, transport=transport
        )

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def read(self, query: str) -> float | None:
        """See `Metrics.read`."""
        try:
            answer = await self._client.get("/api/v1/query", params={"query": query})
            body: dict[str, Any] = answer.json()
            if body["status"] != "success":
                raise ValueError(body.get("error"))
            result: Any = body["data"]["result"]
            if body["data"]["resultType"] == "scalar":
                value = float(result[1])
            elif len(result) > 1:
                msg = f"{len(result)} series: sum or average them in the query"
                raise ValueError(msg)
            elif not result:
                return None
            else:
                value = float(result[0]["value"][1])
        except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
            told = str(error) or type(error).__name__
            msg = f"expected one number for {query!r}, saw {told}: try the query in Prometheus"
            raise MetricError(msg) from None
        return value if math.isfinite(value) else None

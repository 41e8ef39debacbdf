"""What an autoscaler shows of its decisions: as JSON, and in Prometheus' text format.

Reasons are texts with numbers in them, which would make a series each: metrics tell the cause, one
of few words, and `/status` the reason. Pure, but for `routes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from controllers.autoscaler.decide import Cause
from controllers.autoscaler.driver import Autoscaler, Decided, Scaled
from controllers.exposition import CONTENT_TYPE, head, sample

METRICS: dict[str, tuple[str, str]] = {
    "autoscaler_rounds_total": ("counter", "Rounds over all apps that have ended"),
    "autoscaler_last_round_timestamp_seconds": ("gauge", "When the last round ended"),
    "autoscaler_app_instances": ("gauge", "Instances that the last look saw"),
    "autoscaler_app_wanted_instances": ("gauge", "Instances that were decided"),
    "autoscaler_app_value": ("gauge", "What the app's query told; absent when it told nothing"),
    "autoscaler_app_cause": ("gauge", "1 for the cause of the last decision"),
    "autoscaler_decisions_total": ("counter", "Decisions by cause"),
    "autoscaler_app_failed": ("gauge", "1 if the last look or change failed"),
    "autoscaler_failures_total": ("counter", "Looks and changes that failed"),
}


def status(autoscaler: Autoscaler) -> dict[str, Any]:
    """Everything, as plain values; the newest decision of each app first."""
    return {
        "rounds": autoscaler.rounds,
        "last_round_at": _time(autoscaler.ended_at),
        "apps": {app_id: _app(scaled) for app_id, scaled in autoscaler.apps.items()},
    }


def _app(scaled: Scaled) -> dict[str, Any]:
    decisions = [_decided(one) for one in reversed(scaled.decisions)]
    return {
        "failed": scaled.failed,
        "decision": decisions[0] if decisions else None,
        "decisions": decisions,
    }


def _decided(decided: Decided) -> dict[str, Any]:
    return {**asdict(decided), "at": _time(decided.at), "cause": str(decided.cause)}


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def render(autoscaler: Autoscaler) -> str:
    """All metrics."""
    lines: list[str] = []
    for name, (kind, text) in METRICS.items():
        lines += head(name, kind, text)
        lines += [sample(name, labels, value) for labels, value in _values(name, autoscaler)]
    return "\n".join(lines) + "\n"


def _values(name: str, autoscaler: Autoscaler) -> Iterator[tuple[Mapping[str, str], float]]:
    """Labels and value of each sample of a metric."""
    if name == "autoscaler_rounds_total":
        yield {}, autoscaler.rounds
    elif name == "autoscaler_last_round_timestamp_seconds":
        if autoscaler.ended_at is not None:
            yield {}, autoscaler.ended_at
    else:
        for app_id, scaled in autoscaler.apps.items():
            for labels, value in _of_app(name, scaled):
                yield {"app": app_id, **labels}, value


def _of_app(name: str, scaled: Scaled) -> Iterator[tuple[Mapping[str, str], float]]:
    last = scaled.decisions[-1] if scaled.decisions else None
    match name:
        case "autoscaler_failures_total":
            yield {}, scaled.failures
        case "autoscaler_app_failed":
            yield {}, float(scaled.failed is not None)
        case "autoscaler_decisions_total":
            for cause in Cause:
                yield {"cause": str(cause)}, scaled.by_cause[cause]
        case "autoscaler_app_cause" if last is not None:
            for cause in Cause:
                yield {"cause": str(cause)}, float(last.cause is cause)
        case "autoscaler_app_instances" if last is not None:
            yield {}, last.instances
        case "autoscaler_app_wanted_instances" if last is not None:
            yield {}, last.wanted
        case "autoscaler_app_value" if last is not None and last.value is not None:
            yield {}, last.value
        case _:
            pass


def routes(autoscaler: Autoscaler) -> Starlette:
    """Answers to `GET /status`, `/metrics` and `/healthz`; none of them changes anything."""

    async def tell(_: Request) -> Response:
        return JSONResponse(status(autoscaler))

    async def metrics(_: Request) -> Response:
        return Response(render(autoscaler), media_type=CONTENT_TYPE)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    paths = {"/status": tell, "/metrics": metrics, "/healthz": health}
    return Starlette(routes=[Route(path, answer) for path, answer in paths.items()])

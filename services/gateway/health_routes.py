"""For who runs the gateway: health and metrics."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.gateway.dependencies import GatewayDependencies
from services.gateway.metrics import METRICS
from services.gateway.responses import json_response

router = APIRouter(include_in_schema=False)


@router.get("/health/live")
async def live(request: Request, dependencies: GatewayDependencies) -> Response:
    """Whether the process answers and its loops go on; what it depends on does not count."""
    problem = dependencies.health.not_live_reason()
    return json_response(request, {"status": problem or "live"}, 200 if problem is None else 503)


@router.get("/health/ready")
async def ready(request: Request, dependencies: GatewayDependencies) -> Response:
    """Whether requests can be answered now, else why not."""
    problem = dependencies.not_ready_reason()
    return json_response(request, {"status": problem or "ready"}, 200 if problem is None else 503)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus's text format."""
    return Response(generate_latest(METRICS.registry), media_type=CONTENT_TYPE_LATEST)

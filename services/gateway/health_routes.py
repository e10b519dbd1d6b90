"""For who runs the gateway: health and metrics."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.gateway.dependencies import GatewayParts
from services.gateway.metrics import METRICS
from services.gateway.responses import answer

router = APIRouter(include_in_schema=False)


@router.get("/health/live")
async def live(request: Request, parts: GatewayParts) -> Response:
    """Whether the process answers and its loops go on; what it depends on does not count."""
    problem = parts.health.stuck()
    return answer(request, {"status": problem or "live"}, 200 if problem is None else 503)


@router.get("/health/ready")
async def ready(request: Request, parts: GatewayParts) -> Response:
    """Whether requests can be answered now, else why not."""
    problem = parts.problem()
    return answer(request, {"status": problem or "ready"}, 200 if problem is None else 503)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus's text format."""
    return Response(generate_latest(METRICS.registry), media_type=CONTENT_TYPE_LATEST)

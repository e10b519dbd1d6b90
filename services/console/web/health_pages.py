"""Liveness, readiness and metrics, for supervisors and Prometheus."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.console.web.dependencies import ConsoleDependencies
from services.console.web.metrics import METRICS

router = APIRouter()


@router.get("/health/live")
async def liveness(dependencies: ConsoleDependencies) -> Response:
    """Whether the process answers and its loops go on; what it depends on does not count."""
    problem = dependencies.health.not_live_reason()
    return JSONResponse({"status": problem or "live"}, 200 if problem is None else 503)


@router.get("/health/ready")
async def readiness(dependencies: ConsoleDependencies) -> Response:
    """Whether it sees everything now, else what it does not see."""
    problem = dependencies.health.not_ready_reason()
    return JSONResponse({"status": problem or "ready"}, 200 if problem is None else 503)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus's text format."""
    return Response(generate_latest(METRICS.registry), media_type=CONTENT_TYPE_LATEST)

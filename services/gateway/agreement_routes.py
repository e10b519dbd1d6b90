"""How far the graders of an assignment agree: figures as JSON, as CSV, or as metrics for one assignment."""

import asyncio
import re
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from services.agreement.ratings import collect_ratings
from services.agreement.report import agreement_csv, agreement_document, agreement_metrics, get_assignment_ref
from services.agreement.statistics import compute_agreement
from services.gateway.dependencies import GatewayParts, KnownCaller
from services.gateway.openapi_docs import OWN_AGREEMENT
from services.gateway.responses import answer, bad_request
from services.gateway.service_routes import Asked, AsOfTime, AsOfVersion, asked_state
from services.moderation.grade_conversion import SCORE_MAX

FORMATS = ("json", "csv", "prometheus")
_POINTS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
Tolerance = Annotated[
    Asked,
    Query(
        description="in points; 5 % of the points possible unless said",
        json_schema_extra={"pattern": f"^{_POINTS.pattern}$"},
    ),
]
Format = Annotated[str, Query(description="of the answer", json_schema_extra={"enum": list(FORMATS)})]
router = APIRouter(prefix="/api/moderation/v1")


@router.get("/assignments/{assignment_id}/agreement", operation_id="get_assignment_agreement", **OWN_AGREEMENT)
async def assignment_agreement(
    request: Request,
    parts: GatewayParts,
    caller: KnownCaller,
    assignment_id: str,
    version: AsOfVersion = None,
    at: AsOfTime = None,
    tolerance: Tolerance = None,
    format: Format = "json",
) -> Response:
    """Agreement between an assignment's graders, for auditors; also as of a version or time."""
    if format not in FORMATS:
        raise bad_request(f"send format as one of {', '.join(FORMATS)}")
    allowed = None if tolerance is None else _points(tolerance)
    course, assignment = await asked_state(parts, caller, assignment_id, version, at)
    marking, about = collect_ratings(course, assignment), get_assignment_ref(assignment)
    # Seconds for the largest class, and others are answered meanwhile: nothing of the state is used any more.
    found = await asyncio.to_thread(compute_agreement, marking, allowed)
    if format == "csv":
        return Response(agreement_csv(about, found), media_type="text/csv; charset=utf-8")
    if format == "prometheus":
        return Response(agreement_metrics(about, found), media_type=CONTENT_TYPE_LATEST)
    return answer(request, agreement_document(about, found))


def _points(text: str) -> Decimal:
    if not _POINTS.fullmatch(text):
        raise bad_request(f"send tolerance as a number of points from 0 to {SCORE_MAX}")
    return Decimal(text)

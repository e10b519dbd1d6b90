"""Agreement between the graders of an assignment, as JSON, CSV or Prometheus metrics."""

import asyncio
import re
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from services.agreement import LibrariesMissing
from services.agreement.ratings import collect_ratings
from services.agreement.report import agreement_csv, agreement_document, agreement_metrics, get_assignment_ref
from services.agreement.statistics import compute_agreement
from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies
from services.gateway.openapi_service import (
    GET_AGREEMENT,
)
from services.gateway.responses import ApiError, bad_request, json_response
from services.gateway.service_routes import AsOfTime, AsOfVersion, OptionalQueryText, load_state
from services.moderation.grade_conversion import SCORE_MAX

RESPONSE_FORMATS = ("json", "csv", "prometheus")
_POINTS_PATTERN = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
Tolerance = Annotated[
    OptionalQueryText,
    Query(
        description="in points; default 5 % of the points possible",
        json_schema_extra={"pattern": f"^{_POINTS_PATTERN.pattern}$"},
    ),
]
Format = Annotated[str, Query(description="of the response", json_schema_extra={"enum": list(RESPONSE_FORMATS)})]
router = APIRouter(prefix="/api/moderation/v1")


@router.get("/assignments/{assignment_id}/agreement", operation_id="get_assignment_agreement", **GET_AGREEMENT)
async def assignment_agreement(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    assignment_id: str,
    version: AsOfVersion = None,
    at: AsOfTime = None,
    tolerance: Tolerance = None,
    format: Format = "json",
) -> Response:
    """Compute the agreement between an assignment's graders, for auditors; also as of a version or time."""
    if format not in RESPONSE_FORMATS:
        raise bad_request(f"send format as one of {', '.join(RESPONSE_FORMATS)}")
    tolerance_points = None if tolerance is None else _parse_points(tolerance)
    course, assignment = await load_state(dependencies, caller, assignment_id, version, at)
    ratings, assignment_ref = collect_ratings(course, assignment), get_assignment_ref(assignment)
    # Takes seconds for the largest class: runs in a thread, which does not use the state, so that other requests go on.
    try:
        agreement_result = await asyncio.to_thread(compute_agreement, ratings, tolerance_points)
    except LibrariesMissing as error:
        raise ApiError(501, {"message": str(error)}) from error
    if format == "csv":
        return Response(agreement_csv(assignment_ref, agreement_result), media_type="text/csv; charset=utf-8")
    if format == "prometheus":
        return Response(agreement_metrics(assignment_ref, agreement_result), media_type=CONTENT_TYPE_LATEST)
    return json_response(request, agreement_document(assignment_ref, agreement_result))


def _parse_points(text: str) -> Decimal:
    if not _POINTS_PATTERN.fullmatch(text):
        raise bad_request(f"send tolerance as a number of points from 0 to {SCORE_MAX}")
    return Decimal(text)

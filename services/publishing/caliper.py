"""Builds IMS Caliper 1.1 envelopes: one GradeEvent per grade_change, in Canvas's shape. Pure.

Null fields are omitted, as the specification requires. Numbers are floats, because its reference parser rejects others.
"""

import re
from typing import Any

import orjson

from services.eventlog.feeds import EventRow
from services.kafka.records import OutgoingRecord
from services.publishing.cloudevents import (
    GradeChangeCause,
    PublishingFormat,
    build_grade_change_headers,
    encode_key,
)

Json = dict[str, Any]
CALIPER_VERSION = "http://purl.imsglobal.org/ctx/caliper/v1p1"
NAMESPACE = "com.instructure.canvas"
URN = "urn:instructure:canvas"
NO_USER_ID = "0"
# Canvas's roles in the terms of the IMS LIS vocabulary.
LIS_ROLES = {
    "TeacherEnrollment": "Instructor",
    "TaEnrollment": "TeachingAssistant",
    "DesignerEnrollment": "ContentDeveloper",
    "StudentEnrollment": "Learner",
    "StudentViewEnrollment": "Learner",
    "ObserverEnrollment": "Mentor",
    "AccountAdmin": "Administrator",
}
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_REQUEST_FIELDS = ("client_ip", "hostname", "request_id", "user_agent")


def build_caliper_record(
    row: EventRow, cause: GradeChangeCause, grade_change: Json, publishing_format: PublishingFormat
) -> OutgoingRecord:
    """Build the record of a GradeEvent from the same event's grade_change."""
    user_id = orjson.loads(row.data)["user_id"]
    value = build_envelope(grade_change, cause.caliper_id, user_id, publishing_format)
    headers = build_grade_change_headers(
        row, cause, publishing_format, "caliper", "caliper.grade_event.v1", cause.caliper_id
    )
    return OutgoingRecord("caliper", row.shard, encode_key(row.course), orjson.dumps(value), headers)


def build_envelope(
    grade_change: Json, caliper_id: str, user_id: str | None, publishing_format: PublishingFormat
) -> Json:
    """Build the envelope; ``user_id`` is the local id of the publishing user, None for facts of the LMS."""
    metadata, body = grade_change["metadata"], grade_change["body"]
    account = publishing_format.lms_url or publishing_format.source
    course = f"{URN}:course:{metadata['context_id']}"
    user = publishing_format.format_id(int(user_id)) if user_id is not None else NO_USER_ID
    role = LIS_ROLES.get(metadata.get("context_role", ""))
    is_person = body["grader_id"] is not None
    event = {
        "@context": CALIPER_VERSION,
        "id": f"urn:uuid:{caliper_id}",
        "type": "GradeEvent",
        "actor": _build_person(user) if is_person else {"id": account, "type": "SoftwareApplication"},
        "action": "Graded",
        "object": _build_attempt(body, with_entity_id=True),
        "eventTime": metadata["event_time"],
        "generated": _build_score(body),
        "edApp": {"id": account, "type": "SoftwareApplication"},
        "group": {
            "id": course,
            "type": "CourseOffering",
            "extensions": {NAMESPACE: {"context_type": "Course", "entity_id": metadata["context_id"]}},
        },
        "membership": _build_membership(course, user, role) if is_person and role is not None else None,
        "session": _build_session(metadata.get("session_id")),
        "referrer": _parse_iri(metadata.get("referrer")),
        "extensions": {NAMESPACE: _build_cause_extension(metadata)},
    }
    # Both times come from the event, so that a replay sends the same bytes.
    return {
        "sensor": account,
        "sendTime": metadata["event_time"],
        "dataVersion": CALIPER_VERSION,
        "data": [_drop_nulls(event)],
    }


def _build_person(user: str | None) -> Json:
    return {"id": f"{URN}:user:{user}", "type": "Person"}


def _build_attempt(body: Json, *, with_entity_id: bool) -> Json:
    entity_id = {"entity_id": body["submission_id"]} if with_entity_id else {}
    sis_id = _build_extensions({"sis_id": body["student_sis_id"]})
    assignable = {"id": f"{URN}:assignment:{body['assignment_id']}", "type": "AssignableDigitalResource"}
    return {
        "id": f"{URN}:submission:{body['submission_id']}",
        "type": "Attempt",
        **_build_extensions({"grade": body["grade"], **entity_id}),
        "assignee": {**_build_person(body["student_id"]), **sis_id},
        "assignable": assignable,
    }


def _build_score(body: Json) -> Json:
    grader = body["grader_id"]
    score = {
        "id": f"{URN}:submission:{body['submission_id']}",
        "type": "Score",
        **_build_extensions({"grade": body["grade"], "entity_id": body["submission_id"]}),
        "attempt": _build_attempt(body, with_entity_id=False),
        "maxScore": _to_float(body["points_possible"]),
        "scoreGiven": _to_float(body["score"]),
        "scoredBy": None if grader is None else f"{URN}:user:{grader}",
    }
    return _drop_nulls(score)


def _build_membership(course: str, user: str | None, role: str) -> Json:
    return {
        "id": f"{course}:{role}:{user}",
        "type": "Membership",
        "member": _build_person(user),
        "organization": {"id": course, "type": "CourseOffering"},
        "roles": [role],
    }


def _build_session(session_id: str | None) -> Json | None:
    return None if session_id is None else {"id": f"{URN}:session:{session_id}", "type": "Session"}


def _parse_iri(text: str | None) -> str | None:
    """Return a referrer that is an absolute IRI, else None: browsers send others too."""
    return text if text is not None and _IRI.fullmatch(text) else None


def _build_cause_extension(metadata: Json) -> Json:
    """Describe the web request or the job that caused the event."""
    if "job_id" in metadata:
        return {"job_id": metadata["job_id"], "job_tag": metadata["job_tag"], "version": "1.0.0"}
    request_fields = {name: metadata[name] for name in _REQUEST_FIELDS}
    return _drop_nulls({**request_fields, "request_url": metadata["url"], "version": "1.0.0"})


def _build_extensions(fields: Json) -> Json:
    non_null_fields = _drop_nulls(fields)
    return {"extensions": {NAMESPACE: non_null_fields}} if non_null_fields else {}


def _drop_nulls(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _to_float(number: float | None) -> float | None:
    return None if number is None else float(number)

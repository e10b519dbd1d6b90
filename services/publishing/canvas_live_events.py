"""Builds Canvas Live Events from stored events: ``grade_change`` of a web request or of a job. Pure.

Canvas: lib/canvas/live_events.rb (grade_change, amended_context), lib/live_events.rb (set_context).
"""

from typing import Any

import orjson

from services.eventlog.feeds import EventRow
from services.kafka.records import OutgoingRecord
from services.publishing.cloudevents import (
    GradeChangeCause,
    PublishingFormat,
    build_grade_change_headers,
    encode_key,
    format_event_time,
)
from services.publishing.user_history import EventUsers, UserIdentifiers

Json = dict[str, Any]


def build_live_event_record(
    row: EventRow, cause: GradeChangeCause, grade_change: Json, publishing_format: PublishingFormat
) -> OutgoingRecord:
    """Build the record of a grade_change."""
    headers = build_grade_change_headers(
        row, cause, publishing_format, "live-events", "canvas.grade_change.v1", cause.live_id
    )
    headers += [("event_name", b"grade_change"), ("event_time", format_event_time(row).encode())]
    return OutgoingRecord("live-events", row.shard, encode_key(row.course), orjson.dumps(grade_change), headers)


def build_grade_change(
    row: EventRow, metadata: Json, event_users: EventUsers, publishing_format: PublishingFormat
) -> Json:
    """Build Canvas's event from a stored one, its metadata, and its users as they were at that time."""
    data = orjson.loads(row.data)
    return {
        "metadata": _build_metadata(row, metadata, data["user_id"], event_users.actor, publishing_format),
        "body": _build_body(row, metadata, int(data["submission_id"]), event_users.student, publishing_format),
    }


def _build_metadata(
    row: EventRow, metadata: Json, user_id: str | None, actor: UserIdentifiers, publishing_format: PublishingFormat
) -> Json:
    snapshot = metadata["live"]
    common_fields = {
        "event_name": "grade_change",
        "event_time": format_event_time(row),
        "producer": "canvas",
        "root_account_id": publishing_format.format_id(row.root_account),
        "root_account_uuid": snapshot["root_account_uuid"],
        "root_account_lti_guid": snapshot["root_account_lti_guid"],
        "context_type": "Course",
        "context_id": publishing_format.format_id(row.course),
        "context_account_id": publishing_format.format_id(snapshot["account_id"]),
        "context_sis_source_id": snapshot["sis_source_id"],
    }
    request = metadata.get("request")
    if request is None:
        return {**common_fields, "job_id": str(row.position), "job_tag": snapshot["job_tag"]}
    if user_id is None:
        return {**common_fields, **request}
    user_fields = {"user_id": publishing_format.format_id(int(user_id)), "time_zone": None}
    if actor.login is not None:
        # A login belongs to a root account.
        user_fields |= {
            "user_login": actor.login,
            "user_account_id": publishing_format.format_id(row.root_account),
            "user_sis_id": actor.sis_id,
        }
    return {**common_fields, **user_fields, **request}


def _build_body(
    row: EventRow, metadata: Json, submission_id: int, student: UserIdentifiers, publishing_format: PublishingFormat
) -> Json:
    snapshot, student_id = metadata["live"], publishing_format.format_id(metadata["student_id"])
    points_possible = snapshot["points_possible"]
    return {
        "submission_id": publishing_format.format_id(submission_id),
        "assignment_id": publishing_format.format_id(row.assignment),
        "assignment_name": snapshot["assignment_name"],
        "grade": snapshot["grade"],
        "old_grade": snapshot["old_grade"],
        "score": snapshot["score"],
        "old_score": snapshot["old_score"],
        "points_possible": points_possible,
        "old_points_possible": points_possible,
        "grader_id": publishing_format.format_id(snapshot["grader_id"]),
        "student_id": student_id,
        "student_sis_id": student.sis_id,
        "user_id": student_id,
        "grading_complete": snapshot["grading_complete"],
        "muted": snapshot["muted"],
    }

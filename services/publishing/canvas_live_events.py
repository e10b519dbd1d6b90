"""Stored events to Canvas Live Events: ``grade_change`` as a web request makes it, or as a job does. Pure.

Canvas: lib/canvas/live_events.rb (grade_change, amended_context), lib/live_events.rb (set_context).
"""

from typing import Any

import orjson

from services.eventlog.feeds import EventRow
from services.publishing.cloudevents import Form, Message, headers_of, subject_of, time_of
from services.publishing.user_history import Named, Person

Json = dict[str, Any]


def live_message(row: EventRow, metadata: Json, value: Json, form: Form) -> Message:
    """The record of a grade_change."""
    time = time_of(row)
    headers = headers_of(
        form,
        "live-events",
        "canvas.grade_change.v1",
        metadata["live_id"],
        row.shard,
        row.live_number or 0,
        metadata,
        root_account=row.root_account,
        time=time,
        subject=subject_of(row, metadata),
    )
    headers += [("event_name", b"grade_change"), ("event_time", time.encode())]
    return Message("live-events", row.shard, str(row.course).encode(), orjson.dumps(value), headers)


def grade_change(row: EventRow, metadata: Json, named: Named, form: Form) -> Json:
    """Canvas's event. ``metadata``: the stored event's own; ``named``: as people were then."""
    data = orjson.loads(row.data)
    return {
        "metadata": _metadata(row, metadata, data["user_id"], named.actor, form),
        "body": _body(row, metadata, int(data["submission_id"]), named.student, form),
    }


def _metadata(row: EventRow, metadata: Json, user_id: str | None, actor: Person, form: Form) -> Json:
    live = metadata["live"]
    of_the_course = {
        "event_name": "grade_change",
        "event_time": time_of(row),
        "producer": "canvas",
        "root_account_id": form.id(row.root_account),
        "root_account_uuid": live["root_account_uuid"],
        "root_account_lti_guid": live["root_account_lti_guid"],
        "context_type": "Course",
        "context_id": form.id(row.course),
        "context_account_id": form.id(live["account_id"]),
        "context_sis_source_id": live["sis_source_id"],
    }
    request = metadata.get("request")
    if request is None:
        return {**of_the_course, "job_id": str(row.position), "job_tag": live["job_tag"]}
    if user_id is None:
        return {**of_the_course, **request}
    user = {"user_id": form.id(int(user_id)), "time_zone": None}
    if actor.login is not None:
        # Logins belong to root accounts.
        user |= {"user_login": actor.login, "user_account_id": form.id(row.root_account), "user_sis_id": actor.sis_id}
    return {**of_the_course, **user, **request}


def _body(row: EventRow, metadata: Json, submission_id: int, student: Person, form: Form) -> Json:
    live, student_id = metadata["live"], form.id(metadata["student_id"])
    points = live["points_possible"]
    return {
        "submission_id": form.id(submission_id),
        "assignment_id": form.id(row.assignment),
        "assignment_name": live["assignment_name"],
        "grade": live["grade"],
        "old_grade": live["old_grade"],
        "score": live["score"],
        "old_score": live["old_score"],
        "points_possible": points,
        "old_points_possible": points,
        "grader_id": form.id(live["grader_id"]),
        "student_id": student_id,
        "student_sis_id": student.sis_id,
        "user_id": student_id,
        # Events stored before it was kept are all of graded submissions.
        "grading_complete": live.get("grading_complete", True),
        "muted": live["muted"],
    }

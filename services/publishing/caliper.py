"""A grade_change as an IMS Caliper 1.1 envelope with one GradeEvent, in Canvas's shape. Pure.

What is null is left out, as the specification asks; numbers are floats, or its reference parser refuses them.
"""

import hashlib
import re
import uuid
from typing import Any

import orjson

from services.eventlog.feeds import EventRow
from services.publishing.cloudevents import Form, Message, headers_of, subject_of, time_of

Json = dict[str, Any]
VERSION = "http://purl.imsglobal.org/ctx/caliper/v1p1"
NAMESPACE = "com.instructure.canvas"
URN = "urn:instructure:canvas"
NOBODY = "0"
# Canvas's roles in the terms of the IMS LIS vocabulary.
LIS_ROLES = {
    "TeacherEnrollment": "Instructor",
    "TaEnrollment": "TeachingAssistant",
    "DesignerEnrollment": "ContentDeveloper",
    "StudentEnrollment": "Learner",
    "ObserverEnrollment": "Mentor",
    "AccountAdmin": "Administrator",
}
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_TOLD = ("client_ip", "hostname", "request_id", "user_agent")


def caliper_message(row: EventRow, metadata: Json, change: Json, form: Form) -> Message:
    """The record of a GradeEvent; ``change``: the same event as Canvas's grade_change."""
    caliper_id = caliper_id_of(metadata)
    value = envelope(change, caliper_id, orjson.loads(row.data)["user_id"], form)
    headers = headers_of(
        form,
        "caliper",
        "caliper.grade_event.v1",
        caliper_id,
        row.shard,
        row.live_number or 0,
        metadata,
        root_account=row.root_account,
        time=time_of(row),
        subject=subject_of(row, metadata),
    )
    return Message("caliper", row.shard, str(row.course).encode(), orjson.dumps(value), headers)


def caliper_id_of(metadata: Json) -> str:
    """The id drawn when the event was decided.

    Events stored before one was drawn have one that follows from that of the grade_change: the same whenever asked.
    """
    if "caliper_id" in metadata:
        return str(metadata["caliper_id"])
    digest = hashlib.sha256(b"caliper " + metadata["live_id"].encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def envelope(change: Json, caliper_id: str, user_id: str | None, form: Form) -> Json:
    """``user_id``: who published, the local id; None for facts, which name nobody."""
    metadata, body = change["metadata"], change["body"]
    account = form.account_url or form.source
    course = f"{URN}:course:{metadata['context_id']}"
    user = form.id(int(user_id)) if user_id is not None else NOBODY
    role = LIS_ROLES.get(metadata.get("context_role", ""))
    is_person = body["grader_id"] is not None
    event = {
        "@context": VERSION,
        "id": f"urn:uuid:{caliper_id}",
        "type": "GradeEvent",
        "actor": _person(user) if is_person else {"id": account, "type": "SoftwareApplication"},
        "action": "Graded",
        "object": _attempt(body, with_entity_id=True),
        "eventTime": metadata["event_time"],
        "generated": _score(body),
        "edApp": {"id": account, "type": "SoftwareApplication"},
        "group": {
            "id": course,
            "type": "CourseOffering",
            "extensions": {NAMESPACE: {"context_type": "Course", "entity_id": metadata["context_id"]}},
        },
        "membership": _membership(course, user, role) if is_person and role is not None else None,
        "session": _session(metadata.get("session_id")),
        "referrer": _iri(metadata.get("referrer")),
        "extensions": {NAMESPACE: _of_cause(metadata)},
    }
    # Nothing but the event may set the times: the same event is the same bytes whenever it is sent.
    return {"sensor": account, "sendTime": metadata["event_time"], "dataVersion": VERSION, "data": [_stated(event)]}


def _person(user: str | None) -> Json:
    return {"id": f"{URN}:user:{user}", "type": "Person"}


def _attempt(body: Json, *, with_entity_id: bool) -> Json:
    entity_id = {"entity_id": body["submission_id"]} if with_entity_id else {}
    sis_id = _extended({"sis_id": body["student_sis_id"]})
    assignable = {"id": f"{URN}:assignment:{body['assignment_id']}", "type": "AssignableDigitalResource"}
    return {
        "id": f"{URN}:submission:{body['submission_id']}",
        "type": "Attempt",
        **_extended({"grade": body["grade"], **entity_id}),
        "assignee": {**_person(body["student_id"]), **sis_id},
        "assignable": assignable,
    }


def _score(body: Json) -> Json:
    grader = body["grader_id"]
    score = {
        "id": f"{URN}:submission:{body['submission_id']}",
        "type": "Score",
        **_extended({"grade": body["grade"], "entity_id": body["submission_id"]}),
        "attempt": _attempt(body, with_entity_id=False),
        "maxScore": _float(body["points_possible"]),
        "scoreGiven": _float(body["score"]),
        "scoredBy": None if grader is None else f"{URN}:user:{grader}",
    }
    return _stated(score)


def _membership(course: str, user: str | None, role: str) -> Json:
    return {
        "id": f"{course}:{role}:{user}",
        "type": "Membership",
        "member": _person(user),
        "organization": {"id": course, "type": "CourseOffering"},
        "roles": [role],
    }


def _session(session_id: str | None) -> Json | None:
    return None if session_id is None else {"id": f"{URN}:session:{session_id}", "type": "Session"}


def _iri(text: str | None) -> str | None:
    """What a browser sends as a referrer, if it is one."""
    return text if text is not None and _IRI.fullmatch(text) else None


def _of_cause(metadata: Json) -> Json:
    """The web request or the job that made the event."""
    if "job_id" in metadata:
        return {"job_id": metadata["job_id"], "job_tag": metadata["job_tag"], "version": "1.0.0"}
    told = {name: metadata[name] for name in _TOLD}
    return _stated({**told, "request_url": metadata["url"], "version": "1.0.0"})


def _extended(fields: Json) -> Json:
    stated = _stated(fields)
    return {"extensions": {NAMESPACE: stated}} if stated else {}


def _stated(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)

"""Completes the OpenAPI document that FastAPI generates: tags, servers, meanings of path parameters, example bodies."""

from typing import Any

from schemas.reasons import REASONS

Document = dict[str, Any]
_HEADER_COMPONENTS = {
    "ModerationReason": {
        "description": "the reason in the command's verdict, if a rule rejected it",
        "schema": {"type": "string", "enum": list(REASONS)},
    }
}
CANVAS_MODERATION, CANVAS_READS = "Canvas: moderated grading", "Canvas: courses and people"
OWN_MODERATION, OWN_READS, HEALTH = "Plan, agree, schedule, revise", "Verdicts, states, audit", "Health"
_TAGS = {
    CANVAS_MODERATION: "Canvas's own paths. A Canvas client changes its base URL.",
    OWN_MODERATION: "What Canvas does not have, for those who moderate.",
    CANVAS_READS: "What Canvas clients request first, answered from the facts that the LMS sent.",
    OWN_READS: "The verdict of a command, and the state of an assignment at any version or time.",
    HEALTH: "For load balancers, orchestrators and Prometheus.",
}
_OWN_READS = frozenset({"commands/{command_id}", "state", "events", "agreement"})
_PATH_PARAMETERS = {
    "course_id": "the course's id, or `sis_course_id:…`",
    "assignment_id": "the assignment's id",
    "user_id": "the user's id, `self`, `sis_user_id:…` or `sis_login_id:…`",
    "anonymous_id": "the submission's anonymous id, of five letters and digits",
    "provisional_grade_id": "the id that a submission's `provisional_grades` show",
    "command_id": "the command's UUID; over HTTP it is in `Location`",
    "student_id": "the student's user id; the anonymous id while the assignment hides its students",
}
_DIGEST = "sha256:" + "0" * 64
_EXAMPLE_BODIES: dict[str, Document] = {
    "moderated_students": {"student_ids": [31, 32]},
    "submissions/{user_id}": {"submission": {"posted_grade": "16.5", "provisional": True}},
    "anonymous_submissions/{anonymous_id}": {"submission": {"posted_grade": "16.5", "provisional": True}},
    "bulk_select": {"provisional_grade_ids": [1048577, 1048578]},
    "publish": {"plan_digest": _DIGEST},
    "schedule_publication": {"publish_at": "2026-02-03T08:00:00Z", "plan_digest": _DIGEST},
    "set_adjudication_policy": {
        "adjudication": {"marks": 2, "within_percent": "5", "boundaries": ["40", "50", "60", "70"], "result": "mean"}
    },
    "adjudicate_provisional_grades": {"student_ids": [31, 32]},
    "revise_published_grade": {"student_id": 31, "posted_grade": "17", "reason": "Appeal: question 4"},
    "withdraw_published_grade": {"student_id": 31, "reason": "Entered for another student"},
    "release_grader_slot": {"grader_id": 21},
    "allocate_submissions": {"evenly": {"grader_ids": [21, 22], "marks": 2}, "enforced": True},
    "draw_moderation_sample": {"percent": 10, "include": ["failing"]},
}
"""Bodies by the end of the path."""


def complete_document(document: Document) -> Document:
    """Add what FastAPI does not know. Remove its own 422 responses: it validates no parameters here."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            validation_response = operation["responses"].get("422", {})
            if validation_response.get("description") == "Validation Error":
                del operation["responses"]["422"]
            operation["tags"] = [_choose_tag(path)]
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter.setdefault("description", _PATH_PARAMETERS[parameter["name"]])
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                content["application/json"]["example"] = _find_example(path)
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    document["components"]["headers"] = _HEADER_COMPONENTS
    document["servers"] = [{"url": "/", "description": "the gateway that serves this document"}]
    document["tags"] = [{"name": name, "description": description} for name, description in _TAGS.items()]
    return document


def _choose_tag(path: str) -> str:
    """Return the tag of a path's operations."""
    if path.startswith("/api/moderation/v1/"):
        return OWN_READS if any(path.endswith(f"/{end}") for end in _OWN_READS) else OWN_MODERATION
    if not path.startswith("/api/v1/"):
        return HEALTH
    return CANVAS_MODERATION if "/assignments/{assignment_id}/" in path else CANVAS_READS


def _find_example(path: str) -> Document:
    return next(body for end, body in _EXAMPLE_BODIES.items() if path.endswith(f"/{end}"))

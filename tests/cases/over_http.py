"""Turns the operations of an acceptance case into requests of Canvas's HTTP API."""

from typing import Any

from tests.cases.adapter import World

Json = dict[str, Any]
AUDITOR = "the auditor"


def assignment_path(world: World, name: str) -> str:
    return f"/api/v1/courses/{world.course_id}/assignments/{world.assignment_id(name)}"


def auditor_command(world: World) -> Json:
    """The command that lets somebody see states and events."""
    admin = {"user_id": world.user_id(AUDITOR), "permissions": ["view_audit_trail"]}
    return world.command("upsert_admins", {"admins": [admin]})


def build_request(world: World, when: Json, documents: dict[str, Json]) -> tuple[str, str, Json]:
    """Method, path and httpx's options; ``documents``: the states before, by assignment name."""
    path = assignment_path(world, when["assignment"])
    match when["operation"]:
        case "list_moderation_set":
            paging = {name: when[name] for name in ("page", "per_page") if name in when}
            return "GET", f"{path}/moderated_students", {"params": paging}
        case "add_to_moderation_set":
            students = (
                {"student_ids[]": [world.user_id(name) for name in when["students"]]} if "students" in when else {}
            )
            return "POST", f"{path}/moderated_students", {"data": students}
        case "bulk_select":
            grades = {"provisional_grade_ids[]": [str(world.provisional_grade_id(name)) for name in when["pgs"]]}
            return "PUT", f"{path}/provisional_grades/bulk_select", {"data": grades}
        case "select":
            return "PUT", f"{path}/provisional_grades/{world.provisional_grade_id(when['pg'])}/select", {}
        case "publish":
            return "POST", f"{path}/provisional_grades/publish", {}
        case "status" | "anonymous_status":
            return "GET", *_status_request(world, when, documents, path)
        case "grade" | "comment":
            return "PUT", f"{path}/submissions/{world.user_id(when['student'])}", {"data": _grading_form(when)}
        case "list_provisional_grades":
            included = {"include[]": "provisional_grades"}
            return "GET", f"{path}/submissions/{world.user_id(when['student'])}", {"params": included}
    raise ValueError(when["operation"])


def _status_request(world: World, when: Json, documents: dict[str, Json], path: str) -> tuple[str, Json]:
    submission = _find_submission(world, when, documents)
    params: Json = {}
    if "last_updated_at" in when:
        submission_updated_at = submission["updated_at"] or "2026-01-01T00:00:00Z"
        params["last_updated_at"] = (
            submission_updated_at if when["last_updated_at"] == "same" else "2001-01-01T00:00:00Z"
        )
    if when["operation"] == "status":
        return f"{path}/provisional_grades/status", {"params": {"student_id": world.user_id(when["student"]), **params}}
    anonymous = {"anonymous_id": submission["anonymous_id"]}
    return f"{path}/anonymous_provisional_grades/status", {"params": {**anonymous, **params}}


def _find_submission(world: World, when: Json, documents: dict[str, Json]) -> Json:
    student = int(world.user_id(when["student"]))
    rows = documents.get(when["assignment"], {"submissions": []})["submissions"]
    return next((row for row in rows if row["student_id"] == student), {"updated_at": None, "anonymous_id": "zzzzz"})


def _grading_form(when: Json) -> Json:
    form: Json = {"submission[provisional]": "true"}
    for name in ("posted_grade", "excuse", "final", "graded_anonymously"):
        if name in when:
            form[f"submission[{name}]"] = str(when[name]).lower() if isinstance(when[name], bool) else when[name]
    if "score" in when:
        form["submission[posted_grade]"] = str(when["score"])
    comment = when.get("comment", when.get("text"))
    return form if comment is None else {**form, "comment[text_comment]": comment}

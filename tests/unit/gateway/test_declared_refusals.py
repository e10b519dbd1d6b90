"""The OpenAPI document declares every refusal of a command: status, body, and the header with its reason."""

from typing import Any

import jsonschema_rs
import pytest

from schemas.reasons import REASONS
from services.gateway.command_client import raise_for_verdict
from services.gateway.openapi_document import read_document
from services.gateway.responses import ApiError
from services.moderation.commands import MODERATION_COMMANDS

Json = dict[str, Any]
GRADING = ("record_provisional_grade", "record_provisional_comment")
COMMON = {
    "invalid_command", "unsupported_version", "unauthenticated", "unauthorized", "not_found", "command_id_reused",
    "command_expired",
}  # fmt: skip
OF_GRADES = {
    "student_not_enrolled", "not_assigned", "not_allocated", "max_graders_reached", "modify_selected",
    "final_without_provisional", "final_not_permitted", "grade_and_excuse", "invalid_score",
}  # fmt: skip
UNPUBLISHED = {"not_moderated", "already_published"}
OWN_REASONS: dict[str, set[str]] = {
    **dict.fromkeys(GRADING, OF_GRADES),
    "select_students_for_moderation": {"missing_student_ids"},
    "select_provisional_grade": {"not_in_moderation_set"},
    "bulk_select_provisional_grades": set(),
    "publish_provisional_grades": {
        *UNPUBLISHED, "selection_required", "adjudication_stale", "plan_outdated", "not_scheduled",
    },
    "plan_publication": set(),
    "schedule_publication": {*UNPUBLISHED, "invalid_schedule", "plan_outdated"},
    "cancel_scheduled_publication": {*UNPUBLISHED, "not_scheduled"},
    "set_adjudication_policy": {*UNPUBLISHED, "invalid_adjudication"},
    "adjudicate_provisional_grades": {*UNPUBLISHED, "invalid_adjudication"},
    "revise_published_grade": {"not_moderated", "not_published", "grade_and_excuse", "invalid_score"},
    "withdraw_published_grade": {"not_moderated", "not_published"},
    "release_grader_slot": {"not_moderated", "slot_in_use"},
    "draw_moderation_sample": {*UNPUBLISHED, "invalid_sample"},
    "allocate_submissions": {*UNPUBLISHED, "invalid_allocation", "max_graders_reached"},
}  # fmt: skip
OPERATIONS: dict[str, tuple[str, ...]] = {
    **{command: (command,) for command in OWN_REASONS},
    **dict.fromkeys(GRADING, ("grade_or_comment_submission", "grade_or_comment_submission_by_anonymous_id")),
}


def refuse(command: str, reason: Any) -> ApiError:
    """Build the gateway's response to a verdict."""
    status = REASONS[reason].http_status
    verdict = {"status": "rejected", "reason": reason, "message": "No.", "errors": [], "http_status": status}
    with pytest.raises(ApiError) as refused:
        raise_for_verdict(verdict, is_grading=command in GRADING)
    return refused.value


def find_operation(operation_id: str) -> Json:
    found: Json = next(
        operation
        for operations in read_document()["paths"].values()
        for operation in operations.values()
        if operation["operationId"] == operation_id
    )
    return found


def test_table_has_every_command_and_every_reason() -> None:
    assert OWN_REASONS.keys() == MODERATION_COMMANDS
    # The only one that facts alone give.
    assert COMMON.union(*OWN_REASONS.values()) == REASONS.keys() - {"moderation_locked"}


@pytest.mark.parametrize("command", OWN_REASONS)
def test_every_refusal_of_a_command_is_declared_with_its_body_and_the_header_of_its_reason(command: str) -> None:
    for operation_id in OPERATIONS[command]:
        responses = find_operation(operation_id)["responses"]
        for reason in sorted(COMMON | OWN_REASONS[command]):
            error = refuse(command, reason)
            assert str(error.status) in responses, (operation_id, reason)
            declared = responses[str(error.status)]
            assert "X-Moderation-Reason" in declared.get("headers", {}), (operation_id, reason, error.status)
            schema = declared["content"]["application/json"]["schema"]
            jsonschema_rs.validator_for({**schema, "components": read_document()["components"]}).validate(error.body)
            if error.status in (409, 410, 422):
                assert f"`{reason}`" in declared["description"], (operation_id, reason)


@pytest.mark.parametrize("command", OWN_REASONS)
def test_no_conflict_is_declared_that_a_command_never_gives(command: str) -> None:
    given = {refuse(command, reason).status for reason in COMMON | OWN_REASONS[command]}
    for operation_id in OPERATIONS[command]:
        declared = {int(status) for status in find_operation(operation_id)["responses"]}
        assert declared & {409, 410, 422} <= given

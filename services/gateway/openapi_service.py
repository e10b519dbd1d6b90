"""The OpenAPI description of operations that Canvas does not have: plans, agreed marks, revisions, samples, states."""

from schemas import agreement, service_answers, state_answers
from schemas.canvas import errors, values
from schemas.fields import COUNT_MAX, DIGEST_PATTERN, REASON_MAX
from schemas.moderation_results import (
    Adjudication,
    Allocation,
    PublicationPlan,
    RevisionResult,
    Sample,
    ScheduleResult,
    SlotResult,
    WhatIf,
)
from services.gateway.openapi_canvas import GRADE_GROUPS
from services.gateway.openapi_parts import (
    ERROR_RESPONSES,
    ID_SCHEMA,
    PAGE_PARAMETERS,
    RATE_LIMIT_HEADERS,
    Document,
    boolean_schema,
    object_schema,
    read_operation,
    write_operation,
)

_PUBLICATION_FIELDS: dict[str, Document] = {
    "plan_digest": {
        "type": ["string", "null"],
        "pattern": DIGEST_PATTERN,
        "description": "publish only if the plan still has this digest, else 409 `plan_outdated`",
    }
}
PUBLISH = write_operation(
    errors.Message,
    "The selected grades are published",
    _PUBLICATION_FIELDS,
    form=_PUBLICATION_FIELDS,
    refusals={
        409: "The plan is not the one of `plan_digest` (`plan_outdated`), or marks or settings changed since students"
        " were adjudicated (`adjudication_stale`)",
        422: "A student has several provisional grades and none is selected (`selection_required`)",
    },
)
PLAN_PUBLICATION = write_operation(PublicationPlan[values.Id], "What a publication by the caller would do", {})
_SCHEDULE_FIELDS: dict[str, Document] = {
    "publish_at": {
        "type": "string",
        "format": "date-time",
        "description": "time of the publication (RFC 3339): in the future, within 400 days",
    },
    "plan_digest": {
        **_PUBLICATION_FIELDS["plan_digest"],
        "description": "publish only this plan: 409 `plan_outdated` if it is not the current plan, and no publication"
        " if it changes before the scheduled time, as it also does when the LMS states another anonymous id of a hidden"
        " student or anonymous grading is switched",
    },
}
SCHEDULE_PUBLICATION = write_operation(
    ScheduleResult[values.Id],
    "The schedule in force",
    _SCHEDULE_FIELDS,
    form=_SCHEDULE_FIELDS,
    refusals={409: "The plan is not the one of `plan_digest`, or cannot be published now (`plan_outdated`)"},
)
CANCEL_SCHEDULED_PUBLICATION = write_operation(ScheduleResult[values.Id], "The cancelled schedule", {})
GET_PUBLICATION_PLAN = read_operation(PublicationPlan[values.Id], "What a publication by the caller would do")
_POLICY_FIELDS: dict[str, Document] = {
    "adjudication": {
        "type": ["object", "null"],
        "description": "marks, within_points, within_percent, boundaries, result, rounding, otherwise, third; or null",
    }
}
SET_ADJUDICATION_POLICY = write_operation(
    service_answers.AdjudicationPolicyAnswer,
    "The policy in force",
    _POLICY_FIELDS,
    form={"adjudication[result]": {"type": "string", "description": "the policy's result; its other fields likewise"}},
)
ADJUDICATE = write_operation(
    Adjudication[values.Id],
    "The result for each student",
    {
        "student_ids": {
            "type": ["array", "null"],
            "items": {"type": ["integer", "string"]},
            "description": "students of the moderation set, by anonymous id while they are hidden; default: all",
        }
    },
    form={
        "student_ids[]": {
            "type": "array",
            "items": {"type": "string"},
            "description": "students of the moderation set, by anonymous id while they are hidden; default: all",
        }
    },
)
GET_ADJUDICATION = read_operation(WhatIf[values.Id], "What an adjudication by the policy would do")
_WITHDRAWAL_FIELDS: dict[str, Document] = {
    "student_id": {**ID_SCHEMA, "description": "the student whose grade was published"},
    "reason": {"type": "string", "minLength": 1, "maxLength": REASON_MAX, "description": "why, for the audit trail"},
}
_REVISION_FIELDS: dict[str, Document] = {
    **_WITHDRAWAL_FIELDS,
    "posted_grade": GRADE_GROUPS["submission"]["posted_grade"],
    "score": GRADE_GROUPS["submission"]["score"],
    "excuse": boolean_schema("excuse the student instead"),
}
REVISE_GRADE = write_operation(
    RevisionResult[values.Id], "The gradebook entry after the revision", _REVISION_FIELDS, form=_REVISION_FIELDS
)
WITHDRAW_GRADE = write_operation(
    RevisionResult[values.Id], "The gradebook entry after the withdrawal", _WITHDRAWAL_FIELDS, form=_WITHDRAWAL_FIELDS
)
_SLOT_FIELDS: dict[str, Document] = {"grader_id": {**ID_SCHEMA, "description": "the grader whose slot is released"}}
RELEASE_SLOT = write_operation(
    SlotResult[values.Id],
    "The grader whose slot is free now",
    _SLOT_FIELDS,
    form=_SLOT_FIELDS,
    refusals={409: "The grader has entered a grade (`slot_in_use`)"},
)
_STUDENT_KEYS: Document = {
    "type": "array",
    "items": {"type": ["integer", "string"]},
    "description": "students, by anonymous id while they are hidden",
}
_GRADERS: Document = {"type": "array", "items": ID_SCHEMA, "minItems": 1, "description": "the graders"}
_MARKS: Document = {
    "type": ["integer", "string"],
    "minimum": 1,
    "maximum": 10,
    "description": "number of graders for each student",
}
_ENFORCED: Document = boolean_schema("other graders are refused; absent: unchanged")
_ALLOCATION_FIELDS: dict[str, Document] = {
    "allocations": {
        "type": ["array", "null"],
        "items": object_schema(
            {"grader_id": {**ID_SCHEMA, "description": "the grader"}, "student_ids": _STUDENT_KEYS}, required=True
        ),
        "description": "each grader with the students to mark; either this or evenly",
    },
    "evenly": {
        "anyOf": [object_schema({"grader_ids": _GRADERS, "marks": _MARKS}, required=True), {"type": "null"}],
        "description": "distribute the moderation set over graders, with this number of marks for each student",
    },
    "enforced": _ENFORCED,
}
_ALLOCATION_FORM_FIELDS: dict[str, Document] = {
    "evenly[grader_ids][]": _GRADERS,
    "evenly[marks]": _MARKS,
    "enforced": _ENFORCED,
}
ALLOCATE = write_operation(
    Allocation[values.Id], "The allocation in force", _ALLOCATION_FIELDS, form=_ALLOCATION_FORM_FIELDS
)
ALLOCATE["responses"][403] = {
    **ALLOCATE["responses"][403],
    "model": errors.Errors | errors.Message,
    "description": "The caller lacks the permission, or there are more graders than slots",
}
GET_ALLOCATION = read_operation(Allocation[values.Id], "The allocation in force")
_PERCENT_FIELD: Document = {"type": ["number", "string", "null"], "minimum": 0, "maximum": 100}
_SAMPLE_FIELDS: dict[str, Document] = {
    "percent": {**_PERCENT_FIELD, "description": "of the students with a mark, rounded up"},
    "at_least": {
        "type": ["integer", "string", "null"],
        "minimum": 0,
        "maximum": COUNT_MAX,
        "description": "students, or all with a mark if they are fewer",
    },
    "square_root": boolean_schema("the square root of their number, rounded up"),
    "include": {
        "type": ["array", "null"],
        "items": {"type": "string", "enum": ["failing", "borderline"]},
        "description": "`failing`: below the first boundary; `borderline`: near one; not while students are hidden",
    },
    "borderline_within": {**_PERCENT_FIELD, "description": "with borderline: maximum distance, in percent of points"},
    "strata": {
        "type": ["integer", "string", "null"],
        "minimum": 1,
        "maximum": 100,
        "description": "number of parts into which the order of first marks is divided; default 3",
    },
}
DRAW_SAMPLE = write_operation(
    Sample[values.Id],
    "The students with a mark who are in the moderation set now",
    _SAMPLE_FIELDS,
    form={("include[]" if name == "include" else name): schema for name, schema in _SAMPLE_FIELDS.items()},
)
GET_EXPLANATION = read_operation(service_answers.Explanation, "The explanation, the grade and its history")
GET_COMMAND: Document = {
    "responses": {
        200: {"model": service_answers.CommandVerdict, "description": "The verdict", "headers": RATE_LIMIT_HEADERS},
        202: {"model": errors.Pending, "description": "The record is not decided yet"},
        410: {"model": errors.Message, "description": "The command was decided, but its verdict is no longer kept"},
        **ERROR_RESPONSES,
    }
}
GET_STATE = read_operation(state_answers.AssignmentState, "The state")
LIST_EVENTS = read_operation(
    list[service_answers.AuditEvent], "The events, by version", paginated=True, query=PAGE_PARAMETERS
)
GET_AGREEMENT = read_operation(agreement.Agreement, "The agreement figures")
GET_AGREEMENT["responses"][200]["content"] = {
    "text/csv": {"schema": {"type": "string"}},
    "text/plain": {"schema": {"type": "string"}},
}

"""Reasons of refusals (contract section 4): when each occurs, what the sender should do, and its HTTP status."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Reason = Literal[
    "invalid_command",
    "unsupported_version",
    "unauthenticated",
    "unauthorized",
    "not_found",
    "not_moderated",
    "already_published",
    "not_in_moderation_set",
    "missing_student_ids",
    "selection_required",
    "max_graders_reached",
    "invalid_score",
    "modify_selected",
    "final_without_provisional",
    "grade_and_excuse",
    "student_not_enrolled",
    "command_id_reused",
    "not_published",
    "moderation_locked",
    "not_assigned",
    "final_not_permitted",
    "plan_outdated",
    "invalid_schedule",
    "not_scheduled",
    "invalid_adjudication",
    "adjudication_stale",
    "slot_in_use",
    "invalid_sample",
    "invalid_allocation",
    "not_allocated",
    "command_expired",
]


class ReasonInfo(NamedTuple):
    """``when``: the problem; ``remedy``: what the sender should do."""

    when: str
    remedy: str
    http_status: int = 400


REASONS: Mapping[Reason, ReasonInfo] = {
    "invalid_command": ReasonInfo(
        "A field is missing, unknown, out of range or contradictory; `errors` lists each.",
        "Correct these fields and send a new command.",
    ),
    "unsupported_version": ReasonInfo(
        "This version of the command is not supported.", "Send version 1, or upgrade the service."
    ),
    "unauthenticated": ReasonInfo(
        "The actor or a valid token is missing.", "Send the same command again with an actor and a valid token.", 401
    ),
    "unauthorized": ReasonInfo(
        "The actor lacks the permission.", "Ask the maintainers of the course's roles; then send a new command.", 403
    ),
    "not_found": ReasonInfo(
        "The course, assignment, student, grade or grader's slot does not exist, or the actor cannot see it.",
        "If `errors` names an id, check it; send the missing facts first.",
        404,
    ),
    "not_moderated": ReasonInfo(
        "The assignment does not use moderated grading.", "Switch moderation on, or grade in the LMS."
    ),
    "already_published": ReasonInfo(
        "The grades of the assignment are already published.", "Nothing; do not repeat the command."
    ),
    "not_in_moderation_set": ReasonInfo(
        "The student is not in the moderation set.", "Select the student for moderation first."
    ),
    "missing_student_ids": ReasonInfo("`student_ids` is absent or empty.", "Send at least one student."),
    "selection_required": ReasonInfo(
        "A student has several provisional grades and none is selected.",
        "Select one for each such student, then publish again.",
        422,
    ),
    "max_graders_reached": ReasonInfo(
        "All grader slots of the assignment are taken.", "Ask the moderator to raise `grader_count`.", 403
    ),
    "invalid_score": ReasonInfo(
        "The grade that was sent gives no score.", "Send a grade that fits the assignment's grading type."
    ),
    "modify_selected": ReasonInfo(
        "The provisional grade is selected and its scorer is not the final grader.",
        "Ask the moderator to select another one first.",
    ),
    "final_without_provisional": ReasonInfo(
        "A final grade needs another provisional grade of the student.", "Record an ordinary provisional grade first."
    ),
    "grade_and_excuse": ReasonInfo("A grade and an excusal were sent together.", "Send one of them."),
    "student_not_enrolled": ReasonInfo(
        "The student has no active or inactive student enrollment in the course.", "Send the enrollment first."
    ),
    "command_expired": ReasonInfo(
        "The command was decided more than 400 days ago; its verdict is no longer kept.",
        "Nothing: it is never decided again. Read the state of the assignment.",
        410,
    ),
    "command_id_reused": ReasonInfo(
        "The `command_id` was used for other content.", "Generate a new id for every new command.", 409
    ),
    "not_published": ReasonInfo("The grades of the assignment have not been published.", "Publish the grades first."),
    "not_assigned": ReasonInfo(
        "The assignment is not assigned to the student.",
        "Send `assigned_to` with the student first, or leave the student out.",
        403,
    ),
    "final_not_permitted": ReasonInfo(
        "A final comment was sent by a user who may not moderate.", "Send it without `final`, or as the moderator."
    ),
    "invalid_adjudication": ReasonInfo(
        "The assignment has no adjudication policy, or the policy contradicts itself or the grading type.",
        "Correct the policy as the message says, in a new command.",
    ),
    "slot_in_use": ReasonInfo(
        "The grader whose slot was to be released has entered a grade.",
        "Keep the slot, or raise `grader_count` for another grader.",
        409,
    ),
    "invalid_allocation": ReasonInfo(
        "An allocation names a grader without `manage_grades`, a student without the assignment, more marks than "
        "graders, or neither or both of `allocations` and `evenly`.",
        "Correct what the message names, in a new command.",
    ),
    "not_allocated": ReasonInfo(
        "The student's work is allocated to other graders, and the allocation is enforced.",
        "Mark the students that are allocated to you, or ask the moderator for another allocation.",
        403,
    ),
    "invalid_sample": ReasonInfo(
        "The moderation set is not hand-picked, the sample has no size, its parts contradict each other, or it would "
        "show by name how hidden students were marked.",
        "Correct the sample as the message says, in a new command.",
    ),
    "adjudication_stale": ReasonInfo(
        "Marks, policy or settings changed since students were adjudicated; the message names the students.",
        "Adjudicate again, then publish in a new command.",
        409,
    ),
    "plan_outdated": ReasonInfo(
        "The plan is not the one whose `plan_digest` was sent: a grade, a choice, the gradebook or the anonymous ids "
        "of hidden students changed since.",
        "Read the plan again, look at what changed, and send its digest in a new command.",
        409,
    ),
    "invalid_schedule": ReasonInfo(
        "`publish_at` is not later than the decision, or more than 400 days ahead.",
        "Send a later or nearer time in a new command, or publish now.",
    ),
    "not_scheduled": ReasonInfo(
        "No publication is scheduled, or another schedule than the one named is in force.",
        "Read the assignment's state; schedule again if a publication is still wanted.",
    ),
    "moderation_locked": ReasonInfo(
        "A setting may not change once grades exist.", "Leave the setting as it is, or use a new assignment."
    ),
}
ACCEPTED_STATUS = 200


def describe_reasons() -> str:
    """Render the table as a Markdown list."""
    return "\n".join(
        f"- `{reason}` ({info.http_status}): {info.when} {info.remedy}" for reason, info in REASONS.items()
    )


def render_markdown() -> str:
    """Write the page of all reasons, for people who send commands."""
    rows = "".join(
        f"| `{name}` | {info.http_status} | {info.when} | {info.remedy} |\n" for name, info in REASONS.items()
    )
    return f"""# Why a command is rejected

A rejected verdict names its `reason`; over HTTP it is in the header `X-Moderation-Reason`, next to Canvas's own text. A
rejected command changed nothing. A new attempt is a new command with a new `command_id`; only after `unauthenticated`
is the same command sent again. This page is generated from [`reasons.py`](reasons.py).

| reason | HTTP status | when | what to do |
|---|---|---|---|
{rows}"""

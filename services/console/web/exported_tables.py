"""The operators' lists that can be downloaded: the columns of the pages' tables, masked in the same way.

An id of shard and number takes two columns: spreadsheets take 4-11 for a date.
"""

import json

from schemas.reasons import REASONS
from services.console.group_lag import GroupLag
from services.console.verdict_stats import RejectionGroup
from services.console.verification_jobs import VerificationJob
from services.console.web.csv_export import CsvTable
from services.console.web.templates import humanize, plain_text
from services.console.wording import pluralize
from services.eventlog.assignment_list import AssignmentSummary
from services.eventlog.dead_letters import DeadLetter, DeadLetterGroup
from services.eventlog.operator_actions import Action
from services.eventlog.pipeline_queries import TopicLag, VerdictSummary

Verification = tuple[VerificationJob, TopicLag | None]
"""The last verification of a topic, and what the relay has not published yet."""


def describe_state(letter: DeadLetter) -> str:
    """Describe whether a dead letter is open, and how it was closed."""
    if letter.resolution is None:
        return "open"
    if letter.resolution == "discard":
        return "discarded"
    if letter.redriven_offset is None:
        return "being redriven"
    return f"redriven to {letter.redriven_partition}/{letter.redriven_offset}"


def describe_result(check: VerificationJob) -> str:
    """Describe the last verification of a topic."""
    if check.is_running:
        return f"reading, {check.offsets_read} of {check.offsets_total} records"
    if check.problem:
        return plain_text(check.problem)
    if check.result is None:
        return "not verified since the console started"
    if check.result.sound:
        return "matches the log"
    return pluralize(len(check.result.findings) + check.result.more_findings, "finding")


def describe_target(action: Action) -> str:
    """Describe what an action was performed on."""
    return ", ".join(f"{humanize(name)} {plain_text(value)}" for name, value in json.loads(action.detail).items())


def _escape(text: str | None) -> str | None:
    return None if text is None else plain_text(text)


def explain_refusal(group: RejectionGroup) -> str | None:
    """Return when commands are refused for the reason; None for a reason that is no longer used."""
    return next((info.when.replace("`", "") for reason, info in REASONS.items() if reason == group.reason), None)


DEAD_LETTER_CAUSES: CsvTable[DeadLetterGroup] = CsvTable(
    "dead-letter-causes",
    {
        "Cause": lambda group: plain_text(group.reason),
        "Open": lambda group: group.count,
        "First (UTC)": lambda group: group.first,
        "Last (UTC)": lambda group: group.last,
        "Partitions": lambda group: ", ".join(map(str, group.partitions)),
        "Message": lambda group: plain_text(group.message),
    },
)
REFUSAL_CAUSES: CsvTable[RejectionGroup] = CsvTable(
    "refusal-causes",
    {
        "Command": lambda group: _escape(group.type),
        "Cause": lambda group: plain_text(group.reason),
        "Meaning": explain_refusal,
        "Count": lambda group: group.count,
        "First (UTC)": lambda group: group.first,
        "Last (UTC)": lambda group: group.last,
    },
)
REFUSALS: CsvTable[VerdictSummary] = CsvTable(
    "refusals",
    {
        "Time (UTC)": lambda verdict: verdict.at,
        "Command id": lambda verdict: plain_text(verdict.command_id),
        "Command": lambda verdict: _escape(verdict.type),
        "Cause": lambda verdict: _escape(verdict.reason),
        "Course": lambda verdict: _escape(verdict.course),
        "Assignment": lambda verdict: _escape(verdict.assignment),
        "Verdict shard": lambda verdict: verdict.shard,
        "Verdict number": lambda verdict: verdict.number,
    },
)
DEAD_LETTERS: CsvTable[DeadLetter] = CsvTable(
    "dead-letters",
    {
        "Recorded (UTC)": lambda letter: letter.recorded_at,
        "Shard": lambda letter: letter.shard,
        "Number": lambda letter: letter.number,
        "Cause": lambda letter: plain_text(letter.reason),
        "Topic": lambda letter: letter.topic,
        "Partition": lambda letter: letter.partition,
        "Offset": lambda letter: letter.offset,
        "Bytes": lambda letter: letter.size,
        "State": describe_state,
        "Action": lambda letter: None if letter.action_id is None else str(letter.action_id),
    },
)
ASSIGNMENTS: CsvTable[AssignmentSummary] = CsvTable(
    "assignments",
    {
        "Assignment": lambda row: row.assignment,
        "Name at creation": lambda row: None if row.name is None else plain_text(row.name, 120),
        "Course": lambda row: row.course,
        "Root account": lambda row: row.root_account,
        "Version": lambda row: row.version,
        "Last change (UTC)": lambda row: row.changed_at,
    },
)
TOPICS: CsvTable[Verification] = CsvTable(
    "topics",
    {
        "Topic": lambda row: row[0].topic,
        "Result": lambda row: describe_result(row[0]),
        "Records": lambda row: None if row[0].result is None else row[0].result.records,
        "Replayed": lambda row: None if row[0].result is None else row[0].result.replayed,
        "Verified (UTC)": lambda row: row[0].checked_at,
        "Not published yet": lambda row: None if row[1] is None else row[1].waiting,
    },
)
CONSUMER_GROUPS: CsvTable[GroupLag] = CsvTable(
    "consumer-groups",
    {
        "Group": lambda row: plain_text(row.group),
        "Topic": lambda row: row.topic,
        "Lag": lambda row: row.lag,
        "Partitions without an offset": lambda row: row.without_offset,
        "Lost records": lambda row: "yes" if row.lost else "no",
        "Partitions with an offset beyond the end": lambda row: row.beyond_end,
        "State": lambda row: row.state,
        "Members": lambda row: row.members,
    },
)
ACTIONS: CsvTable[Action] = CsvTable(
    "actions",
    {
        "Time (UTC)": lambda action: action.acted_at,
        "Action": lambda action: action.kind,
        "Action id": lambda action: str(action.id),
        "Target": describe_target,
        "Root account": lambda action: action.root_account,
        "User": lambda action: action.user_id,
        "Reason": lambda action: plain_text(action.reason),
        "Dead letters": lambda action: action.closed_count or None,
    },
)

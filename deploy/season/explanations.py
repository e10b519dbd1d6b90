"""Compares the gateway's explanations of grades with the records on the topics."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx2

from deploy.season.sample_data import Json
from services.auth.signer import TokenSigner

CONCURRENT_REQUESTS = 8
TIMEOUT_SECONDS = 30.0
TOKEN_SECONDS = 3600
COMPARED_FIELDS = {
    "provisional_grade_created": {"provisional_grade_id": "id", "score": "score", "grade": "grade", "final": "final"},
    "provisional_grade_updated": {"provisional_grade_id": "id", "score": "score", "grade": "grade"},
    "provisional_grade_selected": {"provisional_grade_id": "id"},
    "provisional_grade_adjudicated": {
        name: name
        for name in ("policy", "outcome", "score", "failed", "missing", "comparisons", "provisional_grade_id")
    },
    "grade_published": {
        name: name for name in ("provisional_grade_id", "score", "grade", "entered_score", "points_deducted")
    },
    "grade_revised": {
        name: name for name in ("score", "grade", "excused", "reason", "entered_score", "points_deducted")
    },
}
"""The fields of an explanation's trail, with their names in the domain event."""


class ExplanationReader:
    """Reads explanations as a course's final grader, with tokens signed by a key of the stack."""

    def __init__(self, gateway_url: str, issuer_key: Path) -> None:
        self.signer = TokenSigner(issuer_key)
        self.client = httpx2.AsyncClient(base_url=gateway_url, timeout=TIMEOUT_SECONDS)

    async def read(self, user_id: int, assignment_id: str, student_id: str) -> Json:
        """Return the explanation of a student's grade for this user. Raises HTTPStatusError."""
        token = self.signer.issue_token(user_id, 1, TOKEN_SECONDS)
        response = await self.client.get(
            f"/api/moderation/v1/assignments/{assignment_id}/students/{student_id}/explanation",
            headers={"Authorization": f"Bearer {token}"},
        )
        response.raise_for_status()
        document: Json = response.json()
        return document

    async def read_all(
        self, grades: Iterable[tuple[int, str, str]], progress: Callable[[int], None]
    ) -> dict[tuple[str, str], Json]:
        """Return the explanations of (user, assignment, student) by assignment and student."""
        explanations: dict[tuple[str, str], Json] = {}
        limit = asyncio.Semaphore(CONCURRENT_REQUESTS)

        async def add(user_id: int, assignment_id: str, student_id: str) -> None:
            async with limit:
                explanations[assignment_id, student_id] = await self.read(user_id, assignment_id, student_id)
            progress(len(explanations))

        await asyncio.gather(*(add(*grade) for grade in grades))
        return explanations

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def find_differences(explanation: Json, events: list[Json], grade_changes: list[Json]) -> list[str]:
    """Compare an explanation with all domain events and grade_changes of the same student and assignment.

    The grade, every choice that led to it, its reason, the records it names and its sentence must agree.
    """
    events = sorted((event for event in events if is_explained(event)), key=lambda event: int(event["stream_version"]))
    last = max(grade_changes, key=lambda change: int(change["headers"]["ce_sequence"]))
    differences = [
        f"the {name} is {explanation[name]}, but {last['body'][name]} on live-events"
        for name in ("score", "grade")
        if explanation[name] != last["body"][name]
    ]
    trail = {row["version"]: row for row in explanation["trail"] if row["event_type"] in COMPARED_FIELDS}
    if list(trail) != [int(event["stream_version"]) for event in events]:
        return [*differences, "the trail is not the list of the domain events"]
    for event, row in zip(events, trail.values(), strict=True):
        if row["event_type"] != event["type"] or _details(row) != _payload(event, row["details"]):
            differences.append(f"{row['event_type']} of version {row['version']} differs from the domain event")
        if row["actor"] != {"user_id": int(event["user_id"])}:
            differences.append(f"the actor of version {row['version']} is not {event['user_id']}")
    records = [(row["record"]["ce_id"], row["record"]["sequence"]) for row in trail.values() if row["record"]]
    published = sorted((int(c["headers"]["ce_sequence"]), c["headers"]["ce_id"]) for c in grade_changes)
    if records != [(ce_id, number) for number, ce_id in published]:
        differences.append("the trail does not name the records on live-events")
    for phrase in expected_phrases(events):
        if phrase not in explanation["sentence"]:
            differences.append(f"the sentence lacks {phrase!r}: {explanation['sentence']}")
    return differences


def is_explained(event: Json) -> bool:
    """Return whether an explanation's trail has this event; comments and drafts are left out."""
    match event["type"]:
        case "provisional_grade_created":
            return event["payload"]["graded_at"] is not None
        case "provisional_grade_updated":
            return "graded_at" in event["payload"]
    return event["type"] in COMPARED_FIELDS


def expected_phrases(events: list[Json]) -> list[str]:
    """Return what the sentence about a published grade must contain: the grade, how it was chosen, the deduction."""
    last = events[-1]
    late = ["deducted for lateness"] if last["payload"].get("points_deducted") else []
    if last["type"] == "grade_revised":
        old, new = last["payload"]["grade"]
        return ["was revised", f"{new} instead of {old}", *late]
    phrases = [f"The grade {last['payload']['grade'][1]} was published", *late]
    agreed = [e for e in events if e["type"] == "provisional_grade_adjudicated" and e["payload"]["outcome"] == "agreed"]
    if agreed:
        return [*phrases, *_agreement_phrases(agreed[-1]["payload"])]
    selected = any(event["type"] == "provisional_grade_selected" for event in events)
    return [*phrases, "selected by a moderator" if selected else "the only grade to publish"]


def _agreement_phrases(adjudicated: Json) -> list[str]:
    """Return the marks that were compared, in words, and the rule for them; a third mark only breaks a disagreement."""
    marks, policy = [f"{mark['score']:g}" for mark in adjudicated["marks"]], adjudicated["policy"]
    if policy["otherwise"] != "third_mark":
        words, rule = marks, policy["result"]
    elif adjudicated["failed"]:
        words, rule = marks[:3], policy["third"]
    else:
        words, rule = marks[:2], policy["result"]
    named = [f"agreed from the marks {' and '.join([', '.join(words[:-1]), words[-1]])} by the policy", f"({rule})"]
    return [*named, "after the first two did not agree"] if adjudicated["failed"] else named


def _details(row: Json) -> Json:
    details = row["details"]
    return {name: _as_on_topics(name, details[name]) for name in COMPARED_FIELDS[row["event_type"]] if name in details}


def _payload(event: Json, details: Json) -> Json:
    fields = COMPARED_FIELDS[event["type"]]
    return {name: event["payload"][field] for name, field in fields.items() if name in details}


def _as_on_topics(name: str, value: Any) -> Any:
    """Return the value with its id as a string."""
    return str(value) if name == "provisional_grade_id" and value is not None else value

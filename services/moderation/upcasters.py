"""Stored payloads of earlier versions of the service, brought to the form that is read today.

What is stored stays as it is. A change to a payload that :func:`services.moderation.event_payloads.from_payload`
could not
read gets an entry here, by the event's name and the ``type_version`` it was stored with; an entry meets every form that
this version ever had, and leaves the newer ones as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

Payload = dict[str, Any]


def _add_null_comment_id(payload: Payload) -> Payload:
    """Comments had a time of their own and no id; their time is the event's."""
    remaining_fields = {name: part for name, part in payload.items() if name != "created_at"}
    return {"id": None, **remaining_fields}


def _add_entered_score(payload: Payload) -> Payload:
    """Nothing was deducted for lateness."""
    if "points_deducted" in payload:
        return payload
    return {**payload, "entered_score": payload["score"][1], "points_deducted": None}


UPCASTERS: Mapping[tuple[str, int], Callable[[Payload], Payload]] = {
    ("provisional_comment_created", 1): _add_null_comment_id,
    ("grade_published", 1): _add_entered_score,
}


def upcast(name: str, type_version: int, payload: Payload) -> Payload:
    """The payload as an event of that name has it today."""
    upcaster = UPCASTERS.get((name, type_version))
    return payload if upcaster is None else upcaster(payload)

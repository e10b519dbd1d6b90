"""Tells an erasure from every other difference between a record and the log.

Once a person is erased, the log has null in place of what was personal, and a record that is built from it lacks what
would be null. Ids and grades are not erased: in everything else record and log must be equal.
"""

from typing import Any, NamedTuple, TypeAlias

from schemas.http_request import HttpRequest
from schemas.live_events import LOGIN_FIELDS
from services.eventlog.personal_fields import find_personal_paths
from services.publishing.caliper import NAMESPACE

Path: TypeAlias = tuple[str, ...]


class ErasablePaths(NamedTuple):
    """Keys from the value down, without the indexes of lists: what an erasure makes null, and what it leaves out."""

    nulled: frozenset[Path] = frozenset()
    removed: frozenset[Path] = frozenset()


# The student's SIS id, and everything about the actor's request and login but the actor's id.
LIVE_EVENTS = ErasablePaths(
    nulled=frozenset([("body", "student_sis_id"), *(("metadata", name) for name in HttpRequest.model_fields)]),
    removed=frozenset(("metadata", name) for name in ("context_role", *LOGIN_FIELDS)),
)
# The same in Caliper's terms, which leave null out.
CALIPER = ErasablePaths(
    removed=frozenset(
        [
            ("data", "object", "assignee", "extensions", NAMESPACE, "sis_id"),
            ("data", "generated", "attempt", "assignee", "extensions", NAMESPACE, "sis_id"),
            *(("data", name) for name in ("membership", "session", "referrer")),
            *(
                ("data", "extensions", NAMESPACE, name)
                for name in ("client_ip", "hostname", "request_id", "user_agent", "request_url")
            ),
        ]
    )
)


def is_erased_form(output: str, event_name: str, erased: Any, original: Any) -> bool:
    """Return whether a value of an output is the original as it is after the erasure of people, or the same.

    ``event_name``: of the row that both were built from.
    """
    return _is_erased(erased, original, find_erasable_paths(output, event_name), ())


def find_erasable_paths(output: str, event_name: str) -> ErasablePaths:
    """Return what an erasure changes in the values of an output (topic without prefix)."""
    match output:
        case "live-events":
            return LIVE_EVENTS
        case "caliper":
            return CALIPER
    return ErasablePaths(nulled=frozenset(("payload", *path) for path in find_personal_paths(event_name)))


def _is_erased(erased: Any, original: Any, paths: ErasablePaths, path: Path) -> bool:
    if erased is None and path in paths.nulled:
        return True
    if isinstance(erased, dict) and isinstance(original, dict):
        kept = all(
            name in original and _is_erased(value, original[name], paths, (*path, name))
            for name, value in erased.items()
        )
        return kept and all(
            _is_removable(value, paths, (*path, name)) for name, value in original.items() if name not in erased
        )
    if isinstance(erased, list) and isinstance(original, list):
        return len(erased) == len(original) and all(
            _is_erased(*items, paths, path) for items in zip(erased, original, strict=True)
        )
    # 1, 1.0 and true are equal, but no other form of each other.
    return type(erased) is type(original) and bool(erased == original)


def _is_removable(original: Any, paths: ErasablePaths, path: Path) -> bool:
    """Return whether an erasure leaves a value out: itself, or everything in it."""
    if path in paths.removed:
        return True
    return (
        isinstance(original, dict)
        and bool(original)
        and all(_is_removable(value, paths, (*path, name)) for name, value in original.items())
    )

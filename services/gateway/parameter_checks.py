"""Rejects parameters that an operation does not accept, by name, so that no value is dropped silently."""

from collections.abc import Mapping
from typing import Any

from services.gateway.rails_params import Params
from services.gateway.responses import ApiError, bad_request

# Parameters from Rails and clients that have no effect on a write: canvasapi sends per_page wherever it expects a list.
TRANSPORT_PARAMETERS = frozenset(
    {"access_token", "api_key", "authenticity_token", "format", "page", "per_page", "utf8"}
)
REPORTED_NAMES_MAX = 5
NAME_CHARACTERS_MAX = 60
_NO_FIELDS: frozenset[str] = frozenset()

# Parameter name -> names of its fields, or None if any value is allowed.
TakenParameters = Mapping[str, frozenset[str] | None]


def reject_unknown_parameters(params: Params, taken: TakenParameters) -> None:
    """Raise ApiError (400) if a parameter or one of its fields is not accepted; the message names the accepted ones."""
    unknown_names = [name for name in params if name not in taken and name not in TRANSPORT_PARAMETERS]
    if any(name.lstrip().startswith(("{", "[")) for name in unknown_names):
        raise bad_request("the body is JSON, but its content type is not: send Content-Type: application/json")
    for group, fields in taken.items():
        if fields is not None and isinstance(params.get(group), dict):
            unknown_names += [f"{group}[{name}]" for name in params[group] if name not in fields]
    if unknown_names:
        shown = ", ".join(_shorten(name) for name in unknown_names[:REPORTED_NAMES_MAX])
        raise bad_request(f"parameters not accepted: {shown}; nothing was changed. {_remedy(unknown_names, taken)}")


def _shorten(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS_MAX else name[:NAME_CHARACTERS_MAX] + "…"


def _remedy(unknown_names: list[str], taken: TakenParameters) -> str:
    """Name the parameter that has a field of that name, else all accepted parameters."""
    last_parts = {name.rstrip("]").replace("[", ".").rpartition(".")[2] for name in unknown_names}
    forms = [f"{group}[{field}]" for group, fields in taken.items() for field in sorted(fields or _NO_FIELDS)]
    misplaced = [form for form in forms if form.partition("[")[2].rstrip("]") in last_parts]
    free = [f"{group}[…]" if group == "rubric_assessment" else group for group, fields in taken.items() if not fields]
    wanted = misplaced or [*forms, *free]
    return f"Send {', '.join(wanted)}" if wanted else "Send no parameters"


def reject_acting_as(value: str | None) -> None:
    """Raise ApiError (400) for ``as_user_id``, which would otherwise run with the caller's own rights."""
    if value is not None:
        raise ApiError(
            400, {"message": "as_user_id is not supported; nothing was changed: send that user's own token instead"}
        )


def is_blank(value: Any) -> bool:
    """Return whether an optional parameter has no effect: absent, empty, or a false flag."""
    return value in (None, "", [], {}, False, "false", "0", 0)

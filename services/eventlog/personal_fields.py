"""Takes personal values out of event payloads and puts them back. Pure; the schemas declare the personal fields.

Both walk the personal fields of a payload in the same order, so that the values need no names.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from schemas.domain_events import EVENTS
from schemas.personal import PersonalField, find_personal_fields

Json = dict[str, Any]
ValuesByPerson = dict[int, list[Any]]
"""By user id: the values of the person's personal fields in an event, in the order of the walk."""

_FIELDS_BY_EVENT: Final[Mapping[str, tuple[PersonalField, ...]]] = {
    name: fields
    for name, model in EVENTS.items()
    if (fields := find_personal_fields(cast(type[BaseModel], model.model_fields["payload"].annotation)))
}


_KEYS_BY_EVENT: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(field.name if field.rows is None else field.rows for field in fields)
    for name, fields in _FIELDS_BY_EVENT.items()
}


def find_personal_paths(event_name: str) -> frozenset[tuple[str, ...]]:
    """Return the keys that lead to each personal value of an event's payload, without the indexes of lists."""
    return frozenset(
        (field.name,) if field.rows is None else (field.rows, field.name)
        for field in _FIELDS_BY_EVENT.get(event_name, ())
    )


def may_have_personal_values(event_name: str, payload: Json) -> bool:
    """Return whether ``take_out`` may find values; most payloads lack the optional keys that hold them."""
    keys = _KEYS_BY_EVENT.get(event_name)
    return keys is not None and not keys.isdisjoint(payload)


def take_out(event_name: str, payload: Json, student_id: int | None) -> ValuesByPerson:
    """Replace the personal values of a payload with null in place, and return them by person."""
    values_by_person: ValuesByPerson = {}
    for holder, key, person in _walk(event_name, payload, student_id):
        values_by_person.setdefault(person, []).append(holder[key])
        holder[key] = None
    return {person: values for person, values in values_by_person.items() if any(value is not None for value in values)}


def put_back(event_name: str, payload: Json, student_id: int | None, values_by_person: ValuesByPerson) -> None:
    """Undo ``take_out`` in place; the values of persons who are missing stay null."""
    remaining = {person: iter(values) for person, values in values_by_person.items()}
    for holder, key, person in _walk(event_name, payload, student_id):
        if person in remaining:
            holder[key] = next(remaining[person])


def _walk(event_name: str, payload: Json, student_id: int | None) -> Iterator[tuple[Any, Any, int]]:
    """Yield container, key and person of each personal value: the person that a row names, else the student."""
    for rows_name, name, is_change in _FIELDS_BY_EVENT.get(event_name, ()):
        rows = [payload] if rows_name is None else payload[rows_name]
        for row in rows:
            if name not in row:
                continue
            person = int(row["user_id"]) if rows_name is not None else student_id
            assert person is not None, f"{event_name}.{name} has no person"
            if not is_change:
                yield row, name, person
            elif row[name] is not None:
                yield row[name], 0, person
                yield row[name], 1, person

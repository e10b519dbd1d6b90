"""Stored payloads of earlier versions of the service, converted to the form that is read today.

What is stored stays as it is. A payload that :func:`services.moderation.event_payloads.from_payload` can no longer read
gets an entry here. The log of 0.1.0 begins empty, with every event at version 1, so there is none yet.
"""

from collections.abc import Callable
from typing import Any

Payload = dict[str, Any]
UPCASTERS: dict[tuple[str, int], Callable[[Payload], Payload]] = {}
"""By event name and the ``type_version`` it was stored with: the payload as the event has it today."""


def upcast(name: str, type_version: int, payload: Payload) -> Payload:
    """Return the payload as an event of that name has it today."""
    upcaster = UPCASTERS.get((name, type_version))
    return payload if upcaster is None else upcaster(payload)

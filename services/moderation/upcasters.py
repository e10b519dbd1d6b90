"""Converts stored payloads of earlier versions of the service to the current form when they are read.

Stored payloads are never changed. A form that :func:`services.moderation.event_payloads.from_payload` can no longer
read gets an entry here. The log of 0.1.0 begins empty, with every event at version 1, so there is none yet.
"""

from collections.abc import Callable
from typing import Any

Payload = dict[str, Any]
UPCASTERS: dict[tuple[str, int], Callable[[Payload], Payload]] = {}
"""Converters to the current form, by event name and the ``type_version`` it was stored with."""


def upcast(name: str, type_version: int, payload: Payload) -> Payload:
    """Return the payload in the current form."""
    upcaster = UPCASTERS.get((name, type_version))
    return payload if upcaster is None else upcaster(payload)

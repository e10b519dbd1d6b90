"""The place of a pending command in its ``Location``: signed, so that no other caller can query a partition's progress.

Without a signature, anyone could find the last decided offset of each partition by bisection on ``202 pending``, and
with it the traffic of all root accounts.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.eventlog.installation import read_installation
from services.eventlog.postgres import Pool
from services.gateway.authentication import Caller

PURPOSE = b"place of a pending command"
ARRIVAL_SECONDS_MAX = 600
"""How long a record without an acknowledgement may yet arrive; a token that the gateway signs is not accepted later."""
UNKNOWN_PARTITION = 999_999_999
"""In place of a partition: the number after it is a time. Released clients know no other form of a place."""
PLACE_PATTERN = re.compile(r"([0-9]{1,9})-([0-9]{1,18})(?:-([0-9A-Za-z_-]{22}))?")
Coordinates = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PendingPlace:
    """A place as it was sent: partition and offset, or, without an acknowledgement, until when the record may arrive.

    ``until``: in seconds since 1970. ``signature``: None if there is none.
    """

    coordinates: Coordinates | None
    until: int | None
    signature: str | None

    @property
    def text(self) -> str:
        """The place without its signature."""
        partition, number = self.coordinates or (UNKNOWN_PARTITION, self.until)
        return f"{partition}-{number}"


def parse_place(text: str) -> PendingPlace | None:
    """Parse a place; None if it is malformed."""
    match = PLACE_PATTERN.fullmatch(text)
    if match is None:
        return None
    partition, number = int(match[1]), int(match[2])
    if partition == UNKNOWN_PARTITION:
        return PendingPlace(None, number, match[3])
    return PendingPlace((partition, number), None, match[3])


class PendingPlaces:
    """All gateways of an installation sign with the same key: its id, which is in the log and never sent to callers."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._clock = clock
        self._key: bytes | None = None

    async def load_key(self) -> bytes:
        """Read the key, once. Before a command is sent, so that its place can be signed. Raises POSTGRES_ERRORS."""
        if self._key is None:
            installation = await read_installation(self._pool)
            self._key = hashlib.sha256(PURPOSE + installation.id.bytes).digest()
        return self._key

    def sign(self, caller: Caller, command_id: str, coordinates: Coordinates | None) -> str:
        """Return the signed place of a command; ``coordinates`` None: the brokers have not acknowledged it."""
        assert self._key is not None, "load_key() comes first"
        until = int(self._clock()) + ARRIVAL_SECONDS_MAX if coordinates is None else None
        text = PendingPlace(coordinates, until, None).text
        return f"{text}-{_sign(self._key, caller, command_id, text)}"

    async def was_told(self, caller: Caller, command_id: str, place: PendingPlace) -> bool:
        """Return whether a gateway signed this place for this caller and command. Raises POSTGRES_ERRORS."""
        expected = _sign(await self.load_key(), caller, command_id, place.text)
        return place.signature is not None and hmac.compare_digest(expected.encode(), place.signature.encode())

    def may_arrive(self, place: PendingPlace) -> bool:
        """Return whether a record without an acknowledgement may still arrive."""
        return place.until is not None and self._clock() < place.until


def _sign(key: bytes, caller: Caller, command_id: str, place: str) -> str:
    message = f"{caller.root_account_id} {caller.user_id} {command_id} {place}"
    return base64.urlsafe_b64encode(hmac.digest(key, message.encode(), hashlib.sha256)[:16]).rstrip(b"=").decode()

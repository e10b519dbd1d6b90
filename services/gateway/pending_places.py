"""Signs the record coordinates in a ``Location``, so that no other caller can query the progress of a partition.

Without a signature, anyone could find the last decided offset of each partition by bisection on ``202 pending``, and
with it the traffic of all root accounts.
"""

import base64
import hashlib
import hmac

from services.eventlog.installation import read_installation
from services.eventlog.postgres import Pool
from services.gateway.authentication import Caller
from services.runtime.errors import POSTGRES_ERRORS

PURPOSE = b"place of a pending command"


class PendingPlaces:
    """All gateways of an installation sign with the same key: its id, which is in the log and never sent to callers."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._key: bytes | None = None

    async def sign(self, caller: Caller, command_id: str, coordinates: str) -> str:
        """Return the coordinates with a signature, or unsigned while PostgreSQL does not answer."""
        try:
            key = await self._load_key()
        except POSTGRES_ERRORS:
            return coordinates
        return f"{coordinates}-{_sign(key, caller, command_id, coordinates)}"

    async def was_told(self, caller: Caller, command_id: str, coordinates: str, signature: str) -> bool:
        """Return whether a gateway signed these coordinates for this caller and command. Raises POSTGRES_ERRORS."""
        expected = _sign(await self._load_key(), caller, command_id, coordinates)
        return hmac.compare_digest(expected.encode(), signature.encode())

    async def _load_key(self) -> bytes:
        if self._key is None:
            installation = await read_installation(self.pool)
            self._key = hashlib.sha256(PURPOSE + installation.id.bytes).digest()
        return self._key


def _sign(key: bytes, caller: Caller, command_id: str, coordinates: str) -> str:
    message = f"{caller.root_account_id} {caller.user_id} {command_id} {coordinates}"
    return base64.urlsafe_b64encode(hmac.digest(key, message.encode(), hashlib.sha256)[:16]).rstrip(b"=").decode()

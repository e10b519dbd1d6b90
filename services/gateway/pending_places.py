"""Signs the place of a record that a caller was told, so that nobody else can ask how far a partition is decided.

Without it ``202 pending`` told anybody, by bisection, the last decided offset of every partition, and with it the
traffic of all root accounts.
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
    """All gateways of an installation sign alike: with its id, which stands in the log and is told to no caller."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._key: bytes | None = None

    async def sign(self, caller: Caller, command_id: str, coordinates: str) -> str:
        """Return the coordinates with a signature; without one while PostgreSQL does not answer."""
        try:
            key = await self._load_key()
        except POSTGRES_ERRORS:
            return coordinates
        return f"{coordinates}-{_sign(key, caller, command_id, coordinates)}"

    async def was_told(self, caller: Caller, command_id: str, coordinates: str, signature: str) -> bool:
        """Whether a gateway told this caller that the command's record is there. May raise POSTGRES_ERRORS."""
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

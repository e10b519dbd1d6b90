"""Whether who sent a record may speak for whom it says: ``COMMAND_AUTH=required`` (contract section 2)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from aiokafka import ConsumerRecord

from services.auth.jwks import Keys
from services.auth.verifier import FACTS_SCOPE, REQUEST_SCOPE, Claims, InvalidToken, Verifier, bearer, key_id
from services.commands.parse import Invalid, Parsed
from services.moderation.commands import MODERATION_COMMANDS
from services.moderation.decisions import Rejected

Record = ConsumerRecord[Any, Any]


class Authority:
    """Judges each record by the token it carries, at the time the broker appended it: an outage refuses nobody.

    ``failures``: how many were not believed, by reason.
    """

    def __init__(self, keys: Keys) -> None:
        self.failures: Counter[str] = Counter()
        self.keys = keys
        self.verifier = Verifier(keys)

    async def prepare(self, records: Iterable[Record]) -> None:
        """Know the keys that the records' tokens name, before any is judged."""
        tokens = (_token(record) for record in records)
        kids = {key_id(token) for token in tokens if token is not None and not self.verifier.knows(token)}
        await self.keys.refresh(kids)

    def refusal(self, record: Record, said: Parsed | Invalid) -> Rejected | None:
        """Why the record's sender is not believed, None where they are."""
        try:
            token = _token(record)
            if token is None:
                raise InvalidToken("missing", "send one record header authorization: Bearer <JWT>")
            claims = self.verifier.claims(token)
            claims.check(record.timestamp / 1_000)
            _check(claims, said)
        except InvalidToken as error:
            self.failures[error.reason] += 1
            return Rejected("unauthenticated", "user authorization required", errors=(("authorization", str(error)),))
        return None

    def may_tell_request(self, record: Record) -> bool:
        """Whether the record of a believed sender may say which HTTP request it came by: a gateway's may."""
        token = _token(record)
        try:
            return token is not None and REQUEST_SCOPE in self.verifier.claims(token).scopes
        except InvalidToken:
            return False


def _token(record: Record) -> str | None:
    """The token, None unless exactly one header carries one that can be read."""
    values = [value for name, value in record.headers if name.lower() == "authorization"]
    if len(values) != 1 or values[0] is None:
        return None
    try:
        return bearer(values[0].decode("ascii"))
    except (UnicodeDecodeError, InvalidToken):
        return None


def _check(claims: Claims, said: Parsed | Invalid) -> None:
    """Raise InvalidToken where the token does not speak for the command's root account and actor.

    Of an invalid command only the root account counts: nobody acts by it.
    """
    root_account_id = said.command.root_account_id if isinstance(said, Parsed) else said.root_account_id
    if root_account_id is not None and root_account_id != claims.root_account_id:
        raise InvalidToken("not_allowed", "the token is of another root account")
    if isinstance(said, Invalid):
        return
    states_facts = FACTS_SCOPE in claims.scopes
    if said.command.type not in MODERATION_COMMANDS:
        if not states_facts:
            raise InvalidToken("not_allowed", f"facts need a token with scope {FACTS_SCOPE}")
        return
    # A token that states facts is the LMS's: it speaks for no user, or whoever holds it could publish grades.
    if states_facts:
        raise InvalidToken("not_allowed", f"a token with scope {FACTS_SCOPE} speaks for no user")
    if said.command.actor_id != claims.user_id:
        raise InvalidToken("not_allowed", "sub is not the actor's user_id")

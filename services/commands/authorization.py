"""Whether who sent a record may speak for whom it says: ``COMMAND_AUTH=required`` (contract section 2)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from aiokafka import ConsumerRecord

from services.auth.jwks import JwkSet
from services.auth.verifier import (
    FACTS_SCOPE,
    REQUEST_SCOPE,
    Claims,
    InvalidToken,
    TokenVerifier,
    get_key_id,
    parse_bearer_token,
)
from services.commands.parse import InvalidCommand, ParsedCommand
from services.moderation.commands import MODERATION_COMMANDS
from services.moderation.decisions import Rejected

Record = ConsumerRecord[Any, Any]


class CommandAuthorizer:
    """Judges each record by the token it carries, at the time the broker appended it: an outage refuses nobody.

    ``failures``: how many were not believed, by reason.
    """

    def __init__(self, keys: JwkSet, live_events_shard: int | None = None) -> None:
        self.failures: Counter[str] = Counter()
        self.keys = keys
        self.verifier = TokenVerifier(keys, live_events_shard)

    async def prefetch_keys(self, records: Iterable[Record]) -> None:
        """Know the keys that the records' tokens name, before any is judged."""
        tokens = (_get_token(record) for record in records)
        key_ids = {get_key_id(token) for token in tokens if token is not None and not self.verifier.is_cached(token)}
        await self.keys.refresh(key_ids)

    def authorize(self, record: Record, parse_result: ParsedCommand | InvalidCommand) -> Rejected | None:
        """Why the record's sender is not believed, None where they are."""
        try:
            token = _get_token(record)
            if token is None:
                raise InvalidToken("missing", "send one record header authorization: Bearer <JWT>")
            claims = self.verifier.verify(token)
            claims.check_times(record.timestamp / 1_000)
            _check_claims(claims, parse_result)
        except InvalidToken as error:
            self.failures[error.reason] += 1
            return Rejected("unauthenticated", "user authorization required", errors=(("authorization", str(error)),))
        return None

    def may_carry_request(self, record: Record) -> bool:
        """Whether the record of a believed sender may say which HTTP request it came by: a gateway's may."""
        token = _get_token(record)
        try:
            return token is not None and REQUEST_SCOPE in self.verifier.verify(token).scopes
        except InvalidToken:
            return False


def _get_token(record: Record) -> str | None:
    """The token, None unless exactly one header carries one that can be read."""
    values = [value for name, value in record.headers if name.lower() == "authorization"]
    if len(values) != 1 or values[0] is None:
        return None
    try:
        return parse_bearer_token(values[0].decode("ascii"))
    except (UnicodeDecodeError, InvalidToken):
        return None


def _check_claims(claims: Claims, parse_result: ParsedCommand | InvalidCommand) -> None:
    """Raise InvalidToken where the token does not speak for the command's root account and actor.

    Of an invalid command only the root account counts: nobody acts by it.
    """
    root_account_id = (
        parse_result.command.root_account_id
        if isinstance(parse_result, ParsedCommand)
        else parse_result.root_account_id
    )
    if root_account_id is not None and root_account_id != claims.root_account_id:
        raise InvalidToken("not_allowed", "the token is of another root account")
    if isinstance(parse_result, InvalidCommand):
        return
    has_facts_scope = FACTS_SCOPE in claims.scopes
    if parse_result.command.type not in MODERATION_COMMANDS:
        if not has_facts_scope:
            raise InvalidToken("not_allowed", f"facts need a token with scope {FACTS_SCOPE}")
        return
    # A token that states facts is the LMS's: it speaks for no user, or whoever holds it could publish grades.
    if has_facts_scope:
        raise InvalidToken("not_allowed", f"a token with scope {FACTS_SCOPE} speaks for no user")
    if parse_result.command.actor_id != claims.user_id:
        raise InvalidToken("not_allowed", "sub is not the actor's user_id")

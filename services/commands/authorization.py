"""Step 2 of 6: check that a record's token speaks for its actor: ``COMMAND_AUTH=required`` (contract section 2)."""

from collections import Counter
from collections.abc import Sequence

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
from services.commands.incoming_command import IncomingCommand, IncomingRecord, ReadableCommand, Record
from services.commands.parse import InvalidCommand
from services.moderation.commands import MODERATION_COMMANDS
from services.moderation.decisions import Rejected


class CommandAuthorizer:
    """Verifies tokens as of the time at which the broker appended the record, so that an outage expires none.

    ``failures``: rejected tokens by reason.
    """

    def __init__(self, keys: JwkSet, live_events_shard: int | None = None) -> None:
        self.failures: Counter[str] = Counter()
        self.keys = keys
        self.verifier = TokenVerifier(keys, live_events_shard)

    async def authorize(self, incoming_records: Sequence[IncomingRecord]) -> list[IncomingRecord]:
        """Return the records, with a rejection in each command whose token does not allow it.

        Fetches the keys that the tokens name first. Dead letters need no token.
        """
        tokens = [_get_token(incoming.record) for incoming in incoming_records]
        unverified_tokens = {token for token in tokens if token is not None and not self.verifier.is_cached(token)}
        await self.keys.refresh({get_key_id(token) for token in unverified_tokens})
        return [
            self._authorize_command(incoming, token) if isinstance(incoming, IncomingCommand) else incoming
            for incoming, token in zip(incoming_records, tokens, strict=True)
        ]

    def _authorize_command(self, incoming: IncomingCommand, token: str | None) -> IncomingCommand:
        try:
            if token is None:
                raise InvalidToken("missing", "send one record header authorization: Bearer <JWT>")
            claims = self.verifier.verify(token)
            claims.check_times(incoming.record.timestamp / 1_000)
            _check_claims(claims, incoming.command)
        except InvalidToken as error:
            self.failures[error.reason] += 1
            rejection = Rejected(
                "unauthenticated", "user authorization required", errors=(("authorization", str(error)),)
            )
            return incoming.with_authorization(rejection, may_carry_request=False)
        # Only a gateway's token may state the HTTP request that a command came from.
        return incoming.with_authorization(None, may_carry_request=REQUEST_SCOPE in claims.scopes)


def _get_token(record: Record) -> str | None:
    """Return the bearer token, None unless exactly one header carries one that is readable."""
    values = [value for name, value in record.headers if name.lower() == "authorization"]
    if len(values) != 1 or values[0] is None:
        return None
    try:
        return parse_bearer_token(values[0].decode("ascii"))
    except (UnicodeDecodeError, InvalidToken):
        return None


def _check_claims(claims: Claims, command: ReadableCommand) -> None:
    """Raise InvalidToken unless the token speaks for the command's root account and actor.

    Of an invalid command only the root account is checked: nothing is done in its actor's name.
    """
    if command.root_account_id is not None and command.root_account_id != claims.root_account_id:
        raise InvalidToken("not_allowed", "the token is of another root account")
    if isinstance(command, InvalidCommand):
        return
    has_facts_scope = FACTS_SCOPE in claims.scopes
    if command.type not in MODERATION_COMMANDS:
        if not has_facts_scope:
            raise InvalidToken("not_allowed", f"facts need a token with scope {FACTS_SCOPE}")
        return
    # A token that states facts is the LMS's and speaks for no user: otherwise its holder could publish grades.
    if has_facts_scope:
        raise InvalidToken("not_allowed", f"a token with scope {FACTS_SCOPE} speaks for no user")
    if command.actor_id != claims.user_id:
        raise InvalidToken("not_allowed", "sub is not the actor's user_id")

"""Step 2 of 6: check that a record's token authorizes its actor (contract section 2).

``COMMAND_AUTH=required`` accepts a user's token for all of their commands, ``bound`` only one that names the record.
"""

from collections import Counter
from collections.abc import Sequence

from services.auth.jwks import JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import (
    ANY_TOKEN,
    FACTS_SCOPE,
    REQUEST_SCOPE,
    Claims,
    InvalidToken,
    TokenVerifier,
    digest_command,
    get_key_id,
    parse_bearer_token,
)
from services.commands.incoming_command import IncomingCommand, IncomingRecord, ReadableCommand, Record
from services.commands.parse import InvalidCommand
from services.moderation.commands import MODERATION_COMMANDS
from services.moderation.decisions import Rejected


class CommandAuthorizer:
    """Verifies tokens as of the time at which the broker appended the record, so that none expires in an outage.

    ``failures``: rejected tokens by reason. ``requires_bound_tokens``: COMMAND_AUTH=bound.
    """

    def __init__(
        self,
        keys: JwkSet,
        live_events_shard: int | None = None,
        rules: TokenRules = ANY_TOKEN,
        *,
        requires_bound_tokens: bool = False,
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.keys = keys
        self.verifier = TokenVerifier(keys, live_events_shard, rules)
        self.requires_bound_tokens = requires_bound_tokens

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
            self._check_binding(claims, incoming.record)
            _check_claims(claims, incoming.command)
        except InvalidToken as error:
            self.failures[error.reason] += 1
            rejection = Rejected(
                "unauthenticated", "user authorization required", errors=(("authorization", str(error)),)
            )
            return incoming.with_authorization(rejection, may_carry_request=False)
        # Only a gateway's token may state the HTTP request that a command came from.
        return incoming.with_authorization(None, may_carry_request=REQUEST_SCOPE in claims.scopes)

    def _check_binding(self, claims: Claims, record: Record) -> None:
        """Raise InvalidToken for a token that names another record, or none although it must.

        Any reader of the topic can copy a token. A gateway's may state the HTTP request, so it is valid for one record.
        """
        if claims.command_sha256 is not None:
            if claims.command_sha256 != digest_command(record.value or b""):
                raise InvalidToken("not_allowed", "command_sha256 is not the SHA-256 of this record's value")
        elif self.requires_bound_tokens or REQUEST_SCOPE in claims.scopes:
            raise InvalidToken("not_allowed", "the token must name this record: add the claim command_sha256")


def _get_token(record: Record) -> str | None:
    """Return the bearer token, None unless exactly one header has a readable one."""
    values = [value for name, value in record.headers if name.lower() == "authorization"]
    if len(values) != 1 or values[0] is None:
        return None
    try:
        return parse_bearer_token(values[0].decode("ascii"))
    except (UnicodeDecodeError, InvalidToken):
        return None


def _check_claims(claims: Claims, command: ReadableCommand) -> None:
    """Raise InvalidToken unless the token is for the command's root account and actor.

    For an invalid command only the root account is checked: nothing is done in its actor's name.
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
    # A token for facts is the LMS's and is valid for no user: otherwise its holder could publish grades.
    if has_facts_scope:
        raise InvalidToken("not_allowed", f"a token with scope {FACTS_SCOPE} speaks for no user")
    if command.actor_id != claims.user_id:
        raise InvalidToken("not_allowed", "sub is not the actor's user_id")

"""Authenticates the user of a command by OPERATOR_TOKEN, with the console's rules."""

import time
from collections.abc import Awaitable
from typing import Annotated, TypeVar

import typer

from services.auth.jwks import JwksError, JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import InvalidToken, TokenVerifier
from services.commands.authorization import CommandAuthorizer
from services.config.cli import DryRunSettings, OperatorSettings
from services.console.operator_service import REASON_CHARACTERS_MAX, Actor, InvalidReason, OperatorService
from services.console.roles import Role, resolve_role
from services.kafka.topics import full_topic_name
from services.runtime.command_line import ActionRefused

T = TypeVar("T")
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; recorded with your user id and the time.")]


async def authenticate_operator(settings: OperatorSettings, required_role: Role) -> Actor:
    """Return the token's user. Raises ActionRefused if the token is invalid or lacks the role."""
    keys = await _load_keys(settings.jwks)
    try:
        verifier = TokenVerifier(keys, settings.live_events_shard, TokenRules.of(settings))
        claims = verifier.verify(settings.operator_token.get_secret_value())
        claims.check_times(time.time())
    except InvalidToken as error:
        raise ActionRefused(f"OPERATOR_TOKEN was rejected: {error}. Nothing was changed") from None
    role = resolve_role(claims.scopes)
    if role is None or role < required_role:
        raise ActionRefused(
            f"OPERATOR_TOKEN needs scope moderation.{required_role.name.lower()} for this. Nothing was changed"
        )
    return Actor(claims.root_account_id, claims.user_id)


async def require_reason(operator_action: Awaitable[T]) -> T:
    """Await an action. Raises ActionRefused if its reason is invalid."""
    try:
        return await operator_action
    except InvalidReason:
        raise ActionRefused(
            f"--reason must have 1 to {REASON_CHARACTERS_MAX} characters, no control characters. Nothing was changed"
        ) from None


async def build_operator_service(settings: DryRunSettings) -> OperatorService:
    """Build the service that performs actions; a dry run checks tokens as the handler does. Raises ActionRefused."""
    authorizer = None
    if settings.command_auth != "off" and settings.jwks is not None:
        authorizer = CommandAuthorizer(
            await _load_keys(settings.jwks),
            settings.live_events_shard,
            TokenRules.of(settings),
            requires_bound_tokens=settings.command_auth == "bound",
        )
    commands_topic = full_topic_name(settings.topic_prefix, "commands")
    return OperatorService(
        settings.url(), settings.kafka_bootstrap, commands_topic, authorizer, settings.live_events_shard
    )


async def _load_keys(location: str) -> JwkSet:
    keys = JwkSet(location)
    try:
        await keys.load()
    except JwksError as error:
        raise ActionRefused(f"JWKS cannot be read: {error}. Nothing was changed") from None
    return keys

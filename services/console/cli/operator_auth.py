"""Who acts from the command line: the bearer of OPERATOR_TOKEN, believed as the console believes tokens."""

import time
from collections.abc import Awaitable
from typing import Annotated, TypeVar

import typer

from services.auth.jwks import JwksError, JwkSet
from services.auth.verifier import InvalidToken, TokenVerifier
from services.commands.authorization import CommandAuthorizer
from services.config import DryRunSettings, OperatorSettings
from services.console.operator_service import REASON_CHARACTERS_MAX, Actor, InvalidReason, OperatorService
from services.console.roles import Role, resolve_role
from services.kafka.topics import full_topic_name
from services.runtime.command_line import ActionRefused

T = TypeVar("T")
ReasonOption = Annotated[str, typer.Option("--reason", help="Why: kept with your name and the time.")]


async def authenticate_operator(settings: OperatorSettings, required_role: Role) -> Actor:
    """The token's user. Raises Refused where it is not believed, or does not give the role."""
    keys = await _load_keys(settings.jwks)
    try:
        claims = TokenVerifier(keys).verify(settings.operator_token.get_secret_value())
        claims.check_times(time.time())
    except InvalidToken as error:
        raise ActionRefused(f"OPERATOR_TOKEN is not believed: {error}") from None
    role = resolve_role(claims.scopes)
    if role is None or role < required_role:
        raise ActionRefused(f"this takes a token with scope moderation.{required_role.name.lower()}: nothing was done")
    return Actor(claims.root_account_id, claims.user_id)


async def require_reason(operator_action: Awaitable[T]) -> T:
    """What a deed comes to, which is kept with its reason. Raises Refused where there is none."""
    try:
        return await operator_action
    except InvalidReason:
        characters = f"1 to {REASON_CHARACTERS_MAX} characters, none of them a control character"
        raise ActionRefused(f"--reason takes {characters}") from None


async def build_operator_service(settings: DryRunSettings) -> OperatorService:
    """What the console does, here; a dry run judges tokens as the handler does. Raises Refused where it cannot."""
    authorizer = None
    if settings.command_auth == "required" and settings.jwks is not None:
        authorizer = CommandAuthorizer(await _load_keys(settings.jwks))
    commands_topic = full_topic_name(settings.topic_prefix, "commands")
    return OperatorService(settings.url(), settings.kafka_bootstrap, commands_topic, authorizer)


async def _load_keys(location: str) -> JwkSet:
    keys = JwkSet(location)
    try:
        await keys.load()
    except JwksError as error:
        raise ActionRefused(f"JWKS cannot be read: {error}") from None
    return keys

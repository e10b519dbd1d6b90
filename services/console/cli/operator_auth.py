"""Who acts from the command line: the bearer of OPERATOR_TOKEN, believed as the console believes tokens."""

import time
from collections.abc import Awaitable
from typing import Annotated, TypeVar

import typer

from services.auth.jwks import Keys, NoKeys
from services.auth.verifier import InvalidToken, Verifier
from services.commands.authorization import Authority
from services.config import OperatorSettings, RehearsalSettings
from services.console.cli.runner import Refused
from services.console.operator_service import REASON_CHARACTERS_MAX, Actions, Actor, NoReason
from services.console.roles import Role, role_of
from services.kafka.topics import topic

T = TypeVar("T")
Why = Annotated[str, typer.Option("--reason", help="Why: kept with your name and the time.")]


async def operator(settings: OperatorSettings, needed: Role) -> Actor:
    """The token's user. Raises Refused where it is not believed, or does not give the role."""
    keys = await _keys(settings.jwks)
    try:
        claims = Verifier(keys).claims(settings.operator_token.get_secret_value())
        claims.check(time.time())
    except InvalidToken as error:
        raise Refused(f"OPERATOR_TOKEN is not believed: {error}") from None
    role = role_of(claims.scopes)
    if role is None or role < needed:
        raise Refused(f"this takes a token with scope moderation.{needed.name.lower()}: nothing was done")
    return Actor(claims.root_account_id, claims.user_id)


async def kept(deed: Awaitable[T]) -> T:
    """What a deed comes to, which is kept with its reason. Raises Refused where there is none."""
    try:
        return await deed
    except NoReason:
        characters = f"1 to {REASON_CHARACTERS_MAX} characters, none of them a control character"
        raise Refused(f"--reason takes {characters}") from None


async def actions_of(settings: RehearsalSettings) -> Actions:
    """What the console does, here; a dry run judges tokens as the handler does. Raises Refused where it cannot."""
    authority = None
    if settings.command_auth == "required" and settings.jwks is not None:
        authority = Authority(await _keys(settings.jwks))
    commands = topic(settings.topic_prefix, "commands")
    return Actions(settings.url(), settings.kafka_bootstrap, commands, authority)


async def _keys(location: str) -> Keys:
    keys = Keys(location)
    try:
        await keys.load()
    except NoKeys as error:
        raise Refused(f"JWKS cannot be read: {error}") from None
    return keys

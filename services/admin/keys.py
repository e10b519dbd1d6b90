"""``admin create-keys`` and ``admin issue-token``: signing keys for an installation without an identity provider."""

from pathlib import Path
from typing import Annotated

import typer

from services.auth.jwks import JwksError
from services.auth.signer import TokenSigner, generate_key, write_jwks, write_private_key
from services.runtime.command_line import ExitCode, exit_with

ISSUER_KEY, GATEWAY_KEY, SCHEDULER_KEY = "issuer.key", "gateway.key", "scheduler.key"
USERS_JWKS, COMMANDS_JWKS = "users.jwks", "commands.jwks"


def create_keys(folder: Path) -> bool:
    """Create the keys, unless they exist; return whether they were created.

    The gateway accepts only the issuer's tokens, the handler also those of gateway and scheduler: a command's token
    gives no access to the gateway.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # If one is missing, an earlier attempt was interrupted, or an older version with fewer processes created the keys.
    if all((folder / name).exists() for name in (ISSUER_KEY, GATEWAY_KEY, SCHEDULER_KEY, USERS_JWKS, COMMANDS_JWKS)):
        return False
    for name in (ISSUER_KEY, GATEWAY_KEY, SCHEDULER_KEY, USERS_JWKS):
        (folder / name).unlink(missing_ok=True)
    issuer, gateway, scheduler = generate_key(), generate_key(), generate_key()
    write_private_key(folder / ISSUER_KEY, issuer)
    write_private_key(folder / GATEWAY_KEY, gateway)
    write_private_key(folder / SCHEDULER_KEY, scheduler)
    write_jwks(folder / USERS_JWKS, [issuer])
    write_jwks(folder / COMMANDS_JWKS, [issuer, gateway, scheduler])
    return True


def create_keys_command(
    folder: Annotated[Path, typer.Argument(help="Where the keys are kept; created if missing.")],
) -> None:
    """Create keys for users' tokens and for the commands of gateway and scheduler, with their public halves.

    For a trial, or where no identity provider issues tokens. Existing keys are not changed. Safe to repeat.
    """
    try:
        typer.echo(f"created keys in {folder}" if create_keys(folder) else f"the keys in {folder} already exist")
    except OSError as error:
        exit_with(ExitCode.USAGE, f"no keys were created in {folder}: {error.strerror}")


def issue_token_command(
    key: Annotated[Path, typer.Argument(help="The issuer's private key, as create-keys made it.")],
    user_id: Annotated[int, typer.Argument(help="The user whom the token authenticates.")],
    scope: Annotated[
        str | None, typer.Option(help="For example moderation.facts, or moderation.operator for the console.")
    ] = None,
    root_account: Annotated[int, typer.Option(help="The root account of the user.")] = 1,
    hours: Annotated[float, typer.Option(help="How long the token is valid.", min=0.01, max=24)] = 1,
) -> None:
    """Print a bearer token for gateway and console, and for the handler with COMMAND_AUTH=required."""
    try:
        typer.echo(TokenSigner(key).issue_token(user_id, root_account, hours * 3600, scope))
    except JwksError as error:
        exit_with(ExitCode.USAGE, f"no token was issued: {error}")

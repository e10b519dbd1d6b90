"""``admin create-keys`` and ``admin issue-token``: signing keys for an installation without an identity provider."""

import json
from pathlib import Path
from typing import Annotated

import typer

from services.auth.jwks import JwksError
from services.auth.signer import Json, TokenSigner, generate_key, write_jwks, write_private_key
from services.auth.token_rules import TokenRules
from services.runtime.command_line import ExitCode, exit_with

ISSUER_KEY, GATEWAY_KEY, SCHEDULER_KEY = "issuer.key", "gateway.key", "scheduler.key"
USERS_JWKS, COMMANDS_JWKS = "users.jwks", "commands.jwks"
SIGNERS_BY_SET = {USERS_JWKS: (ISSUER_KEY,), COMMANDS_JWKS: (ISSUER_KEY, GATEWAY_KEY, SCHEDULER_KEY)}


def create_keys(folder: Path) -> bool:
    """Create the keys and sets that are missing; return whether any were.

    The gateway accepts only the issuer's tokens, the handler also those of gateway and scheduler: a command's token
    gives no access to the gateway. An existing set keeps all its keys, those of other senders and of running processes
    too, and gets the public half of a new key only: what an operator removed from it stays removed.

    Raises:
        JwksError: an existing file is not the key or the set that it should be; nothing was changed.
        OSError: a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # If one is missing, an earlier attempt was interrupted, or an older version with fewer processes created the keys.
    new_keys = {name: generate_key() for name in SIGNERS_BY_SET[COMMANDS_JWKS] if not (folder / name).exists()}
    changed_sets: dict[Path, list[Json]] = {}
    for set_name, signers in SIGNERS_BY_SET.items():
        path = folder / set_name
        if not path.exists():
            changed_sets[path] = [new_keys.get(name) or _read_private_key(folder / name) for name in signers]
        elif added := [new_keys[name] for name in signers if name in new_keys]:
            changed_sets[path] = [*_read_set(path), *added]
    # Sets first: an interrupted attempt leaves public halves without a key, never a key whose tokens are refused.
    for path, keys in changed_sets.items():
        write_jwks(path, keys)
    for name, key in new_keys.items():
        write_private_key(folder / name, key)
    return bool(new_keys or changed_sets)


def _read_private_key(path: Path) -> Json:
    try:
        TokenSigner(path)
    except JwksError as error:
        raise JwksError(f"{error}; remove the file to have another one created") from None
    key: Json = json.loads(path.read_text())
    return key


def _read_set(path: Path) -> list[Json]:
    """Return all entries of a JWK set, those that the service does not use included."""
    try:
        entries: list[Json] = json.loads(path.read_text())["keys"]
        if not all(isinstance(entry, dict) for entry in entries):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise JwksError(f'{path} is not JSON of the form {{"keys": […]}}: correct or remove it') from None
    return entries


def create_keys_command(
    folder: Annotated[Path, typer.Argument(help="Where the keys are kept; created if missing.")],
) -> None:
    """Create keys for users' tokens and for the commands of gateway and scheduler, with their public halves.

    For a trial, or where no identity provider issues tokens. Existing keys are not changed, and sets keep the keys that
    they have: what is missing is created and added. Safe to repeat.
    """
    try:
        typer.echo(f"created keys in {folder}" if create_keys(folder) else f"the keys in {folder} already exist")
    except OSError as error:
        exit_with(ExitCode.USAGE, f"no keys were created in {folder}: {error.strerror or error}")


def issue_token_command(
    key: Annotated[Path, typer.Argument(help="The issuer's private key, as create-keys made it.")],
    user_id: Annotated[int, typer.Argument(help="The user whom the token authenticates.")],
    scope: Annotated[
        str | None, typer.Option(help="For example moderation.facts, or moderation.operator for the console.")
    ] = None,
    root_account: Annotated[int, typer.Option(help="The root account of the user.")] = 1,
    hours: Annotated[float, typer.Option(help="How long the token is valid.", min=0.01, max=24)] = 1,
    audience: Annotated[
        str | None, typer.Option(envvar="JWT_AUDIENCE", help="The audience that the processes require.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(envvar="JWT_ISSUER", help="The issuer that they require.")] = None,
) -> None:
    """Print a bearer token for gateway and console, and for the handler with COMMAND_AUTH=required."""
    try:
        claims = TokenRules(audience, issuer).own_claims()
        typer.echo(TokenSigner(key).issue_token(user_id, root_account, hours * 3600, scope, **claims))
    except JwksError as error:
        exit_with(ExitCode.USAGE, f"no token was issued: {error}")

"""Keys and tokens of a stack. The issuer signs users' tokens; the gateway signs its own commands."""

import argparse
import sys
from pathlib import Path

from deploy.local.supervisor import STACK_FOLDER
from services.auth.signer import TokenSigner, generate_key, write_jwks, write_private_key

KEYS_FOLDER = STACK_FOLDER / "keys"
TOKEN_LIFETIME_SECONDS = 24 * 3600


def make_keys(folder: Path) -> None:
    """Create the keys, unless they exist.

    The gateway accepts the issuer's tokens only, the handler both: the token of a command opens no page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "commands.jwks").exists():
        return
    for leftover in folder.iterdir():
        leftover.unlink()
    issuer, gateway = generate_key(), generate_key()
    write_private_key(folder / "issuer.key", issuer)
    write_private_key(folder / "gateway.key", gateway)
    write_jwks(folder / "users.jwks", [issuer])
    write_jwks(folder / "commands.jwks", [issuer, gateway])


def create_token(arguments: list[str]) -> str:
    """Issue a bearer token for the stack's gateway and console, and for its handler with COMMAND_AUTH=required."""
    parser = argparse.ArgumentParser("deploy/stack token")
    parser.add_argument("user_id", type=int, help="the user whom the token authenticates")
    parser.add_argument(
        "--scope", help="for example moderation.facts, to send facts on Kafka, or moderation.operator, for the console"
    )
    parser.add_argument("--root-account", type=int, default=1, help="the root account (default: 1)")
    options = parser.parse_args(arguments)
    if not (KEYS_FOLDER / "issuer.key").exists():
        sys.exit("deploy/stack: the stack has no keys yet; run deploy/stack up")
    return TokenSigner(KEYS_FOLDER / "issuer.key").issue_token(
        options.user_id, options.root_account, TOKEN_LIFETIME_SECONDS, options.scope
    )

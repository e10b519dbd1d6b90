"""Keys and tokens of a stack. The issuer signs users' tokens; the gateway signs its own commands."""

import argparse
import sys

from deploy.local.supervisor import STACK_FOLDER
from services.admin.keys import ISSUER_KEY
from services.auth.signer import TokenSigner
from services.auth.verifier import FACTS_SCOPE, OPERATOR_SCOPES, REQUEST_SCOPE
from services.console.roles import MODERATOR_SCOPE

KEYS_FOLDER = STACK_FOLDER / "keys"
TOKEN_LIFETIME_SECONDS = 24 * 3600
SCOPES = sorted({FACTS_SCOPE, REQUEST_SCOPE, MODERATOR_SCOPE, *OPERATOR_SCOPES})


def create_token(arguments: list[str]) -> str:
    """Issue a bearer token for the stack's gateway and console, and for its handler with COMMAND_AUTH=required."""
    parser = argparse.ArgumentParser("deploy/stack token")
    parser.add_argument("user_id", type=int, help="the user that the token authenticates")
    parser.add_argument(
        "--scope",
        type=_check_scopes,
        help="for example moderation.facts, to send facts on Kafka, or moderation.operator, for the console",
    )
    parser.add_argument("--root-account", type=int, default=1, help="the root account (default: 1)")
    options = parser.parse_args(arguments)
    if not (KEYS_FOLDER / ISSUER_KEY).exists():
        sys.exit("deploy/stack: the stack has no keys yet; run deploy/stack up")
    return TokenSigner(KEYS_FOLDER / ISSUER_KEY).issue_token(
        options.user_id, options.root_account, TOKEN_LIFETIME_SECONDS, options.scope
    )


def _check_scopes(text: str) -> str:
    """Return scopes separated by spaces. Raises ArgumentTypeError for one that nothing knows."""
    if unknown := [scope for scope in text.split() if scope not in SCOPES]:
        raise argparse.ArgumentTypeError(f"no scope is called {unknown[0]}; choose from {', '.join(SCOPES)}")
    return text

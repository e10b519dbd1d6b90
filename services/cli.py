"""The command line ``moderated-grading``: the operators' commands and, under ``admin``, the administrators'.

It composes the groups of other packages, which do not know each other. ``python -m services.cli`` is the same where
the project is not installed.
"""

import logging
import os
from typing import Annotated

import typer

from services import __version__
from services.admin.app import build_admin_app
from services.console.cli.commands import add_operator_commands
from services.runtime.command_line import EXIT_CODE_MEANINGS

EXIT_CODES = "; ".join(f"{code:d} {meaning}" for code, meaning in EXIT_CODE_MEANINGS.items())
EPILOG = (
    f"Exit codes: {EXIT_CODES}. Settings come from the environment: DATABASE_URL, KAFKA_BOOTSTRAP, TOPIC_PREFIX; to"
    " redrive, discard, reveal and replay also OPERATOR_TOKEN and JWKS."
)


def build_cli() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        help="Moderated Grading for operators: inspect, explain, repair.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_global_options)
    add_operator_commands(app)
    app.add_typer(build_admin_app(), name="admin")
    return app


def main() -> None:
    """Run the command line: the entry point ``moderated-grading``."""
    # The command itself reports a server that does not answer, once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    build_cli()(prog_name=os.environ.get("OPERATE_AS", "moderated-grading"))


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"moderated-grading {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Accept the options of the whole command line; each acts by its own callback."""


if __name__ == "__main__":
    main()

"""The commands by their names."""

import logging
import os
from typing import Annotated

import typer

from services import __version__
from services.console.cli import (
    agreement,
    assignment,
    dead_letter_actions,
    dead_letter_dry_run,
    dead_letters,
    status,
    verdict,
    verify_replay,
)

EPILOG = (
    "Exit codes: 0 fine; 1 a finding, which is printed; 2 wrong usage or settings; 3 Kafka or PostgreSQL does not"
    " answer; 4 there is nothing of that name. Settings come from the environment: DATABASE_URL, KAFKA_BOOTSTRAP,"
    " TOPIC_PREFIX; to redrive, discard, reveal and replay also OPERATOR_TOKEN and JWKS."
)


def build_cli() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        help="Moderated Grading for operators: look, explain, repair.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_global_options)
    app.command("status")(status.status)
    app.command("verdict")(verdict.verdict)
    app.command("state")(assignment.state)
    app.command("history")(assignment.history)
    app.command("agreement")(agreement.report_agreement)
    dead_letter_commands = typer.Typer(
        help="Records that nobody could be answered for: look, try, send again, close.", no_args_is_help=True
    )
    dead_letter_commands.command("list")(dead_letters.list_dead_letters)
    dead_letter_commands.command("show")(dead_letters.show_dead_letter)
    dead_letter_commands.command("dry-run")(dead_letter_dry_run.dry_run)
    dead_letter_commands.command("redrive")(dead_letter_actions.redrive)
    dead_letter_commands.command("discard")(dead_letter_actions.discard)
    dead_letter_commands.command("reveal")(dead_letter_actions.reveal)
    app.add_typer(dead_letter_commands, name="dead-letters")
    app.command("verify")(verify_replay.verify)
    app.command("replay")(verify_replay.replay)
    return app


def main() -> None:
    """Run the command line: the entry point ``moderated-grading``."""
    # The command itself reports a server that is away, once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    build_cli()(prog_name=os.environ.get("OPERATE_AS", "moderated-grading"))


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"moderated-grading {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the whole command line; each acts on its own."""


if __name__ == "__main__":
    main()

"""The commands by their names."""

import logging
import os
from typing import Annotated

import typer

from services import __version__
from services.console.cli import (
    agreements,
    assignments,
    exports,
    letters,
    rehearsals,
    repairs,
    standing,
    topics,
    verdicts,
)

EPILOG = (
    "Exit codes: 0 fine; 1 a finding, which is printed; 2 wrong usage or settings; 3 Kafka or PostgreSQL does not"
    " answer; 4 there is nothing of that name. Settings come from the environment: DATABASE_URL, KAFKA_BOOTSTRAP,"
    " TOPIC_PREFIX; to redrive, discard, reveal and replay also OPERATOR_TOKEN and JWKS."
)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        help="Moderated Grading for operators: look, explain, repair.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_global_options)
    app.command("status")(standing.status)
    app.command("verdict")(verdicts.verdict)
    app.command("state")(assignments.state)
    app.command("history")(assignments.history)
    app.command("agreement")(agreements.agreement_of)
    of_letters = typer.Typer(
        help="Records that nobody could be answered for: look, try, send again, close.", no_args_is_help=True
    )
    of_letters.command("list")(letters.list_letters)
    of_letters.command("show")(letters.show_letter)
    of_letters.command("dry-run")(rehearsals.dry_run)
    of_letters.command("redrive")(repairs.redrive)
    of_letters.command("discard")(repairs.discard)
    of_letters.command("reveal")(repairs.reveal)
    app.add_typer(of_letters, name="dead-letters")
    app.command("verify")(topics.verify)
    app.command("replay")(topics.replay)
    app.command("export")(exports.export_events)
    return app


def main() -> None:
    """Run the command line: the entry point ``moderated-grading``."""
    # The command itself reports a server that is away, once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    build()(prog_name=os.environ.get("OPERATE_AS", "moderated-grading"))


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

"""The commands by their names."""

import logging
import os

import typer

from services.console.cli import (
    agreement,
    assignment,
    dead_letter_actions,
    dead_letter_dry_run,
    dead_letters,
    export,
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
        add_completion=False,
        pretty_exceptions_enable=False,
    )
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
    app.command("export")(export.export_events)
    return app


if __name__ == "__main__":
    # What it says of servers that are away is said once, by the command.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    build_cli()(prog_name=os.environ.get("OPERATE_AS"))

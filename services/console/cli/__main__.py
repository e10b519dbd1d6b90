"""The commands by their names."""

import logging
import os

import typer

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
        add_completion=False,
        pretty_exceptions_enable=False,
    )
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


if __name__ == "__main__":
    # What it says of servers that are away is said once, by the command.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    build()(prog_name=os.environ.get("OPERATE_AS"))

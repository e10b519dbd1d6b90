"""The operators' commands by name."""

import typer

from services.console.cli import (
    adjudication,
    agreement,
    assignment,
    audit,
    dead_letter_actions,
    dead_letter_dry_run,
    dead_letters,
    person,
    publication,
    replay,
    status,
    verdict,
    verify,
)


def add_operator_commands(app: typer.Typer) -> None:
    """Add the operators' commands to the command line."""
    app.command("status")(status.status)
    app.command("verdict")(verdict.verdict)
    app.command("state")(assignment.state)
    app.command("history")(assignment.history)
    app.command("agreement")(agreement.report_agreement)
    app.command("plan")(publication.plan)
    app.command("publish")(publication.publish)
    app.command("schedule")(publication.schedule)
    app.command("cancel")(publication.cancel)
    app.command("adjudicate")(adjudication.adjudicate)
    app.command("explain")(adjudication.explain)
    dead_letter_commands = typer.Typer(
        help="Dead letters: list, show, dry-run, redrive, discard, reveal.", no_args_is_help=True
    )
    dead_letter_commands.command("list")(dead_letters.list_dead_letters)
    dead_letter_commands.command("show")(dead_letters.show_dead_letter)
    dead_letter_commands.command("dry-run")(dead_letter_dry_run.dry_run)
    dead_letter_commands.command("redrive")(dead_letter_actions.redrive)
    dead_letter_commands.command("discard")(dead_letter_actions.discard)
    dead_letter_commands.command("reveal")(dead_letter_actions.reveal)
    app.add_typer(dead_letter_commands, name="dead-letters")
    app.command("audit")(audit.audit)
    person_commands = typer.Typer(help="A person's data: erase, export.", no_args_is_help=True)
    person_commands.command("erase")(person.erase)
    person_commands.command("export")(person.export)
    app.add_typer(person_commands, name="person")
    app.command("verify")(verify.verify_command)
    app.command("replay")(replay.replay_command)

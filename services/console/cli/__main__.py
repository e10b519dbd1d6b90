"""The commands by their names."""

import typer

from services.console.cli import assignments, exports, topics, verdicts

EPILOG = (
    "Exit codes: 0 fine; 1 a finding, which is printed; 2 wrong usage or settings; 3 Kafka or PostgreSQL does not"
    " answer; 4 there is nothing of that name. Settings come from the environment: DATABASE_URL, KAFKA_BOOTSTRAP,"
    " TOPIC_PREFIX."
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
    app.command("verdict")(verdicts.verdict)
    app.command("state")(assignments.state)
    app.command("history")(assignments.history)
    app.command("verify")(topics.verify)
    app.command("export")(exports.export_events)
    return app


if __name__ == "__main__":
    build()()

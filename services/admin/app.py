"""The command group ``moderated-grading admin``."""

import typer

from services.admin.accept_recreated_topic import accept_recreated_topic_command
from services.admin.archive import build_archive_app
from services.admin.bind_operator import bind_operator_command
from services.admin.create_topics import create_topics_command
from services.admin.keys import create_keys_command, issue_token_command
from services.admin.migrate import migrate_command
from services.admin.new_installation import new_installation_command
from services.admin.rewind import rewind_command
from services.admin.verify_snapshots import verify_snapshots_command


def build_admin_app() -> typer.Typer:
    """Return the group with all its commands."""
    app = typer.Typer(help="Install, upgrade and recover: commands for administrators.", no_args_is_help=True)
    app.command("migrate")(migrate_command)
    app.command("create-topics")(create_topics_command)
    app.command("create-keys")(create_keys_command)
    app.command("issue-token")(issue_token_command)
    app.command("bind-operator")(bind_operator_command)
    app.command("new-installation")(new_installation_command)
    app.command("accept-recreated-topic")(accept_recreated_topic_command)
    app.command("rewind")(rewind_command)
    app.command("verify-snapshots")(verify_snapshots_command)
    app.add_typer(build_archive_app(), name="archive")
    return app

"""``admin bind-operator``: restrict an operator's login to one root account."""

from typing import Annotated

import typer

from schemas.fields import ID_MAX
from services.admin.postgres_errors import exit_on_postgres_errors
from services.config.database import DatabaseSettings
from services.eventlog.operator_bindings import BindingRefused, bind_operator, release_operator
from services.runtime.command_line import ExitCode, exit_with


def bind_operator_command(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="The operator's login in PostgreSQL.")],
    root_account: Annotated[
        int | None, typer.Option(min=1, max=ID_MAX, metavar="ID", help="The root account that the login may see.")
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="Remove the login's binding and role.")] = False,
) -> None:
    """Bind an operator's login to one root account; run it as the owner of the database.

    PostgreSQL then shows the login only that root account's log, in the commands state, history, verdict, agreement,
    audit and person, and in any other client. Commands about the whole installation need another login.
    """
    if release == (root_account is not None):
        raise typer.BadParameter("state --root-account or --release")
    with exit_on_postgres_errors():
        url = DatabaseSettings().url()
        try:
            if root_account is None:
                bound_to = release_operator(url, login)
            else:
                bind_operator(url, login, root_account)
        except BindingRefused as error:
            exit_with(ExitCode.USAGE, str(error))
    if root_account is not None:
        typer.echo(f"{login} sees root account {root_account} only")
    elif bound_to is None:
        exit_with(ExitCode.NOT_FOUND, f"{login} is bound to no root account; nothing was changed")
    else:
        typer.echo(f"{login} was bound to root account {bound_to}, and sees nothing of the log now")

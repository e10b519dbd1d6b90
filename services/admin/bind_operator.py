"""``admin bind-operator``: restrict an operator's login to one root account."""

from typing import Annotated

import psycopg
import typer

from schemas.fields import ID_MAX
from services.config.base import SettingsError
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
    try:
        url = DatabaseSettings().url()
        if root_account is None:
            bound_to = release_operator(url, login)
        else:
            bind_operator(url, login, root_account)
    except (SettingsError, BindingRefused) as error:
        exit_with(ExitCode.USAGE, str(error))
    except psycopg.OperationalError as error:
        exit_with(
            ExitCode.SERVER_UNAVAILABLE,
            f"PostgreSQL failed: {str(error).strip()}. Check the server and the login in DATABASE_URL, then run this"
            " again",
        )
    except psycopg.Error as error:
        exit_with(
            ExitCode.USAGE,
            f"PostgreSQL refused: {error.diag.message_primary}; nothing was changed. Run this as the database's owner",
        )
    if root_account is not None:
        typer.echo(f"{login} sees root account {root_account} only")
    elif bound_to is None:
        exit_with(ExitCode.NOT_FOUND, f"{login} is bound to no root account; nothing was changed")
    else:
        typer.echo(f"{login} was bound to root account {bound_to}, and sees nothing of the log now")

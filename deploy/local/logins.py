"""A PostgreSQL login for each process and for operators. None is superuser, owns anything, or can leave its roles."""

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg
from psycopg import sql

from deploy.local.postgres import create_password, database_name, read_password
from services.eventlog.postgres import OPERATOR, READER, WRITER

LOGIN_ROLES = {
    "handler": (WRITER,),
    "relay": (READER,),
    "gateway": (READER,),
    "scheduler": (READER,),
    # The operator's role can also read; the reader's role is for sessions that only read.
    "console": (OPERATOR, READER),
    "operator": (OPERATOR, READER),
}


def login_url(owner_url: str, login: str, folder: Path) -> str:
    """Return the URL of the owner's database for a login, whose password is in ``folder``."""
    parts = urlsplit(owner_url)
    parameters = dict(parse_qsl(parts.query)) | {"passfile": str(password_file(folder, login))}
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(login)}@{address}", query=urlencode(parameters, safe="/")).geturl()


def password_file(folder: Path, login: str) -> Path:
    """Return the file with a login's password, in PostgreSQL's format."""
    return folder / f"{login}.pgpass"


def create_logins(owner_url: str, folder: Path) -> None:
    """Create the logins of LOGIN_ROLES on the migrated database's server, unless they exist, and let only them connect.

    A login inherits nothing: it has permissions only after a process sets its role, when it connects.
    """
    with psycopg.connect(owner_url) as connection:
        for login, roles in LOGIN_ROLES.items():
            file = password_file(folder, login)
            password = read_password(login_url(owner_url, login, folder)) if file.exists() else None
            exists = connection.execute("select from pg_roles where rolname = %s", (login,)).fetchone() is not None
            if not exists or password is None:
                statement = (
                    "alter role {} login noinherit password {}"
                    if exists
                    else "create role {} login noinherit password {}"
                )
                connection.execute(
                    sql.SQL(statement).format(sql.Identifier(login), password or create_password(file, login))
                )
            for role in roles:
                connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(login)))
        database = sql.Identifier(database_name(owner_url))
        connection.execute(sql.SQL("revoke all on database {} from public").format(database))
        logins = sql.SQL(", ").join(map(sql.Identifier, LOGIN_ROLES))
        connection.execute(sql.SQL("grant connect on database {} to {}").format(database, logins))

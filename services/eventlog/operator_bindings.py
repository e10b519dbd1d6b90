"""Binds an operator's login to one root account, so that row-level security shows it only that account's rows."""

import psycopg
from psycopg import sql

from services.eventlog.migrate import to_libpq_url
from services.eventlog.postgres import BOUND_OPERATOR

# Whether the login sees every row, itself or by a role that it may take: a superuser's, the owner's, one that bypasses
# row security, reads all data, or makes roles. And the other roles of the service that it may take.
LOGIN = """
select exists(select from pg_roles o
              where pg_has_role(r.oid, o.oid, 'MEMBER')
                and (o.rolsuper or o.rolbypassrls or o.rolcreaterole or o.oid = d.datdba
                     or o.rolname in ('pg_read_all_data', 'pg_write_all_data'))),
       array(select o.rolname::text from pg_roles o
             where o.rolname in ('moderation_writer', 'moderation_reader', 'moderation_operator')
               and pg_has_role(r.oid, o.oid, 'MEMBER') order by 1)
from pg_roles r, pg_database d where r.rolname = %s and d.datname = current_database()
"""
BIND = """
insert into operator_binding (login, root_account) values (%s, %s)
"""
UNBIND = "delete from operator_binding where login = %s returning root_account"


class BindingRefused(Exception):
    """The login cannot be bound; the message says why, that nothing was changed, and what to do."""


def bind_operator(url: str, login: str, root_account: int) -> None:
    """Bind a login to a root account, replacing any other, and grant it the role of bound operators.

    Raises:
        BindingRefused: the login is unknown, or sees every row by other means; nothing was changed.
        psycopg.Error: PostgreSQL does not answer, or the user is not the owner; nothing was changed.
    """
    with psycopg.connect(to_libpq_url(url)) as connection:
        row = connection.execute(LOGIN, (login,)).fetchone()
        if row is None:
            raise BindingRefused(
                f"PostgreSQL has no login {login}; nothing was changed: create it (login noinherit), and bind it then"
            )
        sees_everything, roles = row
        if sees_everything:
            raise BindingRefused(
                f"{login} sees every row: it is, or may take the role of, a superuser, the owner of the database, or a"
                " role that bypasses row security, reads all data or makes roles; nothing was changed: bind another"
                " login"
            )
        if roles:
            raise BindingRefused(
                f"{login} may take roles that see every row; nothing was changed: revoke {', '.join(roles)} from it,"
                " and bind it then"
            )
        connection.execute(UNBIND, (login,))
        connection.execute(BIND, (login, root_account))
        connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(BOUND_OPERATOR), sql.Identifier(login)))


def release_operator(url: str, login: str) -> int | None:
    """Remove a login's binding and role, and return the root account that it was bound to; None without one.

    Raises psycopg.Error: PostgreSQL does not answer, or the user is not the owner; nothing was changed.
    """
    with psycopg.connect(to_libpq_url(url)) as connection:
        row = connection.execute(UNBIND, (login,)).fetchone()
        if row is not None:
            connection.execute(
                sql.SQL("revoke {} from {}").format(sql.Identifier(BOUND_OPERATOR), sql.Identifier(login))
            )
        return None if row is None else int(row[0])

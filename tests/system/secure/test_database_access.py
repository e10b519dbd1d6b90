"""Each process has a PostgreSQL login with exactly the rights of its role."""

import uuid
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
import pytest

from deploy.local.logins import LOGIN_ROLES
from services.eventlog.postgres import OPERATOR, READER, WRITER
from tests.fixtures.secure import identity
from tests.fixtures.system import System

ROLES = (WRITER, READER, OPERATOR)


@pytest.fixture(params=LOGIN_ROLES)
def login(request: pytest.FixtureRequest) -> str:
    """Return the name of a login."""
    return str(request.param)


def connect(system: System, login: str) -> "psycopg.Connection[tuple[object, ...]]":
    """Connect as a login."""
    return psycopg.connect(identity(login, system.database_url)["DATABASE_URL"], autocommit=True)


async def test_login_has_no_rights_without_its_role(running_system: System, login: str) -> None:
    with connect(running_system, login) as connection:
        for role in LOGIN_ROLES[login]:
            connection.execute(f"set role {role}".encode())
            connection.execute("select count(*) from event")
            connection.execute("set role none")
        for statement in ("select from event", "insert into shard values (99)", "create table t ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


async def test_login_cannot_take_another_role_or_escape_its_database(running_system: System, login: str) -> None:
    others = [role for role in ROLES if role not in LOGIN_ROLES[login]]
    statements = [f"set role {role}" for role in (*others, "moderation", "pg_read_all_data")]
    statements += [f"set session authorization {name}" for name in LOGIN_ROLES if name != login]
    statements += [
        f"create role {login}_2",
        f"grant {WRITER} to {login}",
        f"alter role {login} superuser",
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/copied'",
        "select pg_read_file('PG_VERSION')",
        "set session_replication_role = replica",
    ]
    with connect(running_system, login) as connection:
        for role in ("none", *LOGIN_ROLES[login]):
            for statement in statements:
                connection.execute(f"set role {role}".encode())
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())


async def test_no_login_is_superuser_owner_or_member_of_more_than_its_roles(running_system: System, login: str) -> None:
    with psycopg.connect(running_system.database_url) as owner:
        flags = owner.execute(
            "select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit from pg_roles"
            " where rolname = %s",
            (login,),
        ).fetchone()
        roles = owner.execute(
            "select roleid::regrole::text, admin_option from pg_auth_members where member = %s::regrole", (login,)
        ).fetchall()
        owned = owner.execute("select count(*) from pg_class where relowner = %s::regrole", (login,)).fetchone()
    assert flags == (False,) * 6
    assert sorted(roles) == sorted((role, False) for role in LOGIN_ROLES[login])
    assert owned == (0,)


@pytest.mark.parametrize(
    "parameters",
    [{"sslmode": "disable"}, {"passfile": "/nonexistent"}, {"password": uuid.uuid4().hex}, {"sslrootcert": "system"}],
)
async def test_connection_without_tls_or_password_is_refused(
    running_system: System, parameters: dict[str, str]
) -> None:
    parts = urlsplit(identity("handler", running_system.database_url)["DATABASE_URL"])
    changed = dict(parse_qsl(parts.query)) | parameters
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(parts._replace(query=urlencode(changed)).geturl(), connect_timeout=5)

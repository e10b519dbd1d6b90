"""Row-level security: a bound operator is shown one root account's rows; the processes' queries keep their plans."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from services.eventlog import encryption_keys, feeds, first_verdicts, store, stored_events, stream_reader
from services.eventlog.operator_bindings import BindingRefused, bind_operator, release_operator
from services.eventlog.postgres import BOUND_OPERATOR, OPERATOR, READER, WRITER
from tests.fixtures.system import RUN_PREFIX

ACCOUNTS = (1, 2)
AT = "2026-01-31 12:00+00"
# What belongs to no root account, and says nothing of any.
OPEN_TABLES = {"installation", "shard", "source"}
# For handlers, and the check of relays.
CLOSED_TABLES = {"snapshot", "master_key_check"}
ROWS = """
insert into stream values ({a}, {a}, 9, 90{a}, 0), (10 + {a}, {a}, 9, null, 0);
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
values (0, {a}, {a}, 1, 'course_updated', 1, '{{"of": {a}}}', '{{}}', '{at}');
insert into decided_command values (0, {a}, {a}, gen_random_uuid(), true, '', 1, 0, {a}, 0, '{at}');
insert into verdict_body values ('{at}', 0, {a}, null, '{{"of": {a}}}', '{{}}');
insert into dead_letter values (0, {a}, 1, 0, 100 + {a}, 0, null, null, '', 'not_json', '', '{at}');
insert into operator_action values
    ('00000000-0000-0000-0000-00000000000{a}', 'redrive', {a}, 7, 'why', '{{"dead_letter": "0-{a}"}}'),
    (gen_random_uuid(), 'export', {a}, 7, 'of the other account', '{{"root_account_id": "{other}", "user_id": "5"}}');
insert into dead_letter_settled values (0, {a}, '00000000-0000-0000-0000-00000000000{a}', 0);
insert into redrive values ('00000000-0000-0000-0000-00000000000{a}', 'commands', 1, 0, '{{0}}', '{{0}}');
insert into redriven values ('00000000-0000-0000-0000-00000000000{a}', 0, 0, {a});
insert into encryption_key values ({a}, {a}, 9, 5, null, repeat('k', 32)::bytea),
                                  (10 + {a}, null, null, null, '2026-01-0{a}', repeat('k', 32)::bytea);
insert into access_record (process, what, target) values ('cli', 'state', '{{"root_account": "{a}"}}');
"""
# The rows of an account, as the owner selects them.
EXPECTED = {
    "stream": "root_account = {a}",
    "event": "position = {a}",
    "decided_command": "root_account = {a}",
    "verdict_body": "number = {a}",
    "verdict": "number = {a}",
    "operator_action": "root_account = {a} and kind = 'redrive'",
    "encryption_key": "root_account = {a}",
    "access_record": "target->>'root_account' = '{a}'",
    "operator_binding": "root_account = {a}",
    "dead_letter": "false",
    "dead_letter_settled": "false",
    "redrive": "false",
    "redriven": "false",
}
RELATIONS = """
select c.relname from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname !~ 'yoyo'
"""
Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class TwoAccounts:
    """A log of two root accounts, the URL of a login bound to each, and of one without any role."""

    owner: str
    urls: dict[int, str]
    unbound: str
    unbound_name: str


@pytest.fixture(scope="module")
def two_accounts(postgres: str, new_database: Callable[[], str]) -> Iterator[TwoAccounts]:
    owner, names = new_database(), {a: f"{RUN_PREFIX}-bound-{a}".replace("-", "_") for a in (0, *ACCOUNTS)}
    password = uuid.uuid4().hex
    place = urlsplit(owner).netloc.rpartition("@")[2]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("insert into source (topic, reason) values ('commands', 'test')")
        for account in ACCOUNTS:
            connection.execute(ROWS.format(a=account, other=3 - account, at=AT).encode())
        for name in names.values():
            statement = sql.SQL("create role {} login noinherit password {}")
            connection.execute(statement.format(sql.Identifier(name), password))
    urls = {
        a: urlsplit(owner)._replace(netloc=f"{name}:{password}@{place}", query="").geturl() for a, name in names.items()
    }
    for account in ACCOUNTS:
        bind_operator(owner, names[account], account)
    yield TwoAccounts(owner, {a: urls[a] for a in ACCOUNTS}, urls[0], names[0])
    with psycopg.connect(owner, autocommit=True) as connection:
        for name in names.values():
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def connect_bound(two_accounts: TwoAccounts, account: int) -> Connection:
    connection = psycopg.connect(two_accounts.urls[account], autocommit=True)
    connection.execute(f"set role {BOUND_OPERATOR}".encode())
    return connection


def read_rows(connection: Connection, relation: str, condition: str = "true") -> list[str]:
    rows = connection.execute(f"select t::text from {relation} t where {condition}".encode()).fetchall()
    return sorted(str(row[0]) for row in rows)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("relation", EXPECTED)
def test_bound_operator_sees_the_rows_of_the_account_alone(
    two_accounts: TwoAccounts, relation: str, account: int
) -> None:
    with psycopg.connect(two_accounts.owner) as owner, connect_bound(two_accounts, account) as bound:
        everything = read_rows(owner, relation)
        expected = read_rows(owner, relation, EXPECTED[relation].format(a=account))
        assert len(everything) >= 2
        assert read_rows(bound, relation) == expected
        assert bool(expected) == (EXPECTED[relation] != "false")


def test_no_table_or_view_is_left_out(two_accounts: TwoAccounts) -> None:
    with psycopg.connect(two_accounts.owner) as owner, connect_bound(two_accounts, 1) as bound:
        relations = {str(row[0]) for row in owner.execute(RELATIONS)}
        months = {name for name in relations if re.fullmatch(r"verdict_body_(\d{4}_\d{2}|default)", name)}
        closed = months | CLOSED_TABLES
        assert relations - closed == EXPECTED.keys() | OPEN_TABLES
        for relation in sorted(closed):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                read_rows(bound, relation)


@pytest.mark.parametrize(
    "attempt",
    [
        f"set role {READER}",
        f"set role {WRITER}",
        f"set role {OPERATOR}",
        "set session authorization moderation",
        "update operator_binding set root_account = 2",
        "insert into operator_binding values ('other', 2)",
        "delete from operator_binding",
        "create policy mine on event for select using (true)",
        "insert into operator_action values (gen_random_uuid(), 'export', 1, 7, 'w', '{\"root_account_id\": \"2\"}')",
        "insert into operator_action values (gen_random_uuid(), 'export', 2, 7, 'w', '{\"root_account_id\": \"2\"}')",
        "insert into operator_action values (gen_random_uuid(), 'discard', 1, 7, 'w', '{}')",
        "insert into dead_letter_settled values (0, 1, gen_random_uuid(), 0)",
        "delete from encryption_key",
    ],
)
def test_bound_operator_can_not_leave_the_account(two_accounts: TwoAccounts, attempt: str) -> None:
    with connect_bound(two_accounts, 1) as bound, pytest.raises(psycopg.errors.InsufficientPrivilege):
        bound.execute(attempt.encode())


def test_row_security_can_not_be_turned_off(two_accounts: TwoAccounts) -> None:
    with connect_bound(two_accounts, 1) as bound:
        bound.execute("set row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            bound.execute("select * from event")


def test_a_table_of_the_callers_own_does_not_change_the_binding(two_accounts: TwoAccounts) -> None:
    """A temporary table hides another of its name in what is parsed when it runs."""
    with connect_bound(two_accounts, 1) as bound:
        bound.execute("reset role; create temporary table operator_binding (login name, root_account bigint)")
        bound.execute(
            "insert into operator_binding values (session_user, 2); grant select on operator_binding to public"
        )
        bound.execute(f"set role {BOUND_OPERATOR}".encode())
        assert bound.execute("select distinct root_account from stream").fetchall() == [(1,)]


def test_attempts_on_another_account_are_recorded_with_the_login(two_accounts: TwoAccounts) -> None:
    target = json.dumps({"root_account": "2", "assignment": "902"})
    with connect_bound(two_accounts, 1) as bound, psycopg.connect(two_accounts.owner) as owner:
        login = bound.execute("select session_user").fetchone()
        bound.execute("insert into access_record (process, what, target) values ('cli', 'tried', %s)", (target,))
        assert owner.execute("select database_user from access_record where what = 'tried'").fetchone() == login


@pytest.mark.parametrize(
    "row",
    [
        ("cli", "tried", '{"root_account": "\\u0000"}'),
        ("cli", "tried", "[]"),
        ("cli", "tried", json.dumps({"root_account": "1", "of": "x" * 2_000})),
    ],
)
def test_bound_operator_can_not_write_what_breaks_the_audit_trail(
    two_accounts: TwoAccounts, row: tuple[str, str, str]
) -> None:
    with connect_bound(two_accounts, 1) as bound, pytest.raises((psycopg.errors.CheckViolation, psycopg.DataError)):
        bound.execute("insert into access_record (process, what, target) values (%s, %s, %s)", row)


@pytest.mark.parametrize("column", ["user_id", "root_account", "client"])
def test_bound_operator_can_not_write_in_the_name_of_another(two_accounts: TwoAccounts, column: str) -> None:
    value = "'203.0.113.9'" if column == "client" else "7"
    columns, values = f"(process, what, target, {column})", f"('cli', 'tried', '{{}}', {value})"
    with connect_bound(two_accounts, 1) as bound, pytest.raises(psycopg.errors.InsufficientPrivilege):
        bound.execute(f"insert into access_record {columns} values {values}".encode())


def test_login_that_may_take_the_role_of_a_superuser_is_not_bound(two_accounts: TwoAccounts) -> None:
    name = sql.Identifier(two_accounts.unbound_name)
    for role in ("superuser", "bypassrls", "createrole"):
        mighty = sql.Identifier(f"{two_accounts.unbound_name}-{role}")
        with psycopg.connect(two_accounts.owner, autocommit=True) as owner:
            owner.execute(sql.SQL("create role {} {}").format(mighty, sql.SQL(role)))
            owner.execute(sql.SQL("grant {} to {}").format(mighty, name))
            try:
                with pytest.raises(BindingRefused, match="sees every row"):
                    bind_operator(two_accounts.owner, two_accounts.unbound_name, 1)
            finally:
                owner.execute(sql.SQL("drop role {}").format(mighty))


def test_login_that_sees_every_row_by_other_means_is_not_bound(two_accounts: TwoAccounts) -> None:
    name = sql.Identifier(two_accounts.unbound_name)
    with psycopg.connect(two_accounts.owner, autocommit=True) as owner:
        owner.execute(sql.SQL("grant {} to {}").format(sql.Identifier(READER), name))
        with pytest.raises(BindingRefused, match="nothing was changed: revoke moderation_reader"):
            bind_operator(two_accounts.owner, two_accounts.unbound_name, 1)
        owner.execute(sql.SQL("revoke {} from {}").format(sql.Identifier(READER), name))
        me = owner.execute("select current_user").fetchone()
        assert me is not None
        with pytest.raises(BindingRefused, match="sees every row"):
            bind_operator(two_accounts.owner, str(me[0]), 1)
    with pytest.raises(BindingRefused, match="no login nobody-at-all; nothing was changed"):
        bind_operator(two_accounts.owner, "nobody-at-all", 1)


def test_released_login_sees_nothing_until_it_is_bound_again(two_accounts: TwoAccounts) -> None:
    owner, name = two_accounts.owner, two_accounts.unbound_name
    bind_operator(owner, name, 1)
    bind_operator(owner, name, 2)
    with psycopg.connect(two_accounts.unbound, autocommit=True) as bound:
        bound.execute(f"set role {BOUND_OPERATOR}".encode())
        before = bound.execute("select distinct root_account from stream").fetchall()
        assert release_operator(owner, name) == 2
        after = bound.execute("select distinct root_account from stream").fetchall()
    assert (before, after) == ([(2,)], [])
    assert release_operator(owner, name) is None


HANDLER_QUERIES = {
    "batch context": store.BATCH_CONTEXT,
    "watermarks": store.WATERMARKS,
    "append times": store.APPEND_TIMES,
    "first verdicts": first_verdicts.BODIES,
    "streams": store.STREAMS_WITH_VERSIONS,
    "events": stored_events.EVENTS,
    "keys by id": encryption_keys.KEYS_BY_ID,
    "keys of persons": encryption_keys.KEYS_OF_PERSONS,
    "insert keys": encryption_keys.INSERT_KEYS,
}
READER_QUERIES = {
    **{f"feed {name}": query for name, (query, _) in feeds.FEED_QUERIES.items()},
    "heads": feeds.HEADS,
    "live numbers": feeds.LIVE_NUMBERS_AT,
    "keys by id": encryption_keys.KEYS_BY_ID,
    "pages of events": stored_events.PAGE,
    "changed streams": stream_reader.HAS_EVENTS_AFTER,
    "head of a course": stream_reader.COURSE_HEAD,
    "events of a student": stream_reader.EVENTS_OF_STUDENT,
    "verdicts": stream_reader.VERDICTS_AT,
    "first verdict": stream_reader.FIRST_VERDICT,
    "courses by SIS id": stream_reader.COURSES_BY_SIS_ID,
}


@pytest.mark.parametrize(
    ("role", "query"),
    [
        *(pytest.param(WRITER, query, id=f"handler, {name}") for name, query in HANDLER_QUERIES.items()),
        *(pytest.param(READER, query, id=f"relay and gateway, {name}") for name, query in READER_QUERIES.items()),
    ],
)
def test_plans_of_the_processes_are_those_without_row_security(
    two_accounts: TwoAccounts, role: str, query: str
) -> None:
    parameters = ", ".join("null" for _ in set(re.findall(r"\$\d+", query)))
    plans = []
    with psycopg.connect(two_accounts.owner) as connection:
        connection.execute("set plan_cache_mode = force_generic_plan")
        for name in ("none", role):
            connection.execute(f"set role {name}; prepare q as {query}".encode())
            plans.append(
                connection.execute(f"explain (costs off, verbose) execute q({parameters})".encode()).fetchall()
            )
            connection.execute("deallocate q")
    assert len(plans[0]) > 1
    assert plans[0] == plans[1]

"""The keys of personal data: one for each person and course, one for each day. All SQL on their table is here.

It is the only table from which rows are deleted: deleting a key erases everything encrypted with it. Keys are not
cached, so that an erasure takes effect with its commit: reading encrypted rows takes one more query.
"""

import secrets
from collections.abc import Collection, Mapping
from datetime import date
from typing import NamedTuple

import asyncpg

from services.eventlog.encryption import (
    KEY_BYTES,
    compare_master_key,
    generate_key,
    unwrap_key,
    wrap_key,
    wrap_known_key,
)
from services.eventlog.postgres import Pool

KEYS_COMPARED_MAX = 1000
"""A master key that wrapped one key in a hundred is missed by one start in 20,000; more would delay the start."""
UNKNOWN_PERSON = 0
"""The person whose key encrypts a course's data of no known person: an HTTP request without an actor."""

# $1 ids.
KEYS_BY_ID = "select k.id, k.key from encryption_key k where k.id = any($1::bigint[])"
# $1-$3 root accounts, courses, persons.
KEYS_OF_PERSONS = """
select k.root_account, k.course, k.person, k.id, k.key
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) p(root_account, course, person)
join encryption_key k on k.root_account = p.root_account and k.course = p.course and k.person = p.person
"""
# $1 days.
KEYS_OF_DAYS = "select k.day, k.id, k.key from encryption_key k where k.day = any($1::date[])"
# $1 ids, $2-$4 root accounts, courses, persons, $5 days, $6 keys.
INSERT_KEYS = """
insert into encryption_key (id, root_account, course, person, day, key)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::date[], $6::bytea[])
"""
# $1-$3 root accounts, courses, persons.
DELETE_PERSONS = """
delete from encryption_key k using unnest($1::bigint[], $2::bigint[], $3::bigint[]) p(root_account, course, person)
where k.root_account = p.root_account and k.course = p.course and k.person = p.person
"""
MASTER_KEY_CHECK = "select c.value from master_key_check c"
# $1 the known key, wrapped. A handler waits here for another one's transaction that stores the first wrapped key, too.
INSERT_MASTER_KEY_CHECK = "insert into master_key_check (value) values ($1) on conflict do nothing"
# $1 the length of a key that is not wrapped, $2 a number of keys. Ids are random, so these are a random sample.
WRAPPED_KEYS = "select k.key from encryption_key k where octet_length(k.key) > $1 order by k.id limit $2"
# $1 a number of days.
DELETE_OLD_DAYS = """
delete from encryption_key k where k.day < (statement_timestamp() at time zone 'UTC')::date - $1::integer
"""
# $1 root account, $2 person.
COURSES_OF_PERSON = """
select k.course from encryption_key k where k.root_account = $1 and k.person = $2 order by k.course
"""


class Person(NamedTuple):
    """A person in a course, whose key encrypts the person's data there."""

    root_account: int
    course: int
    user_id: int


class EncryptionKey(NamedTuple):
    """A key and the id by which encrypted values refer to it."""

    id: int
    key: bytes


def new_encryption_key() -> EncryptionKey:
    """Generate a key with a random id."""
    return EncryptionKey(secrets.randbits(63), generate_key())


class EncryptionKeys:
    """Reads and writes keys over one connection or pool. Every method may raise POSTGRES_ERRORS or SettingsError."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        self.connection = connection

    async def by_id(self, ids: Collection[int]) -> dict[int, bytes]:
        """Return the keys that exist; the others were deleted."""
        return {row[0]: unwrap_key(row[1]) for row in await self.connection.fetch(KEYS_BY_ID, list(ids))}

    async def of_persons(self, persons: Collection[Person]) -> dict[Person, EncryptionKey]:
        """Return the keys of persons who have one."""
        if not persons:
            return {}
        columns = [list(column) for column in zip(*persons, strict=True)]
        return {
            Person(*row[:3]): EncryptionKey(row[3], unwrap_key(row[4]))
            for row in await self.connection.fetch(KEYS_OF_PERSONS, *columns)
        }

    async def of_days(self, days: Collection[date]) -> dict[date, EncryptionKey]:
        """Return the keys of days that have one."""
        if not days:
            return {}
        return {
            row[0]: EncryptionKey(row[1], unwrap_key(row[2]))
            for row in await self.connection.fetch(KEYS_OF_DAYS, list(days))
        }

    async def insert(self, persons: Mapping[Person, EncryptionKey], days: Mapping[date, EncryptionKey]) -> None:
        """Insert keys, in a transaction.

        Raises:
            asyncpg.UniqueViolationError: a person or day has one.
            MasterKeyDiffers: the log's keys are wrapped by another master key, or this process has none.
        """
        if not await self.verify_master_key():
            await self._record_master_key()
        # In one order for all writers: of two with the same keys one waits and then fails; neither deadlocks.
        rows: list[tuple[object, ...]] = [
            (key.id, *person, None, wrap_key(key.key)) for person, key in sorted(persons.items())
        ]
        rows += [(key.id, None, None, None, day, wrap_key(key.key)) for day, key in sorted(days.items())]
        await self.connection.execute(INSERT_KEYS, *[list(column) for column in zip(*rows, strict=True)])

    async def verify_master_key(self, *, may_record: bool = False) -> bool:
        """Compare the master key of this process with the log's; return whether the log has a check of it.

        A log whose wrapped keys are older than the check gets it if ``may_record``. One without wrapped keys does not:
        nothing is bound to a master key yet.

        Raises:
            MasterKeyDiffers: the log's keys are wrapped, and not, or not all, by the master key of this process.
        """
        check = await self.connection.fetchval(MASTER_KEY_CHECK)
        if check is not None:
            compare_master_key([check])
            return True
        if wrap_known_key() is None:
            # To look for wrapped keys would read all keys of a log that has none.
            return False
        wrapped_keys = [row[0] for row in await self.connection.fetch(WRAPPED_KEYS, KEY_BYTES, KEYS_COMPARED_MAX)]
        compare_master_key(wrapped_keys)
        if wrapped_keys and may_record:
            await self._record_master_key()
        return False

    async def _record_master_key(self) -> None:
        """Let the log keep a check of this process's master key, if it has one.

        Raises:
            MasterKeyDiffers: another process has recorded another master key meanwhile.
        """
        check = wrap_known_key()
        if check is not None:
            await self.connection.execute(INSERT_MASTER_KEY_CHECK, check)
            compare_master_key([await self.connection.fetchval(MASTER_KEY_CHECK)])

    async def delete_persons(self, persons: Collection[Person]) -> None:
        """Delete the keys of persons, which erases everything encrypted with them."""
        await self.connection.execute(DELETE_PERSONS, *[list(column) for column in zip(*persons, strict=True)])

    async def delete_old_days(self, days: int) -> int:
        """Delete the keys of days more than ``days`` before PostgreSQL's today and return how many there were."""
        status: str = await self.connection.execute(DELETE_OLD_DAYS, days)
        return int(status.split()[-1])

    async def courses_of_person(self, root_account: int, user_id: int) -> list[int]:
        """Return the courses that hold personal data of a person, ascending."""
        return [row[0] for row in await self.connection.fetch(COURSES_OF_PERSON, root_account, user_id)]

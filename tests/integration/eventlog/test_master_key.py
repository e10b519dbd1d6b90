"""Keys are wrapped by one master key: who has another one, or none, is refused before a key is stored."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from services.config.base import SettingsError
from services.eventlog import encryption
from services.eventlog.encryption import MasterKeyDiffers, generate_key, wrap_key, wrap_known_key
from services.eventlog.encryption_keys import EncryptionKeys, Person, new_encryption_key
from services.eventlog.installation import fetch_installation
from services.eventlog.postgres import READER, WRITER
from tests.fixtures.process_runner import wait_until

SetMasterKey = Callable[[str | None], None]
KEYS = "select count(*) from encryption_key"
WAITING = """
select count(*) from pg_locks l join pg_stat_activity a using (pid)
where a.datname = current_database() and not l.granted
"""
INSERT_KEY = "insert into encryption_key (id, root_account, course, person, key) values ($1, 1, 1001, $1, $2)"
CHECK_OF_EARLIER_VERSION = "alter table master_key_check disable trigger append_only; delete from master_key_check"


@pytest.fixture
async def keys(database_url: str) -> AsyncIterator[EncryptionKeys]:
    connection = await asyncpg.connect(database_url)
    yield EncryptionKeys(connection)
    await connection.close()


@pytest.fixture
def set_master_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SetMasterKey]:
    """Yield a function that gives this process the master key of that name, or none."""

    def set_(name: str | None) -> None:
        if name is None:
            monkeypatch.delenv("ENCRYPTION_KEY_FILE", raising=False)
        else:
            path = tmp_path / name
            if not path.exists():
                path.write_bytes(base64.b64encode(generate_key()))
            monkeypatch.setenv("ENCRYPTION_KEY_FILE", str(path))
        encryption._load_master_key.cache_clear()

    set_(None)
    yield set_
    encryption._load_master_key.cache_clear()


async def insert_key(keys: EncryptionKeys, user_id: int) -> None:
    async with keys.connection.transaction():  # type: ignore[union-attr]
        await keys.insert({Person(1, 1001, user_id): new_encryption_key()}, {})


@pytest.mark.parametrize(
    ("name", "refusal"), [("other", "does not hold the master key"), (None, "set ENCRYPTION_KEY_FILE")]
)
async def test_handler_with_another_master_key_or_none_stores_no_key(
    keys: EncryptionKeys, set_master_key: SetMasterKey, name: str | None, refusal: str
) -> None:
    set_master_key("first")
    await insert_key(keys, 1)
    set_master_key(name)

    with pytest.raises(SettingsError, match=refusal):
        await insert_key(keys, 2)

    assert await keys.connection.fetchval(KEYS) == 1
    set_master_key("first")
    await insert_key(keys, 2)


async def test_start_binds_a_log_without_keys_to_no_master_key(
    database_url: str, keys: EncryptionKeys, set_master_key: SetMasterKey
) -> None:
    set_master_key("first")
    await fetch_installation(database_url, "handler", WRITER)
    set_master_key("other")
    await fetch_installation(database_url, "handler", WRITER)
    await insert_key(keys, 1)
    set_master_key("first")

    with pytest.raises(SettingsError, match="does not hold the master key"):
        await insert_key(keys, 2)


async def test_of_two_handlers_that_store_the_first_key_one_decides_the_master_key(
    database_url: str, keys: EncryptionKeys, set_master_key: SetMasterKey
) -> None:
    other = await asyncpg.connect(database_url)
    try:
        async with keys.connection.transaction():  # type: ignore[union-attr]
            set_master_key("first")
            await keys.insert({Person(1, 1001, 1): new_encryption_key()}, {})
            set_master_key("other")
            waiting = asyncio.create_task(insert_key(EncryptionKeys(other), 2))
            await wait_until(lambda: is_waiting(keys), "the other handler waits")
        with pytest.raises(MasterKeyDiffers, match="does not hold the master key"):
            await waiting
    finally:
        await other.close()

    assert await keys.connection.fetchval(KEYS) == 1


async def is_waiting(keys: EncryptionKeys) -> bool:
    return bool(await keys.connection.fetchval(WAITING))


@pytest.mark.parametrize("name", ["other", None])
async def test_process_with_another_master_key_or_none_does_not_start(
    database_url: str, keys: EncryptionKeys, set_master_key: SetMasterKey, name: str | None
) -> None:
    set_master_key("first")
    await insert_key(keys, 1)
    set_master_key(name)

    with pytest.raises(SettingsError, match="ENCRYPTION_KEY_FILE"):
        await fetch_installation(database_url, "relay", READER)


async def test_wrapped_keys_of_a_log_without_a_check_are_compared(
    database_url: str, keys: EncryptionKeys, set_master_key: SetMasterKey
) -> None:
    set_master_key("first")
    await insert_key(keys, 1)
    await keys.connection.execute(CHECK_OF_EARLIER_VERSION)
    set_master_key("other")

    with pytest.raises(SettingsError, match="does not hold the master key"):
        await fetch_installation(database_url, "relay", READER)
    with pytest.raises(SettingsError, match="does not hold the master key"):
        await insert_key(keys, 2)


async def test_start_gives_a_log_of_wrapped_keys_its_check(
    database_url: str, keys: EncryptionKeys, set_master_key: SetMasterKey
) -> None:
    set_master_key("first")
    await insert_key(keys, 1)
    await keys.connection.execute(CHECK_OF_EARLIER_VERSION)
    await fetch_installation(database_url, "handler", WRITER)
    set_master_key(None)

    with pytest.raises(SettingsError, match="set ENCRYPTION_KEY_FILE"):
        await insert_key(keys, 2)


async def test_log_of_several_master_keys_without_a_check_is_refused_whichever_key_comes_first(
    database_url: str, keys: EncryptionKeys, set_master_key: SetMasterKey
) -> None:
    for name, user_id in (("first", 1), ("other", 2), ("first", 3)):
        set_master_key(name)
        await keys.connection.execute(INSERT_KEY, user_id, wrap_key(generate_key()))

    for name, count in (("first", 2), ("other", 1)):
        set_master_key(name)
        for process, role in (("handler", WRITER), ("relay", READER)):
            with pytest.raises(MasterKeyDiffers, match=f"several master keys.* unwraps {count} of 3"):
                await fetch_installation(database_url, process, role)

    assert await keys.connection.fetchval("select count(*) from master_key_check") == 0


async def test_key_that_cannot_be_unwrapped_does_not_refuse_the_master_key_of_the_log(
    keys: EncryptionKeys, set_master_key: SetMasterKey
) -> None:
    set_master_key("other")
    await insert_key(keys, 2)
    await keys.connection.execute(CHECK_OF_EARLIER_VERSION)
    await keys.connection.execute("alter table master_key_check enable always trigger append_only")
    set_master_key("first")
    await keys.connection.execute("insert into master_key_check (value) values ($1)", wrap_known_key())
    await insert_key(keys, 1)

    with pytest.raises(SettingsError, match="a key of the log") as caught:
        await keys.of_persons([Person(1, 1001, 2)])

    assert not isinstance(caught.value, MasterKeyDiffers), "its partition alone is to stop"
    assert await keys.of_persons([Person(1, 1001, 1)])


async def test_log_without_a_master_key_takes_one_later(keys: EncryptionKeys, set_master_key: SetMasterKey) -> None:
    await insert_key(keys, 1)
    set_master_key("first")
    await insert_key(keys, 2)
    set_master_key(None)

    with pytest.raises(SettingsError, match="set ENCRYPTION_KEY_FILE"):
        await insert_key(keys, 3)

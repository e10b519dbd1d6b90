"""Keys are wrapped by one master key: who has another one, or none, is refused before a key is stored."""

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from services.config.base import SettingsError
from services.eventlog import encryption
from services.eventlog.encryption import generate_key
from services.eventlog.encryption_keys import EncryptionKeys, Person, new_encryption_key
from services.eventlog.installation import fetch_installation
from services.eventlog.postgres import READER, WRITER

SetMasterKey = Callable[[str | None], None]
KEYS = "select count(*) from encryption_key"
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


async def test_master_key_of_the_first_handler_that_starts_is_the_logs(
    database_url: str, keys: EncryptionKeys, set_master_key: SetMasterKey
) -> None:
    set_master_key("first")
    await fetch_installation(database_url, "handler", WRITER)
    set_master_key(None)

    with pytest.raises(SettingsError, match="set ENCRYPTION_KEY_FILE"):
        await insert_key(keys, 1)

    assert await keys.connection.fetchval(KEYS) == 0


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


async def test_log_without_a_master_key_takes_one_later(keys: EncryptionKeys, set_master_key: SetMasterKey) -> None:
    await insert_key(keys, 1)
    set_master_key("first")
    await insert_key(keys, 2)
    set_master_key(None)

    with pytest.raises(SettingsError, match="set ENCRYPTION_KEY_FILE"):
        await insert_key(keys, 3)

"""Values are encrypted with a key, and keys are wrapped with the master key if there is one."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.config.base import SettingsError
from services.eventlog import encryption
from services.eventlog.encryption import (
    MasterKeyDiffers,
    UndecryptableData,
    compare_master_key,
    decrypt,
    encrypt,
    generate_key,
    unwrap_key,
    wrap_key,
)


@pytest.fixture(autouse=True)
def _forget_master_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ENCRYPTION_KEY_FILE", raising=False)
    encryption._load_master_key.cache_clear()
    yield
    encryption._load_master_key.cache_clear()


def set_master_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(base64.b64encode(generate_key()) + b"\n")
    monkeypatch.setenv("ENCRYPTION_KEY_FILE", str(path))
    encryption._load_master_key.cache_clear()


def test_value_is_decrypted_by_its_key_alone() -> None:
    key = generate_key()
    sealed = encrypt(key, b"secret")
    assert decrypt(key, sealed) == b"secret"
    assert encrypt(key, b"secret") != sealed
    for other_key, value in ((generate_key(), sealed), (key, sealed[:-1] + bytes([sealed[-1] ^ 1])), (key, b"short")):
        with pytest.raises(UndecryptableData):
            decrypt(other_key, value)


def test_key_is_stored_unwrapped_without_a_master_key() -> None:
    key = generate_key()
    assert unwrap_key(wrap_key(key)) == wrap_key(key) == key


def test_key_is_wrapped_by_the_master_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_key, key = generate_key(), generate_key()
    set_master_key(tmp_path / "master", monkeypatch)
    stored = wrap_key(key)
    assert (unwrap_key(stored), len(stored), key in stored) == (key, 40, False)
    assert unwrap_key(plain_key) == plain_key

    set_master_key(tmp_path / "other", monkeypatch)
    with pytest.raises(SettingsError, match="does not hold the master key"):
        unwrap_key(stored)
    monkeypatch.delenv("ENCRYPTION_KEY_FILE")
    encryption._load_master_key.cache_clear()
    with pytest.raises(SettingsError, match="set ENCRYPTION_KEY_FILE"):
        unwrap_key(stored)


def test_master_key_of_the_log_unwraps_all_keys_that_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_master_key([])
    set_master_key(tmp_path / "other", monkeypatch)
    foreign = wrap_key(generate_key())
    set_master_key(tmp_path / "master", monkeypatch)
    own = wrap_key(generate_key())

    compare_master_key([own, own])
    with pytest.raises(MasterKeyDiffers, match="several master keys.* unwraps 2 of 3"):
        compare_master_key([own, foreign, own])
    with pytest.raises(MasterKeyDiffers, match="does not hold the master key"):
        compare_master_key([foreign])
    with pytest.raises(SettingsError) as caught:
        unwrap_key(foreign)
    assert not isinstance(caught.value, MasterKeyDiffers), "a single key does not refuse the master key"


@pytest.mark.parametrize("content", [b"", b"short", b"!" * 44])
def test_unusable_master_key_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_master_key(tmp_path / "master", monkeypatch)
    (tmp_path / "master").write_bytes(content)
    with pytest.raises(SettingsError, match="openssl rand -base64 32"):
        wrap_key(generate_key())

"""Values are encrypted with a key, and keys are wrapped with the master key if there is one."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.config.base import SettingsError
from services.eventlog import encryption
from services.eventlog.encryption import UndecryptableData, decrypt, encrypt, generate_key, unwrap_key, wrap_key


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


@pytest.mark.parametrize("content", [b"", b"short", b"!" * 44])
def test_unusable_master_key_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_master_key(tmp_path / "master", monkeypatch)
    (tmp_path / "master").write_bytes(content)
    with pytest.raises(SettingsError, match="openssl rand -base64 32"):
        wrap_key(generate_key())

"""Encrypts and decrypts personal data: AES-256-GCM, with keys that a master key wraps (RFC 3394) if there is one.

No other module uses a cipher. A sealed value is a nonce of 12 bytes, the ciphertext and a tag of 16 bytes.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from services.config.base import SettingsError
from services.config.database import EncryptionSettings

KEY_BYTES = 32
NONCE_BYTES = 12
WRAPPED_KEY_BYTES = KEY_BYTES + 8
HASH_BYTES = 16
_ASSOCIATED_DATA = b"moderated-grading personal data 1"


class MasterKeyDiffers(SettingsError):
    """This process's master key is not the log's, or it has none."""


class UndecryptableData(Exception):
    """A stored value does not belong to its key: the log was changed outside of the service, or restored in part."""


def generate_key() -> bytes:
    """Generate a key."""
    return secrets.token_bytes(KEY_BYTES)


def encrypt(key: bytes, plaintext: bytes) -> bytes:
    """Encrypt a value."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, _ASSOCIATED_DATA)


def decrypt(key: bytes, sealed: bytes) -> bytes:
    """Decrypt a value. Raises UndecryptableData."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _ASSOCIATED_DATA)
    except (InvalidTag, ValueError):
        raise UndecryptableData(
            "an encrypted value of the log does not belong to its key; nothing was changed: compare the database with"
            " a backup"
        ) from None


def keyed_hash(key: bytes, value: bytes) -> bytes:
    """Return the HMAC-SHA-256 of a value, truncated to ``HASH_BYTES``."""
    return hmac.digest(key, value, hashlib.sha256)[:HASH_BYTES]


def wrap_key(key: bytes) -> bytes:
    """Return a key as it is stored: wrapped by the master key, or unchanged without one."""
    master_key = _load_master_key()
    return key if master_key is None else aes_key_wrap(master_key, key)


def wrap_known_key() -> bytes | None:
    """Return a known key as the master key wraps it, to compare master keys; None without one."""
    return None if _load_master_key() is None else wrap_key(bytes(KEY_BYTES))


def unwrap_key(stored: bytes) -> bytes:
    """Undo ``wrap_key``; a key that was stored before there was a master key is returned unchanged.

    Raises:
        SettingsError: the key is wrapped, and ENCRYPTION_KEY_FILE is not set or holds another master key.
    """
    if len(stored) != WRAPPED_KEY_BYTES:
        return stored
    master_key = _load_master_key()
    if master_key is None:
        raise SettingsError("the log's keys are wrapped: set ENCRYPTION_KEY_FILE to the file of the master key")
    try:
        return aes_key_unwrap(master_key, stored)
    except InvalidUnwrap:
        raise SettingsError(
            "ENCRYPTION_KEY_FILE does not hold the master key that a key of the log is wrapped by; what that key"
            " encrypts cannot be read or changed"
        ) from None


def compare_master_key(wrapped_keys: Sequence[bytes]) -> None:
    """Check that the master key of this process unwraps all of these keys of the log.

    Raises:
        MasterKeyDiffers: it does not, or only some of them; or there is none.
    """
    if wrapped_keys and _load_master_key() is None:
        raise MasterKeyDiffers("the log's keys are wrapped: set ENCRYPTION_KEY_FILE to the file of the master key")
    count = sum(map(_is_unwrapped, wrapped_keys))
    if wrapped_keys and not count:
        raise MasterKeyDiffers(
            "ENCRYPTION_KEY_FILE does not hold the master key that the log's keys are wrapped by: set it to that file"
        )
    if count < len(wrapped_keys):
        raise MasterKeyDiffers(
            f"the log's keys are wrapped by several master keys; that of ENCRYPTION_KEY_FILE unwraps {count} of"
            f" {len(wrapped_keys)} that were compared. Nothing was changed: see the table of losses in"
            " deploy/docs/running.md"
        )


def _is_unwrapped(stored: bytes) -> bool:
    try:
        unwrap_key(stored)
    except SettingsError:
        return False
    return True


@cache
def _load_master_key() -> bytes | None:
    path = EncryptionSettings().encryption_key_file
    if path is None:
        return None
    try:
        master_key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, binascii.Error):
        master_key = b""
    if len(master_key) != KEY_BYTES:
        raise SettingsError(
            f"ENCRYPTION_KEY_FILE cannot be used: make the file with `openssl rand -base64 {KEY_BYTES}`, mode 0600"
        )
    return master_key

"""Seals and unseals the personal data of rows; no other module does.

A stored event's personal values are null; encrypted, they follow as its last key: ``"sealed": [[user id, key id,
base64], …]``. The request in an event's metadata is sealed in the same way, dead letters column by column. Readers of
the log get rows as they were before sealing, with null for erased data.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import orjson

from schemas.http_request import HttpRequest
from services.eventlog.encryption import decrypt, encrypt
from services.eventlog.encryption_keys import EncryptionKey, EncryptionKeys
from services.eventlog.personal_fields import ValuesByPerson, put_back

SealedPart = tuple[str, str, str]
SealedLetter = tuple[bytes | None, bytes | None, bytes | None]
"""Key, value and headers of a dead letter."""
NO_HEADERS = b"[]"
KEY_ID_BYTES = 8
SEALED_BYTES_MORE = 36
"""The bytes of a dead letter's sealed column besides the content: key id, nonce and tag."""
_SEALED = ',"sealed":'
# No stored JSON ends like this unless it is sealed: the last value of events and their metadata is an object.
_SEALED_END = '"]]}'
ERASED_REQUEST = orjson.dumps(dict.fromkeys(HttpRequest.model_fields)).decode()


class _EventRow(Protocol):
    @property
    def type(self) -> str: ...

    @property
    def data(self) -> str: ...

    @property
    def metadata(self) -> str: ...


Row = TypeVar("Row", bound=_EventRow)


class UpdatedUsers(NamedTuple):
    """A users_updated event; ``metadata`` is not read."""

    position: int
    data: str
    type: str = "users_updated"
    metadata: str = ""


def encode_values(values_by_person: ValuesByPerson) -> dict[int, bytes]:
    """Encode the values to seal, by person."""
    return {person: orjson.dumps(values) for person, values in values_by_person.items()}


def seal_parts(parts: Sequence[tuple[int, EncryptionKey, bytes]]) -> str:
    """Encrypt parts (user id, key, plaintext) into the last key of the JSON object that they were taken out of."""
    sealed = [
        (str(person), str(key.id), base64.b64encode(encrypt(key.key, plaintext)).decode())
        for person, key, plaintext in parts
    ]
    return f"{_SEALED}{orjson.dumps(sealed).decode()}"


def seal_bytes(key: EncryptionKey, value: bytes | None) -> bytes | None:
    """Seal a column of a dead letter: the key's id, then the ciphertext; None stays None."""
    return None if value is None else key.id.to_bytes(KEY_ID_BYTES) + encrypt(key.key, value)


async def unseal_events(keys: EncryptionKeys, rows: Sequence[Row]) -> list[Row]:
    """Return rows with the personal data of ``data`` and ``metadata`` decrypted, as far as its keys exist."""
    unsealed = list(rows)
    sealed_rows = [
        (index, row)
        for index, row in enumerate(rows)
        if row.data.endswith(_SEALED_END) or row.metadata.endswith(_SEALED_END)
    ]
    # The ten thousand events of a publication share one sealed request.
    parts_by_tail: dict[str, list[SealedPart]] = {}
    for _, row in sealed_rows:
        for text in (row.data, row.metadata):
            if text.endswith(_SEALED_END):
                tail = text.rpartition(_SEALED)[2]
                if tail not in parts_by_tail:
                    parts_by_tail[tail] = orjson.loads(tail[:-1])
    ids = {int(key_id) for parts in parts_by_tail.values() for _, key_id, _ in parts}
    keys_by_id = await keys.by_id(ids) if ids else {}
    values_by_tail = {tail: _decrypt_parts(parts, keys_by_id) for tail, parts in parts_by_tail.items()}
    requests = {tail: _format_request(values) for tail, values in values_by_tail.items()}
    for index, row in sealed_rows:
        changes = {}
        if row.data.endswith(_SEALED_END):
            head, _, tail = row.data.rpartition(_SEALED)
            changes["data"] = _put_back(row.type, f"{head}}}", values_by_tail[tail])
        if row.metadata.endswith(_SEALED_END):
            head, _, tail = row.metadata.rpartition(_SEALED)
            changes["metadata"] = f'{head},"request":{requests[tail]}}}'
        unsealed[index] = row._replace(**changes)  # type: ignore[attr-defined]  # Rows are named tuples.
    return unsealed


async def unseal_letters(keys: EncryptionKeys, letters: Sequence[SealedLetter]) -> list[SealedLetter]:
    """Return key, value and headers of dead letters; None if the key of their day is deleted."""
    ids = {int.from_bytes(value[:KEY_ID_BYTES]) for letter in letters for value in letter if value is not None}
    keys_by_id = await keys.by_id(ids) if ids else {}
    return [
        (_unseal_one(key, keys_by_id), _unseal_one(value, keys_by_id), _unseal_one(headers, keys_by_id))
        for key, value, headers in letters
    ]


def _unseal_one(value: bytes | None, keys_by_id: Mapping[int, bytes]) -> bytes | None:
    key = None if value is None else keys_by_id.get(int.from_bytes(value[:KEY_ID_BYTES]))
    return None if key is None or value is None else decrypt(key, value[KEY_ID_BYTES:])


def _decrypt_parts(parts: Sequence[SealedPart], keys_by_id: Mapping[int, bytes]) -> ValuesByPerson:
    values_by_person: ValuesByPerson = {}
    for person, key_id, sealed in parts:
        key = keys_by_id.get(int(key_id))
        if key is not None:
            values_by_person[int(person)] = orjson.loads(decrypt(key, base64.b64decode(sealed)))
    return values_by_person


def _format_request(values_by_person: ValuesByPerson) -> str:
    for values in values_by_person.values():
        return orjson.dumps(values[0]).decode()
    return ERASED_REQUEST


def _put_back(event_name: str, text: str, values_by_person: ValuesByPerson) -> str:
    data = orjson.loads(text)
    student_id = None if data["student_id"] is None else int(data["student_id"])
    put_back(event_name, data["payload"], student_id, values_by_person)
    return orjson.dumps(data).decode()

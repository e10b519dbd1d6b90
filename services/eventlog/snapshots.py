"""Snapshots: states of large assignments, so that a handler need not read all their events. All SQL on them is here.

A snapshot is made of a state that was just folded from all its events, by the connection that read them. It is used
only undamaged, only by the code that made it, and only while the log has its last event; otherwise all events are read.
Personal texts are encrypted with the keys that encrypt them in events, so that an erasure reaches them.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import msgspec
import orjson

from services.eventlog.encryption import UndecryptableData, decrypt, encrypt
from services.eventlog.encryption_keys import EncryptionKey, EncryptionKeys, Person
from services.eventlog.snapshot_code import form_id
from services.eventlog.snapshot_form import Texts, decode_state, encode_state, put_texts, take_texts
from services.moderation.assignment import Assignment

LOGGER = logging.getLogger(__name__)
_EVENT_HASH = "sha256(convert_to(concat_ws(' ', e.position, e.type, e.data, e.metadata), 'UTF8'))"
# $1 stream, $2 form, $3 the lowest version.
READ = f"""
select s.version, s.state, s.texts, s.large_event_bytes, s.checksum
from snapshot s join event e on e.stream = s.stream and e.version = s.version
where s.stream = $1 and s.form = $2 and s.version >= $3 and s.last_event = {_EVENT_HASH}
"""
# $1 stream, $2 version, $3 form, $4 state, $5 texts, $6 root account, $7 course, $8 position, $9 large event bytes,
# $10 checksum. A person who was erased since may have a new key: it must not encrypt the texts that were erased.
WRITE = f"""
insert into snapshot (stream, version, form, last_event, state, texts, large_event_bytes, checksum)
select e.stream, e.version, $3, {_EVENT_HASH}, $4, $5, $9, $10
from event e
where e.stream = $1 and e.version = $2
  and not exists (select from stream c join event p on p.stream = c.number and p.type = 'person_erased'
                  where c.root_account = $6 and c.course = $7 and c.assignment is null and p.position > $8)
on conflict (stream) do update
set version = excluded.version, form = excluded.form, last_event = excluded.last_event, state = excluded.state,
    texts = excluded.texts, large_event_bytes = excluded.large_event_bytes, checksum = excluded.checksum,
    made_at = excluded.made_at
"""
# What decoding raises if a state is of another form than this code writes.
_DECODING_ERRORS = (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError)


class SnapshotDamaged(Exception):
    """A snapshot of this code is not what was written; the message names what differs."""


class _SealedTexts(msgspec.Struct, array_like=True):
    """``ciphertext``: the student's texts as JSON, encrypted with the key."""

    student_id: int
    key_id: int
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state, encoded before anything else is applied to it.

    ``position``: the head of its shard, read before the state's events: they contain no text erased up to it.
    """

    stream: int
    root_account: int
    course: int
    version: int
    position: int
    state: bytes
    texts: Mapping[int, Texts]
    large_event_bytes: int


@dataclass(frozen=True, slots=True)
class RestoredState:
    """A state that was read from a snapshot. ``large_event_bytes``: the memory of its large events' texts."""

    assignment: Assignment
    large_event_bytes: int


def make_snapshot(assignment: Assignment, position: int, large_event_bytes: int) -> Snapshot:
    """Encode a state that was just folded; ``position``: the head of its shard, read before the state's events."""
    return Snapshot(
        assignment.stream_number,
        assignment.root_account_id,
        assignment.course_id,
        assignment.version,
        position,
        encode_state(assignment),
        take_texts(assignment),
        large_event_bytes,
    )


async def find_snapshot(
    connection: "asyncpg.Connection[asyncpg.Record]", encryption_keys: EncryptionKeys, stream: int, version_min: int
) -> RestoredState | None:
    """Return the state of an assignment's snapshot, None if there is none that can be used.

    A snapshot that is damaged, or that PostgreSQL refuses to read, is logged: the log alone has to be readable.

    Raises:
        InterfaceError, OSError: PostgreSQL is away.
        SettingsError: the keys of its texts cannot be unwrapped.
    """
    try:
        return await read_snapshot(connection, encryption_keys, stream, version_min)
    except (SnapshotDamaged, asyncpg.PostgresError) as error:
        LOGGER.warning(
            "the snapshot of stream %d is not used, all events are read: %s. See admin verify-snapshots", stream,
            error if isinstance(error, SnapshotDamaged) else type(error).__name__,
        )  # fmt: skip
        return None


async def read_snapshot(
    connection: "asyncpg.Connection[asyncpg.Record]", encryption_keys: EncryptionKeys, stream: int, version_min: int = 0
) -> RestoredState | None:
    """Return the state of an assignment's snapshot; None if there is none of this code and this log.

    Raises:
        SnapshotDamaged: the snapshot is not what was written.
        POSTGRES_ERRORS, SettingsError: it cannot be read.
    """
    row = await connection.fetchrow(READ, stream, form_id(), version_min)
    if row is None:
        return None
    version, state, texts, large_event_bytes, checksum = row
    if checksum != _checksum(stream, version, state, texts, large_event_bytes):
        raise SnapshotDamaged("its checksum differs")
    sealed_texts = _decode_texts(texts)
    keys = await encryption_keys.by_id({sealed.key_id for sealed in sealed_texts}) if sealed_texts else {}
    try:
        # In a thread, because a large state takes a while in which heartbeats are due.
        assignment = await asyncio.to_thread(_restore, state, sealed_texts, keys)
    except UndecryptableData:
        raise SnapshotDamaged("a text does not belong to its key") from None
    except _DECODING_ERRORS as error:
        raise SnapshotDamaged(f"it cannot be decoded ({type(error).__name__})") from error
    if (assignment.stream_number, assignment.version) != (stream, version):
        raise SnapshotDamaged("its state is that of another stream or version")
    return RestoredState(assignment, large_event_bytes)


async def write_snapshot(
    connection: "asyncpg.Connection[asyncpg.Record]", encryption_keys: EncryptionKeys, snapshot: Snapshot
) -> None:
    """Replace an assignment's snapshot, unless a person of its course was erased since the state was read.

    ``connection``: the one that read the state, which a failover ends. Raises POSTGRES_ERRORS or SettingsError.
    """
    keys = await encryption_keys.of_persons(
        {Person(snapshot.root_account, snapshot.course, student) for student in snapshot.texts}
    )
    texts = await asyncio.to_thread(_seal, snapshot.texts, keys)
    await connection.execute(
        WRITE,
        snapshot.stream,
        snapshot.version,
        form_id(),
        snapshot.state,
        texts,
        snapshot.root_account,
        snapshot.course,
        snapshot.position,
        snapshot.large_event_bytes,
        _checksum(snapshot.stream, snapshot.version, snapshot.state, texts, snapshot.large_event_bytes),
    )


def _checksum(stream: int, version: int, state: bytes, texts: bytes, large_event_bytes: int) -> bytes:
    lengths = f"{stream} {version} {large_event_bytes} {len(state)} {len(texts)} ".encode()
    return hashlib.sha256(b"".join((lengths, form_id(), state, texts))).digest()


def _seal(texts: Mapping[int, Texts], keys: Mapping[Person, EncryptionKey]) -> bytes:
    return msgspec.msgpack.encode(
        [
            _SealedTexts(person.user_id, key.id, encrypt(key.key, orjson.dumps(texts[person.user_id])))
            for person, key in keys.items()
        ]
    )


def _restore(state: bytes, sealed_texts: Sequence[_SealedTexts], keys: Mapping[int, bytes]) -> Assignment:
    assignment = decode_state(state)
    for sealed in sealed_texts:
        if sealed.key_id in keys:
            put_texts(assignment, sealed.student_id, orjson.loads(decrypt(keys[sealed.key_id], sealed.ciphertext)))
    return assignment


_decode_texts = msgspec.msgpack.Decoder(list[_SealedTexts]).decode

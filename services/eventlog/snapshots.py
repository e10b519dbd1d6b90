"""Snapshots: states of large assignments, so that a handler need not read all their events. All SQL on them is here.

A snapshot is made of a state that was just folded from the log, by the connection that read it, and it is used only by
the code that made it and only while the log still has its last event. Without one, or if it cannot be used, all events
are read. Personal texts are encrypted with the keys that encrypt them in events, so that an erasure reaches them.
"""

import functools
import hashlib
import importlib.resources
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable

import asyncpg
import msgspec
import orjson

from services.eventlog.encryption import decrypt, encrypt
from services.eventlog.encryption_keys import EncryptionKeys, Person
from services.eventlog.snapshot_form import Texts, decode_state, encode_state, put_texts, take_texts
from services.moderation.assignment import Assignment

_EVENT_HASH = "sha256(convert_to(concat_ws(' ', e.position, e.type, e.data, e.metadata), 'UTF8'))"
# $1 stream, $2 form.
READ = f"""
select s.state, s.texts
from snapshot s join event e on e.stream = s.stream and e.version = s.version
where s.stream = $1 and s.form = $2 and s.last_event = {_EVENT_HASH}
"""
# $1 stream, $2 version, $3 form, $4 state, $5 texts, $6 root account, $7 course, $8 position. A person who was erased
# since may have a new key: it must not encrypt the texts that were erased.
WRITE = f"""
insert into snapshot (stream, version, form, last_event, state, texts)
select e.stream, e.version, $3, {_EVENT_HASH}, $4, $5
from event e
where e.stream = $1 and e.version = $2
  and not exists (select from stream c join event p on p.stream = c.number and p.type = 'person_erased'
                  where c.root_account = $6 and c.course = $7 and c.assignment is null and p.position > $8)
on conflict (stream) do update
set version = excluded.version, form = excluded.form, last_event = excluded.last_event, state = excluded.state,
    texts = excluded.texts, made_at = excluded.made_at
"""
CODE = ("services.moderation", "services.eventlog", "schemas")
"""The packages whose code makes states of rows."""


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


@dataclass(frozen=True, slots=True)
class RestoredState:
    """A state that was read from a snapshot, and the characters of each student's personal texts, as JSON."""

    assignment: Assignment
    text_sizes: list[int]


def make_snapshot(assignment: Assignment, position: int) -> Snapshot:
    """Encode a state; ``position``: the head of its shard, read before the state's events."""
    return Snapshot(
        assignment.stream_number,
        assignment.root_account_id,
        assignment.course_id,
        assignment.version,
        position,
        encode_state(assignment),
        take_texts(assignment),
    )


async def read_snapshot(
    connection: "asyncpg.Connection[asyncpg.Record]", encryption_keys: EncryptionKeys, stream: int
) -> RestoredState | None:
    """Return the state of an assignment's snapshot, None if there is none that can be used.

    Raises:
        POSTGRES_ERRORS, SettingsError: it cannot be read.
        UndecryptableData: a text does not belong to its key.
    """
    row = await connection.fetchrow(READ, stream, form_id())
    if row is None:
        return None
    try:
        assignment, sealed_texts = decode_state(row[0]), _decode_texts(row[1])
    except msgspec.MsgspecError:
        return None
    keys = await encryption_keys.by_id({sealed.key_id for sealed in sealed_texts}) if sealed_texts else {}
    text_sizes = []
    for sealed in sealed_texts:
        if sealed.key_id in keys:
            texts = decrypt(keys[sealed.key_id], sealed.ciphertext)
            put_texts(assignment, sealed.student_id, orjson.loads(texts))
            text_sizes.append(len(texts))
    return RestoredState(assignment, text_sizes)


async def write_snapshot(
    connection: "asyncpg.Connection[asyncpg.Record]", encryption_keys: EncryptionKeys, snapshot: Snapshot
) -> None:
    """Replace an assignment's snapshot, unless a person of its course was erased since the state was read.

    ``connection``: the one that read the state, which a failover ends. Raises POSTGRES_ERRORS or SettingsError.
    """
    keys = await encryption_keys.of_persons(
        {Person(snapshot.root_account, snapshot.course, student) for student in snapshot.texts}
    )
    sealed_texts = [
        _SealedTexts(person.user_id, key.id, encrypt(key.key, orjson.dumps(snapshot.texts[person.user_id])))
        for person, key in keys.items()
    ]
    await connection.execute(
        WRITE,
        snapshot.stream,
        snapshot.version,
        form_id(),
        snapshot.state,
        msgspec.msgpack.encode(sealed_texts),
        snapshot.root_account,
        snapshot.course,
        snapshot.position,
    )


@functools.cache
def form_id() -> bytes:
    """Return a hash of the code that makes states: any change of it makes older snapshots unusable."""
    digest = hashlib.sha256(msgspec.__version__.encode())
    for package in CODE:
        sources = list(_list_sources(importlib.resources.files(package)))
        if not sources:
            # Installed without sources: nothing tells this code from another, so each process reads only its own.
            return secrets.token_bytes(digest.digest_size)
        for source in sources:
            content = source.read_bytes()
            digest.update(b"%s %d " % (source.name.encode(), len(content)) + content)
    return digest.digest()


def _list_sources(folder: Traversable) -> Iterator[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _list_sources(entry)
        elif entry.name.endswith(".py"):
            yield entry


_decode_texts = msgspec.msgpack.Decoder(list[_SealedTexts]).decode

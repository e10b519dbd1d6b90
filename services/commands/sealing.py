"""Encrypts the personal data of a batch just before the append, with one read of keys.

A batch may erase a person between two events about them: the earlier data is encrypted with a key that is discarded,
the later data with a new one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from services.commands.incoming_command import CommandKey, IncomingCommand, ReadableCommand
from services.commands.parse import InvalidCommand
from services.eventlog.append_batch import AppendBatch
from services.eventlog.encryption import HASH_BYTES, keyed_hash
from services.eventlog.encryption_keys import EncryptionKey, EncryptionKeys, Person, new_encryption_key
from services.eventlog.first_verdicts import FirstVerdict
from services.eventlog.personal_data import seal_bytes, seal_parts
from services.moderation import commands
from services.moderation.commands import Command

_NO_PERSONS: frozenset[int] = frozenset()
_FIRST_DAY = date(2020, 1, 1)
_DAY_BYTES = 2
_NOT_COMPARED = b""
"""The content hash of a verdict that does not settle its command id: it is never compared."""


@dataclass(frozen=True, slots=True)
class _Holder:
    """A person between two erasures in a batch; ``erasures``: how many came before."""

    person: Person
    erasures: int


@dataclass(frozen=True, slots=True)
class _SealedText:
    """A text of the batch, and the parts that are appended to it encrypted."""

    row: int
    column: str
    parts: tuple[tuple[_Holder, bytes], ...]


def find_persons(command: Command) -> frozenset[int]:
    """Return the users whose personal data a command carries, by the declarations of ``schemas.personal``."""
    data = command.data
    # The most frequent commands first.
    match data:
        case commands.RecordProvisionalGrade():
            has_texts = data.comment is not None or data.rubric_assessment is not None
            return frozenset({data.student_id}) if has_texts else _NO_PERSONS
        case commands.SelectProvisionalGrade():
            return _NO_PERSONS
        case commands.UpsertUsers():
            return frozenset(user.user_id for user in data.users)
        case commands.RecordSubmissionComment() | commands.RecordProvisionalComment():
            return frozenset({data.student_id})
        case commands.RevisePublishedGrade() | commands.WithdrawPublishedGrade():
            return frozenset({data.student_id})
        case _:
            return _NO_PERSONS


def find_person_to_erase(command: ReadableCommand) -> Person | None:
    """Return the person that a command erases, None for every other command."""
    if isinstance(command, InvalidCommand) or not isinstance(command.data, commands.ErasePerson):
        return None
    return Person(command.root_account_id, command.course_id, command.data.user_id)


class BatchSealer:
    """Collects the personal data of one batch and adds it to the rows in the encrypted form that is stored."""

    def __init__(self, rows: AppendBatch, holders_of_data: Iterable[Person] = ()) -> None:
        """Create a sealer. ``holders_of_data``: persons whose personal data the log has, at least those to erase."""
        self._rows = rows
        self._erasures: Counter[Person] = Counter()
        self._known = {_Holder(person, 0) for person in holders_of_data}
        self._texts: list[_SealedText] = []
        self._hashes: list[tuple[int, list[_Holder], bytes]] = []
        self._day_hashes: list[tuple[int, bytes]] = []

    def has_personal_data(self, person: Person) -> bool:
        """Return whether the log, or this batch so far, has readable personal data of a person to erase."""
        return self._holder(person) in self._known

    def erase(self, person: Person) -> None:
        """Erase the personal data of a person in the log and in this batch so far."""
        self._erasures[person] += 1
        self._rows.erased_persons.append(person)

    def add_event(self, row: int, column: str, root_account: int, course: int, parts: Mapping[int, bytes]) -> None:
        """Append encrypted parts, by user id, to a text (``data`` or ``metadata``) of the event in a row."""
        held_parts = tuple((self._hold(Person(root_account, course, user)), part) for user, part in parts.items())
        self._texts.append(_SealedText(row, column, held_parts))

    def add_verdict(self, row: int, incoming: IncomingCommand, is_first: bool) -> None:
        """Make the content hash of the verdict in a row a keyed one if the content is, or may be, personal."""
        command = incoming.command
        if not is_first:
            self._rows.set_content_hash(row, _NOT_COMPARED)
        elif isinstance(command, InvalidCommand):
            self._day_hashes.append((row, incoming.content_hash))
        elif user_ids := find_persons(command):
            persons = (Person(command.root_account_id, command.course_id, user) for user in sorted(user_ids))
            self._hashes.append((row, [self._hold(person) for person in persons], incoming.content_hash))

    def _hold(self, person: Person) -> _Holder:
        holder = self._holder(person)
        self._known.add(holder)
        return holder

    def _holder(self, person: Person) -> _Holder:
        return _Holder(person, self._erasures[person])

    async def seal(self, encryption_keys: EncryptionKeys) -> None:
        """Encrypt everything in the rows, and add the new keys to them. Raises POSTGRES_ERRORS."""
        keys = await self._load_keys(encryption_keys)
        # The events of a publication share one request.
        sealed_by_parts: dict[tuple[tuple[_Holder, bytes], ...], str] = {}
        for text in self._texts:
            sealed = sealed_by_parts.get(text.parts)
            if sealed is None:
                parts = [(holder.person.user_id, keys[holder], part) for holder, part in text.parts]
                sealed = sealed_by_parts[text.parts] = seal_parts(parts)
            self._rows.extend_event(text.row, text.column, sealed)
        for row, holders, content_hash in self._hashes:
            self._rows.set_content_hash(row, _hash_for_persons([keys[holder] for holder in holders], content_hash))
        if self._day_hashes or self._rows.dead_letters:
            day = self._rows.decided_at.date()
            day_key = await self._load_day_key(encryption_keys, day)
            for row, content_hash in self._day_hashes:
                self._rows.set_content_hash(row, _hash_for_day(day_key, day, content_hash))
            self._rows.dead_letters = [
                letter._replace(
                    key=seal_bytes(day_key, letter.key),
                    value=seal_bytes(day_key, letter.value),
                    headers=seal_bytes(day_key, letter.headers) or b"",
                )
                for letter in self._rows.dead_letters
            ]

    async def _load_keys(self, encryption_keys: EncryptionKeys) -> dict[_Holder, EncryptionKey]:
        holders = {holder for text in self._texts for holder, _ in text.parts}
        holders |= {holder for _, hashed_holders, _ in self._hashes for holder in hashed_holders}
        existing = await encryption_keys.of_persons({holder.person for holder in holders if holder.erasures == 0})
        keys: dict[_Holder, EncryptionKey] = {}
        for holder in holders:
            key = existing.get(holder.person) if holder.erasures == 0 else None
            if key is None:
                key = new_encryption_key()
                if holder.erasures == self._erasures[holder.person]:
                    self._rows.new_person_keys[holder.person] = key
            keys[holder] = key
        return keys

    async def _load_day_key(self, encryption_keys: EncryptionKeys, day: date) -> EncryptionKey:
        key = (await encryption_keys.of_days([day])).get(day)
        if key is None:
            key = self._rows.new_day_keys[day] = new_encryption_key()
        return key


def _hash_for_persons(keys: Sequence[EncryptionKey], content_hash: bytes) -> bytes:
    """Hash with the keys of all persons, ordered by id: once a key is deleted, it cannot be computed again."""
    return keyed_hash(hashlib.sha256(b"".join(key.key for key in keys)).digest(), content_hash)


def _hash_for_day(key: EncryptionKey, day: date, content_hash: bytes) -> bytes:
    """Hash with the key of a day; the hash begins with the day."""
    day_number = (day - _FIRST_DAY).days.to_bytes(_DAY_BYTES)
    return (day_number + keyed_hash(key.key, content_hash))[:HASH_BYTES]


async def recognize_repeated_commands(
    encryption_keys: EncryptionKeys,
    incoming_commands: Sequence[IncomingCommand],
    first_verdicts: dict[CommandKey, FirstVerdict],
) -> None:
    """Replace stored content hashes with the plain ones of the commands that they match.

    A stored hash whose key was deleted (of an invalid command: its day's) is kept: its command id then counts as used
    with other content.
    """
    repeated = [incoming for incoming in incoming_commands if incoming.command_key in first_verdicts]
    if not repeated:
        return
    persons_by_index = [_list_persons(incoming) for incoming in repeated]
    stored_hashes = [first_verdicts[incoming.command_key].content_hash for incoming in repeated]
    days = [_FIRST_DAY + timedelta(int.from_bytes(stored[:_DAY_BYTES])) for stored in stored_hashes]
    invalid = [isinstance(incoming.command, InvalidCommand) for incoming in repeated]
    keys = await encryption_keys.of_persons({person for persons in persons_by_index for person in persons})
    day_keys = await encryption_keys.of_days({day for day, is_invalid in zip(days, invalid, strict=True) if is_invalid})
    for incoming, persons, stored, day, is_invalid in zip(
        repeated, persons_by_index, stored_hashes, days, invalid, strict=True
    ):
        content_hash = None
        if is_invalid and day in day_keys:
            content_hash = _hash_for_day(day_keys[day], day, incoming.content_hash)
        elif persons and all(person in keys for person in persons):
            content_hash = _hash_for_persons([keys[person] for person in persons], incoming.content_hash)
        if content_hash == stored:
            known = first_verdicts[incoming.command_key]
            first_verdicts[incoming.command_key] = replace(known, content_hash=incoming.content_hash)


def _list_persons(incoming: IncomingCommand) -> list[Person]:
    command = incoming.command
    if isinstance(command, InvalidCommand):
        return []
    return [Person(command.root_account_id, command.course_id, user) for user in sorted(find_persons(command))]

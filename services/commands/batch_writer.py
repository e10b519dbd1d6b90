"""Step 6 of 6: append the events, verdicts and dead letters of a batch in one transaction."""

import logging
import time
from collections import Counter
from collections.abc import Collection

import asyncpg

from schemas.fields import format_time
from services.commands.batch_result import BatchResult, Outcome, get_outcome
from services.commands.command_state import CommandState
from services.commands.dead_letter_headers import encode_headers
from services.commands.incoming_command import IncomingCommand, IncomingDeadLetter, ReadableCommand
from services.commands.sealing import BatchSealer, find_person_to_erase
from services.commands.serialization import SerializedCommand, SerializedEvent
from services.commands.state_cache import StateCache
from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.encryption_keys import UNKNOWN_PERSON, Person
from services.eventlog.first_verdicts import FirstVerdict
from services.eventlog.store import EventStore
from services.moderation.decisions import Accepted

LOGGER = logging.getLogger(__name__)
STREAM_NUMBERS_CONSTRAINT = "stream_pkey"


class BatchWriter:
    """Collects the rows of a batch, applies its events to the cached states, and appends the rows.

    ``first_verdicts``: by command key, from the log and the batch so far. ``size``: characters of JSON and bytes of
    dead letters so far. ``persons_with_data``: those of the persons to erase whose personal data the log has;
    ``may_erase``: whether there are any to erase. ``is_complete``: everything that any command needs was read.
    ``has_taken_stream_numbers``: the append was refused, because the log has streams with numbers of new ones.
    """

    def __init__(
        self,
        rows: AppendBatch,
        first_verdicts: dict[tuple[str, int], FirstVerdict],
        state_cache: StateCache,
        persons_with_data: Collection[Person],
        may_erase: bool,
    ) -> None:
        self.decided_at = rows.decided_at
        self.decided_at_text = format_time(rows.decided_at)
        self.first_verdicts = first_verdicts
        self.is_complete = state_cache.is_complete and all(verdict.is_loaded for verdict in first_verdicts.values())
        self._may_erase = may_erase
        self._rows = rows
        self._state_cache = state_cache
        self._outcomes: Counter[Outcome] = Counter()
        self._append_seconds = 0.0
        self._other_keys = 0
        self._sealer = BatchSealer(rows, persons_with_data)
        self.size = 0
        self.has_taken_stream_numbers = False

    def is_loaded(self, incoming: IncomingCommand) -> bool:
        """Return whether everything that the command is decided on was read; if not, the batch ends before it."""
        first_verdict = self.first_verdicts.get(incoming.command_key)
        is_answered_by_body = first_verdict is not None and first_verdict.content_hash == incoming.content_hash
        if is_answered_by_body and first_verdict is not None and not first_verdict.is_loaded:
            return False
        return self._state_cache.is_loaded(incoming.command)

    def has_personal_data(self, command: ReadableCommand) -> bool:
        """Return whether the log, or the batch so far, has personal data of the person that a command erases."""
        person = find_person_to_erase(command) if self._may_erase else None
        return person is not None and self._sealer.has_personal_data(person)

    @property
    def event_count(self) -> int:
        """The number of events so far."""
        return len(self._rows.events)

    def add(self, incoming: IncomingCommand, serialized: SerializedCommand, state: CommandState) -> None:
        """Add a command's events and verdict; ``state``: what it was decided on; the events are applied to it."""
        person = find_person_to_erase(incoming.command) if self._may_erase else None
        if person is not None and isinstance(serialized.decision, Accepted):
            self._sealer.erase(person)
        if serialized.events:
            self._add_events(incoming, serialized.events, state)
        record = incoming.record
        command_id, root_account_id = incoming.command_key
        self._rows.add_verdict(
            incoming.shard,
            root_account_id,
            command_id,
            serialized.is_first,
            incoming.content_hash,
            RecordCoordinates(record.partition, record.offset, record.timestamp),
            serialized.verdict_key,
            serialized.verdict_body,
            serialized.verdict_metadata,
        )
        self._sealer.add_verdict(len(self._rows.verdicts) - 1, incoming, serialized.is_first)
        if serialized.is_first:
            self.first_verdicts[incoming.command_key] = FirstVerdict(incoming.content_hash, serialized.verdict_body)
        self._outcomes[get_outcome(incoming.command, serialized.decision)] += 1
        self._other_keys += incoming.has_other_key
        self.size += len(serialized.verdict_body)

    def _add_events(self, incoming: IncomingCommand, events: list[SerializedEvent], state: CommandState) -> None:
        stream, shard = state.stream, incoming.shard
        if state.version == 0:
            self._rows.add_stream(stream.number, stream.root_account, stream.course, stream.assignment, shard)
            self._state_cache.add(state)
        for version, serialized in enumerate(events, state.version + 1):
            event, data, metadata = serialized.event, serialized.data, serialized.metadata
            position = self._rows.add_event(
                shard, serialized.is_live, stream.number, version, event.name, data, metadata
            )
            self.size += serialized.size
            self._add_personal_data(serialized, state, incoming.command.actor_id)
            self._state_cache.apply(state, event, position, self.decided_at, serialized.large_event_bytes)

    def _add_personal_data(self, serialized: SerializedEvent, state: CommandState, actor_id: int | None) -> None:
        row, course = len(self._rows.events) - 1, state.course
        if serialized.personal_data:
            self._sealer.add_event(row, "data", course.root_account_id, course.course_id, serialized.personal_data)
        if serialized.request is not None:
            parts = {actor_id or UNKNOWN_PERSON: serialized.request}
            self._sealer.add_event(row, "metadata", course.root_account_id, course.course_id, parts)

    def add_dead_letter(self, dead_letter: IncomingDeadLetter) -> None:
        """Add an unchanged record, without its token."""
        record, headers = dead_letter.record, encode_headers(dead_letter.record)
        self.size += len(record.key or b"") + len(record.value or b"") + len(headers)
        self._rows.add_dead_letter(
            dead_letter.shard,
            RecordCoordinates(record.partition, record.offset, record.timestamp),
            record.key,
            record.value,
            headers,
            dead_letter.reason,
            dead_letter.message,
        )

    @property
    def new_stream_numbers(self) -> set[int]:
        """Return the numbers of the streams that begin with this batch."""
        return {stream.number for stream in self._rows.streams}

    async def append(self, event_store: EventStore) -> bool:
        """Append the rows, or nothing and return False if another writer has appended since the batch was loaded."""
        started_at = time.monotonic()
        await self._sealer.seal(event_store.encryption_keys)
        try:
            if not await event_store.append(self._rows):
                return False
        except asyncpg.UniqueViolationError as error:
            # A writer of another shard took a command id or an assignment id of this batch.
            LOGGER.info("an append was refused by %s and is decided again", error.constraint_name)
            # After a failover that lost commits, the sequence gives numbers again that were kept from before.
            self.has_taken_stream_numbers = error.constraint_name == STREAM_NUMBERS_CONSTRAINT
            return False
        self._append_seconds = time.monotonic() - started_at
        heads, new_counts = self._rows.heads, self._rows.new_counts
        self._state_cache.advance({shard: heads[shard].position + new.position for shard, new in new_counts.items()})
        return True

    def build_result(self, attempts: int) -> BatchResult:
        """Build the result of an appended batch."""
        dead_letters = Counter(dead_letter.reason for dead_letter in self._rows.dead_letters)
        return BatchResult(
            self._outcomes,
            dead_letters,
            self._append_seconds,
            attempts,
            [self.event_count],
            other_keys=self._other_keys,
        )

"""Traces one command: its record, its verdict, the resulting events, and their offsets on the topics."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

from aiokafka import TopicPartition
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from services.console.masking import mask
from services.console.web.dependencies import (
    ConsoleDependencies,
    Dependencies,
    Viewer,
    parse_id,
    parse_shard_and_number,
    record_page,
)
from services.console.web.templates import escape_invisible
from services.eventlog.command_history import CausedEvent, CommandHistory, CommandVerdict
from services.eventlog.stream_reader import VerdictArchived
from services.kafka.topic_reader import open_reader, read_until
from services.kafka.topics import full_topic_name
from services.publishing.offset_lookup import find_offsets
from services.runtime.errors import KAFKA_ERRORS, describe_error

router = APIRouter()
EVENTS_SHOWN_MAX = 200
VERDICT_ARCHIVED = (
    "This command was decided, and its verdict is archived. To see it, run: moderated-grading admin archive attach"
)
KAFKA_TIMEOUT_SECONDS = 5


@router.get("/commands/{root_account}/{command_id}")
async def redirect_to_verdict(
    request: Request, dependencies: ConsoleDependencies, user: Viewer, root_account: int, command_id: UUID
) -> Response:
    """Redirect to the page of the verdict that decided a command."""
    try:
        verdict_record = (
            await CommandHistory(dependencies.pool).first_verdict(root_account, str(command_id))
            if parse_id(root_account) is not None and user.sees(root_account)
            else None
        )
    except VerdictArchived:
        raise HTTPException(410, VERDICT_ARCHIVED) from None
    if verdict_record is None:
        raise HTTPException(404, "This command is unknown or not decided yet.")
    return RedirectResponse(f"/verdicts/{verdict_record.shard}-{verdict_record.number}", 303)


@router.get("/verdicts/{verdict_id}")
async def command_page(request: Request, dependencies: ConsoleDependencies, user: Viewer, verdict_id: str) -> Response:
    """Show a command's record, verdict and events, with their offsets on the topics."""
    command_history = CommandHistory(dependencies.pool)
    try:
        verdict_record = await command_history.verdict_at(*parse_shard_and_number(verdict_id))
    except VerdictArchived:
        raise HTTPException(410, VERDICT_ARCHIVED) from None
    if verdict_record is None:
        raise HTTPException(404)
    verdict_body = json.loads(verdict_record.body)
    root_account_id = verdict_body["root_account_id"]
    if not user.sees(None if root_account_id is None else int(root_account_id)):
        raise HTTPException(404)
    target = {
        "root_account": root_account_id,
        "assignment": verdict_body["assignment_id"],
        "command": verdict_body["command_id"],
    }
    await record_page(request, user, "command page", target)
    caused_events = (
        []
        if root_account_id is None or verdict_body["duplicate"]
        else await command_history.caused_events(int(root_account_id), verdict_record)
    )
    topic_offsets, problem = await _find_offsets(
        dependencies,
        verdict_record,
        caused_events[:EVENTS_SHOWN_MAX],
        datetime.fromisoformat(verdict_body["decided_at"]),
    )
    masked_record, missing_reason = await _load_masked_record(dependencies, verdict_record)
    return dependencies.templates.render_page(
        request,
        "command.html",
        decision=verdict_record,
        verdict=verdict_body,
        appended_at=datetime.fromtimestamp(verdict_record.append_time / 1_000, UTC),
        decided_at=datetime.fromisoformat(verdict_body["decided_at"]),
        effects=caused_events[:EVENTS_SHOWN_MAX],
        more_effects=max(len(caused_events) - EVENTS_SHOWN_MAX, 0),
        offsets=topic_offsets,
        prefix=dependencies.settings.topic_prefix,
        problem=problem,
        masked_record=masked_record,
        missing_reason=missing_reason,
    )


async def _find_offsets(
    dependencies: Dependencies, verdict_record: CommandVerdict, caused_events: list[CausedEvent], since: datetime
) -> tuple[dict[str, int | None], str | None]:
    """Find the offsets of the verdict, the first event and the first grade_change by topic; or the problem."""
    numbers_by_topic = {"verdicts": verdict_record.number}
    if caused_events:
        numbers_by_topic["events"] = caused_events[0].position
    live_number = next((effect.live_number for effect in caused_events if effect.live_number is not None), None)
    if live_number is not None:
        numbers_by_topic["live-events"] = live_number
    shard, prefix = verdict_record.shard, dependencies.settings.topic_prefix
    try:
        async with asyncio.timeout(KAFKA_TIMEOUT_SECONDS):
            sequence_numbers = {
                (full_topic_name(prefix, name), shard): number for name, number in numbers_by_topic.items()
            }
            offsets = await find_offsets(dependencies.settings.kafka_bootstrap, sequence_numbers, since)
    except KAFKA_ERRORS as error:
        return dict.fromkeys(numbers_by_topic), describe_error(error, "kafka")
    return {name: offsets[full_topic_name(prefix, name), shard] for name in numbers_by_topic}, None


async def _load_masked_record(
    dependencies: Dependencies, verdict_record: CommandVerdict
) -> tuple[str | None, str | None]:
    """Return the masked record of the command, or why it cannot be shown."""
    topic_partition = TopicPartition(verdict_record.topic, verdict_record.partition)
    try:
        async with (
            asyncio.timeout(KAFKA_TIMEOUT_SECONDS),
            open_reader(dependencies.settings.kafka_bootstrap, [topic_partition]) as consumer,
        ):
            if (await consumer.beginning_offsets([topic_partition]))[topic_partition] > verdict_record.offset:
                return None, "Retention has removed the record from the topic. Its verdict and events are kept."
            consumer.seek(topic_partition, verdict_record.offset)
            async for _, records in read_until(consumer, {topic_partition: verdict_record.offset + 1}):
                if (
                    records
                    and records[0].offset == verdict_record.offset
                    and records[0].timestamp == verdict_record.append_time
                ):
                    return escape_invisible(mask(records[0].value)), None
                break
    except KAFKA_ERRORS as error:
        return None, describe_error(error, "kafka")
    return None, "The topic was recreated: another record is at this offset now."

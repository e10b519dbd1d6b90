"""``verdict``: trace a command from its record to its events."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from schemas.fields import format_time, is_uuid
from services.console.cli.access_reason import AccessReasonOption, require_access_reason
from services.console.cli.options import JsonOption, RootAccountOption
from services.console.cli.output import add_row, build_table, print_fields, print_json, stdout_console
from services.console.cli.runner import Connection, with_connection
from services.eventlog.access_records import record_access
from services.eventlog.command_history import CausedEvent, CommandHistory, CommandVerdict
from services.eventlog.stream_reader import VerdictArchived
from services.runtime.command_line import ExitCode, NotFound, escape_unprintable

Json = dict[str, Any]
EVENTS_SHOWN_MAX = 10


def verdict(
    command_id: Annotated[str, typer.Argument(metavar="COMMAND_ID", help="The command's UUID.")],
    root_account: RootAccountOption = 1,
    reason: AccessReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a command's verdict, record and events. Exit code 1 if it was refused."""
    if not is_uuid(command_id):
        raise typer.BadParameter(
            f"{command_id} is not a command's id: it is a UUID such as 0193a6a1-7a5e-7c3e-8f00-3b1e6d9a4c11"
        )
    why = require_access_reason(reason)

    async def read_verdict(connection: Connection) -> tuple[CommandVerdict, list[CausedEvent]]:
        target = {"root_account": root_account, "command": command_id.lower()}
        await record_access(connection, "cli", "verdict", target, reason=why)
        command_history = CommandHistory(connection)
        try:
            verdict_record = await command_history.first_verdict(root_account, command_id.lower())
        except VerdictArchived as error:
            raise NotFound(f"{error}: run moderated-grading admin archive attach to make it readable") from None
        if verdict_record is None:
            raise NotFound(
                f"no verdict for {command_id} in root account {root_account}: the command is unknown or not decided"
                " yet. Check the id and --root-account; moderated-grading status shows whether commands wait,"
                " dead-letters list what could not be read"
            )
        return verdict_record, await command_history.caused_events(root_account, verdict_record)

    verdict_record, caused_events = with_connection(read_verdict, of_account=True)
    verdict_body = orjson.loads(verdict_record.body)
    if as_json:
        print_json(_verdict_json(verdict_record, caused_events, verdict_body))
    else:
        _print_verdict(stdout_console(), verdict_record, caused_events, verdict_body)
    if verdict_body["status"] != "accepted":
        raise typer.Exit(ExitCode.FINDING)


def _verdict_json(verdict_record: CommandVerdict, caused_events: list[CausedEvent], verdict_body: Json) -> Json:
    return {
        "verdict": verdict_body,
        "record": {
            "topic": verdict_record.topic,
            "partition": verdict_record.partition,
            "offset": verdict_record.offset,
            "appended_at": format_time(_appended_at(verdict_record)),
        },
        "shard": verdict_record.shard,
        "verdict_number": verdict_record.number,
        "events": [
            {
                "id": event.id,
                "event_type": event.type,
                "stream_version": event.version,
                "position": event.position,
                "live_number": event.live_number,
            }
            for event in caused_events
        ],
    }


def _print_verdict(
    console: Console, verdict_record: CommandVerdict, caused_events: list[CausedEvent], verdict_body: Json
) -> None:
    is_accepted = verdict_body["status"] == "accepted"
    console.print(
        Text(verdict_body["status"], style="bold green" if is_accepted else "bold red"), _format_type(verdict_body)
    )
    latency_seconds = (
        datetime.fromisoformat(verdict_body["decided_at"]) - _appended_at(verdict_record)
    ).total_seconds()
    fields = {
        "reason": verdict_body["reason"],
        "message": verdict_body["message"],
        "course": verdict_body["course_id"],
        "assignment": verdict_body["assignment_id"],
        "stream version": verdict_body["stream_version"],
        "decided": f"{verdict_body['decided_at']}, {max(latency_seconds, 0):.3f} s after the append",
        "record": f"{verdict_record.topic} partition {verdict_record.partition} offset {verdict_record.offset}",
        "verdict": f"shard {verdict_record.shard} sequence {verdict_record.number}",
        "correlation": verdict_body["correlation_id"],
    }
    print_fields(console, fields)
    for error in verdict_body["errors"]:
        console.print(
            Text(
                f"  {escape_unprintable(error['path'] or 'command')}: {escape_unprintable(error['message'])}",
                style="red",
            )
        )
    if caused_events:
        event_table = build_table(
            "event", "version", "events", "live-events", right=("version", "events", "live-events")
        )
        for event in caused_events[:EVENTS_SHOWN_MAX]:
            add_row(event_table, event.type, event.version, event.position, event.live_number)
        console.print(event_table)
        if len(caused_events) > EVENTS_SHOWN_MAX:
            console.print(f"{len(caused_events) - EVENTS_SHOWN_MAX} more events: see --json.")
        console.print(
            Text(
                f"events and live-events: ce_sequence in partition {verdict_record.shard}",
                style="dim",
            )
        )


def _format_type(verdict_body: Json) -> Text:
    return Text(escape_unprintable(verdict_body["type"] or "command of unreadable type"))


def _appended_at(verdict_record: CommandVerdict) -> datetime:
    return datetime.fromtimestamp(verdict_record.append_time / 1_000, UTC)

"""``verdict``: what became of a command, from its record to what is on the topics."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from schemas.fields import is_uuid
from services.console.cli.runner import (
    FINDING,
    AsJson,
    Connection,
    NotThere,
    RootAccount,
    of_log,
    out,
    plain,
    print_json,
    row,
    show_facts,
    table,
    time_text,
)
from services.eventlog.command_history import Causes, Decision, Effect

Json = dict[str, Any]
EVENTS_SHOWN = 10


def verdict(
    command_id: Annotated[str, typer.Argument(metavar="COMMAND_ID", help="The command's UUID.")],
    root_account: RootAccount = 1,
    as_json: AsJson = False,
) -> None:
    """What became of a command: its record, its verdict, its events. Exit code 1 where it was refused."""
    if not is_uuid(command_id):
        raise typer.BadParameter("COMMAND_ID is not a UUID such as 0193a6a1-7a5e-7c3e-8f00-3b1e6d9a4c11")

    async def look(connection: Connection) -> tuple[Decision, list[Effect]]:
        causes = Causes(connection)
        decision = await causes.decision(root_account, command_id.lower())
        if decision is None:
            raise NotThere(f"no verdict for {command_id} in root account {root_account}: unknown, or not decided yet")
        return decision, await causes.effects(root_account, decision)

    decision, effects = of_log(look)
    said = orjson.loads(decision.body)
    if as_json:
        print_json(_verdict_document(decision, effects, said))
    else:
        _show_verdict(out(), decision, effects, said)
    if said["status"] != "accepted":
        raise typer.Exit(FINDING)


def _verdict_document(decision: Decision, effects: list[Effect], said: Json) -> Json:
    return {
        "verdict": said,
        "record": {
            "topic": decision.topic,
            "partition": decision.partition,
            "offset": decision.offset,
            "appended_at": time_text(_appended_at(decision)),
        },
        "shard": decision.shard,
        "verdict_number": decision.number,
        "events": [
            {
                "id": effect.id,
                "event_type": effect.type,
                "stream_version": effect.version,
                "position": effect.position,
                "live_number": effect.live_number,
            }
            for effect in effects
        ],
    }


def _show_verdict(console: Console, decision: Decision, effects: list[Effect], said: Json) -> None:
    accepted = said["status"] == "accepted"
    console.print(Text(said["status"], style="bold green" if accepted else "bold red"), _kind(said))
    seconds = (datetime.fromisoformat(said["decided_at"]) - _appended_at(decision)).total_seconds()
    facts = {
        "reason": said["reason"],
        "message": said["message"],
        "course": said["course_id"],
        "assignment": said["assignment_id"],
        "stream version": said["stream_version"],
        "decided": f"{said['decided_at']}, {max(seconds, 0):.3f} s after it was appended",
        "record": f"{decision.topic} partition {decision.partition} offset {decision.offset}",
        "verdict": f"shard {decision.shard} number {decision.number}",
        "correlation": said["correlation_id"],
    }
    show_facts(console, facts)
    for error in said["errors"]:
        console.print(Text(f"  {plain(error['path'] or 'command')}: {plain(error['message'])}", style="red"))
    if effects:
        events = table("event", "version", "events", "live-events", right=("version", "events", "live-events"))
        for effect in effects[:EVENTS_SHOWN]:
            row(events, effect.type, effect.version, effect.position, effect.live_number)
        console.print(events)
        if len(effects) > EVENTS_SHOWN:
            console.print(f"and {len(effects) - EVENTS_SHOWN} events more: see --json.")
        console.print(Text(f"Numbers are ce_sequence in partition {decision.shard} of each topic.", style="dim"))


def _kind(said: Json) -> Text:
    return Text(plain(said["type"] or "a command of no readable type"))


def _appended_at(decision: Decision) -> datetime:
    return datetime.fromtimestamp(decision.append_time / 1_000, UTC)

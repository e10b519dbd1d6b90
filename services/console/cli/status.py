"""``status``: whether every command is decided and every record is on its topic, and what to do if not."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from schemas.fields import format_time
from services.config.process import ProcessSettings
from services.console.cli.options import JsonOption
from services.console.cli.output import add_row, build_table, print_fields, print_json, stdout_console
from services.console.cli.server_watchdog import fail_if_silent, postgresql_server
from services.console.group_members import UNASSIGNED
from services.console.pipeline_status import PipelineStatus
from services.console.status_monitor import StatusMonitor
from services.console.wording import format_duration, pluralize
from services.eventlog.postgres import READER, create_pool
from services.runtime.command_line import ExitCode, run_command
from services.runtime.errors import ServerSilent
from services.runtime.health import Health

CONNECTIONS_MAX = 2
QUERY_SECONDS_MAX = 30
SYMBOLS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "critical": ("✗", "red")}


def status(as_json: JsonOption = False) -> None:
    """Show whether commands are decided and records published. Exit code 1 for open dead letters, 5 for an alarm."""
    pipeline_status = run_command(_read_status)
    if as_json:
        print_json(_status_json(pipeline_status))
    else:
        _print_status(stdout_console(), pipeline_status)
    raise typer.Exit(get_exit_code(pipeline_status))


def get_exit_code(pipeline_status: PipelineStatus) -> ExitCode:
    """Map a status to its exit code: FINDING for a warning, ALARM or SERVER_UNAVAILABLE for a critical state."""
    if pipeline_status.problems:
        return ExitCode.SERVER_UNAVAILABLE
    return {"ok": ExitCode.OK, "warning": ExitCode.FINDING, "critical": ExitCode.ALARM}[pipeline_status.level]


async def _read_status() -> PipelineStatus:
    settings = ProcessSettings()
    pool = await create_pool(settings.url(), "cli", READER, CONNECTIONS_MAX, QUERY_SECONDS_MAX)
    monitor = StatusMonitor(pool, settings.kafka_bootstrap, settings.topic_prefix, Health())
    try:
        async with fail_if_silent(postgresql_server(settings.url())):
            return await monitor.poll_once()
    except ServerSilent as error:
        return PipelineStatus(problems=(str(error),))
    finally:
        pool.terminate()


def _status_json(pipeline_status: PipelineStatus) -> dict[str, Any]:
    return {
        "level": pipeline_status.level,
        "summary": pipeline_status.summary(),
        "problems": list(pipeline_status.problems),
        "at": _format_optional_time(pipeline_status.at),
        "decided": pipeline_status.decided,
        "partitions": [asdict(partition) for partition in pipeline_status.partitions],
        "outputs": [
            {
                "topic": output.topic,
                "waiting": output.waiting,
                "since": _format_optional_time(output.since),
                "ahead": output.ahead,
            }
            for output in pipeline_status.outputs
        ],
        "topic_problems": [asdict(problem) for problem in pipeline_status.topic_problems],
        "publications": [asdict(publication) for publication in pipeline_status.publications],
        "dead_letters": {
            "open": pipeline_status.open_dead_letters,
            "oldest": _format_optional_time(pipeline_status.oldest_dead_letter),
        },
    }


def _format_optional_time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _print_status(console: Console, pipeline_status: PipelineStatus) -> None:
    symbol, style = SYMBOLS[pipeline_status.level]
    console.print(Text.assemble((f"{symbol} ", style), (pipeline_status.summary(), "bold")), soft_wrap=True)
    for problem in pipeline_status.problems[1:]:
        console.print(Text(f"  {problem}", style="red"), soft_wrap=True)
    if pipeline_status.at is None:
        return
    if pipeline_status.damaged_topics:
        console.print(
            f"  Stop the relays, run {pipeline_status.rewind_command}, and start them: they publish the lost records.",
            soft_wrap=True,
        )
    _print_totals(console, pipeline_status)
    _print_partitions(console, pipeline_status)
    _print_outputs(console, pipeline_status)
    for publication in pipeline_status.publications:
        published_text = f"{publication.published} of {publication.total} grades"
        console.print(
            f"publication of assignment {publication.assignment}: {published_text} on the topic", soft_wrap=True
        )


def _print_totals(console: Console, pipeline_status: PipelineStatus) -> None:
    count, oldest = pipeline_status.open_dead_letters, pipeline_status.oldest_dead_letter
    oldest_text = "" if oldest is None else f", the oldest since {format_time(oldest)}"
    fields = {
        "decided": pluralize(pipeline_status.decided, "command record"),
        "undecided": _format_total([partition.waiting for partition in pipeline_status.partitions], "command"),
        "unpublished": _format_total([output.waiting for output in pipeline_status.outputs], "record"),
        "dead letters": "unknown" if count is None else f"{count} open{oldest_text}",
    }
    print_fields(console, fields)


def _format_total(numbers: list[int], noun: str) -> str:
    return pluralize(sum(numbers), noun) if numbers else "unknown"


def _print_partitions(console: Console, pipeline_status: PipelineStatus) -> None:
    partitions = [p for p in pipeline_status.partitions if p.waiting or p.is_cut or p.owner == UNASSIGNED]
    if not partitions:
        return
    table = build_table("partition", "state", "waiting", "oldest", "handler", right=("partition", "waiting"))
    for partition in partitions:
        oldest = format_duration(partition.oldest_seconds) if partition.waiting else None
        add_row(table, partition.number, partition.state, partition.waiting, oldest, partition.owner)
    console.print(table)


def _print_outputs(console: Console, pipeline_status: PipelineStatus) -> None:
    outputs = [output for output in pipeline_status.outputs if output.waiting or output.ahead]
    if not outputs:
        return
    table = build_table("topic", "waiting", "since (UTC)", "not in the log", right=("waiting", "not in the log"))
    for output in outputs:
        add_row(table, output.topic, output.waiting, _format_optional_time(output.since), output.ahead or None)
    console.print(table)

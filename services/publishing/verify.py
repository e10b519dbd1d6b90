"""Check topics: ``python -m services.publishing.verify [TOPIC…]``, all outputs by default.

With DATABASE_URL beside the log, else as a consumer can. Exit code 0: nothing is wrong; 1: something is, and what
is printed; 2: it could not be checked.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from services.config import KafkaSettings, SettingsError, VerifySettings
from services.console.cli import options
from services.console.cli.server_watchdog import fail_if_silent, kafka_server, postgresql_server
from services.eventlog.feed_history import FeedHistory, LogFilter
from services.eventlog.feeds import FEED_BY_TOPIC
from services.eventlog.postgres import READER, close_quickly, connect
from services.kafka.topics import full_topic_name
from services.publishing.cloudevents import PublishingFormat
from services.publishing.log_comparison import LogComparison
from services.publishing.record_mapper import RecordMapper
from services.publishing.verifier import TopicNotFound, VerificationReport, verify
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error

EXIT_SOUND, EXIT_UNSOUND, EXIT_UNCHECKED = 0, 1, 2
COMPARE_SETTINGS = "changed: where all are, compare EVENT_SOURCE, LIVE_EVENTS_SHARD and LMS_URL with the relay's"


async def verify_all(
    settings: VerifySettings, topics: Mapping[str, str], log_filter: LogFilter, progress_bars: Progress
) -> list[VerificationReport]:
    """The topics (full names, and the output that each repeats) one after another, with a bar for each."""
    reports = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(fail_if_silent(kafka_server(settings.kafka_bootstrap)))
        create_comparison = None
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
            await stack.enter_async_context(fail_if_silent(postgresql_server(url)))
            connection = await connect(url, "verify", READER)
            stack.push_async_callback(close_quickly, connection)
            publishing_format = PublishingFormat.from_settings(settings)
            history = FeedHistory(connection)
            create_comparison = partial(
                LogComparison, history=history, record_mapper=RecordMapper(history, publishing_format)
            )
        for full_name, output in topics.items():
            task = progress_bars.add_task(full_name, total=None)
            comparison = None if create_comparison is None else create_comparison(output)
            reports.append(
                await verify(
                    settings.kafka_bootstrap,
                    full_name,
                    output,
                    comparison,
                    log_filter,
                    lambda _, read, of, task=task: progress_bars.update(task, completed=read, total=of),  # type: ignore[misc]
                )
            )
    return reports


def print_report(console: Console, report: VerificationReport) -> None:
    """One topic in words."""
    replayed = f", {report.replayed} of them replayed" if report.replayed else ""
    basis = "compared with the log" if report.compared else "as a consumer sees it"
    symbol = "[green]✓[/]" if report.sound else "[red]✗[/]"
    console.print(f"{symbol} {report.topic}: {report.records} records{replayed}, {basis}")
    for shard, first, last in report.removed:
        console.print(f"  [dim]shard {shard}: {first}..{last} removed by retention[/]")
    for finding in report.findings:
        console.print(f"  [red]{finding}[/]")
    if report.more_findings:
        console.print(f"  [red]and {report.more_findings} more[/]")
    if any(finding.kind == "changed" for finding in report.findings):
        console.print(f"  [dim]{COMPARE_SETTINGS}[/]")


def resolve_outputs(topics: Sequence[str] | None, repeated_output: str | None) -> dict[str, str]:
    """Topics and the output that each repeats: ``of``, or what its name ends with. Raises typer.BadParameter."""
    if repeated_output is not None and not topics:
        raise typer.BadParameter(f"--of {repeated_output} is about topics that are named: name them")
    output_by_topic = {name: repeated_output or name.rsplit(".", 1)[-1] for name in topics or ()}
    if any(output not in FEED_BY_TOPIC for output in output_by_topic.values()):
        raise typer.BadParameter(
            f"which output does {', '.join(output_by_topic)} repeat? --of {'|'.join(FEED_BY_TOPIC)}"
        )
    return output_by_topic


def list_output_topics(settings: KafkaSettings) -> dict[str, str]:
    """All the service's output topics."""
    return {full_topic_name(settings.topic_prefix, output): output for output in FEED_BY_TOPIC}


def main(
    topics: Annotated[list[str] | None, typer.Argument(help="Full names; all outputs of TOPIC_PREFIX if none.")] = None,
    of: Annotated[str | None, typer.Option(help=f"Which output the topics repeat: {', '.join(FEED_BY_TOPIC)}.")] = None,
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Gaps, repeats, disorder, wrong ids and bytes of topics. What a replay put on a topic is selected as it was."""
    output_by_topic = resolve_outputs(topics, of)
    log_filter = options.build_log_filter(root_account, course, assignment, since, until)
    try:
        settings = VerifySettings()
        output_by_topic = output_by_topic or list_output_topics(settings)
        with options.progress_bars() as progress_bars:
            reports = asyncio.run(verify_all(settings, output_by_topic, log_filter, progress_bars))
    except (TopicNotFound, SettingsError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_UNCHECKED) from None
    except INFRASTRUCTURE_ERRORS as error:
        typer.echo(describe_error(error), err=True)
        raise typer.Exit(EXIT_UNCHECKED) from None
    if as_json:
        typer.echo(json.dumps([report.to_dict() for report in reports]))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for report in reports:
            print_report(console, report)
    sys.exit(EXIT_SOUND if all(report.sound for report in reports) else EXIT_UNSOUND)


if __name__ == "__main__":
    # What it says of servers that are away is said once, by us.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    typer.run(main)

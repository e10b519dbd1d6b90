"""``verify``: compare topics with the log; without DATABASE_URL, make the checks that any consumer can make."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text

from schemas.topics import OUTPUT_TOPICS
from services.config.cli import VerifySettings
from services.config.kafka import KafkaSettings
from services.console.cli import options
from services.console.cli.output import print_json
from services.console.cli.server_watchdog import fail_if_silent, kafka_server, postgresql_server
from services.eventlog.feed_history import FeedHistory, LogFilter
from services.eventlog.postgres import READER, close_quickly, connect
from services.publishing.cloudevents import PublishingFormat
from services.publishing.log_comparison import LogComparison
from services.publishing.record_mapper import RecordMapper
from services.publishing.topic_ends import full_topic_names
from services.publishing.verification_report import VerificationReport
from services.publishing.verifier import TopicNotFound, verify
from services.runtime.command_line import ExitCode, NotFound, escape_unprintable, run_command

COMPARE_SETTINGS = (
    "If all records of a topic are changed, compare EVENT_SOURCE, LIVE_EVENTS_SHARD and LMS_URL with the relay's."
)


def verify_command(
    topics: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC…", help="Full names; by default all outputs of TOPIC_PREFIX.")
    ] = None,
    of: Annotated[str | None, typer.Option(help=f"Output that the topics copy: {', '.join(OUTPUT_TOPICS)}.")] = None,
    root_account: options.RootAccountFilterOption = None,
    course: options.CourseOption = None,
    assignment: options.AssignmentOption = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Find missing, extra, repeated, disordered and changed records of topics. Exit code 1 if there are any.

    To verify the target of a replay, pass the replay's own filter options.
    """
    requested_topics = _resolve_outputs(topics, of)
    log_filter = options.build_log_filter(root_account, course, assignment, since, until)

    async def work() -> list[VerificationReport]:
        settings = VerifySettings()
        with options.progress_bars() as progress_bars:
            try:
                return await _verify_all(
                    settings, requested_topics or _list_output_topics(settings), log_filter, progress_bars
                )
            except TopicNotFound as error:
                raise NotFound(str(error)) from None

    reports = run_command(work)
    if as_json:
        print_json([report.to_dict() for report in reports])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for report in reports:
            _print_report(console, report)
    if not all(report.sound for report in reports):
        raise typer.Exit(ExitCode.FINDING)


def _resolve_outputs(topics: Sequence[str] | None, repeated_output: str | None) -> dict[str, str]:
    """Return, by topic, the output it is a copy of: the named one, else the last part of the topic's name.

    Raises:
        typer.BadParameter: an output is unknown, or named without topics.
    """
    if repeated_output is not None and not topics:
        raise typer.BadParameter(f"--of {repeated_output} needs the full names of the topics that copy it")
    output_by_topic = {name: repeated_output or name.rsplit(".", 1)[-1] for name in topics or ()}
    if set(output_by_topic.values()) <= set(OUTPUT_TOPICS):
        return output_by_topic
    raise typer.BadParameter(f"which output does {', '.join(output_by_topic)} copy? Add --of {'|'.join(OUTPUT_TOPICS)}")


def _list_output_topics(settings: KafkaSettings) -> dict[str, str]:
    """Return the service's own output topics by full name."""
    return {name: output for output, name in full_topic_names(settings.topic_prefix, OUTPUT_TOPICS).items()}


async def _verify_all(
    settings: VerifySettings, output_by_topic: Mapping[str, str], log_filter: LogFilter, progress_bars: Progress
) -> list[VerificationReport]:
    """Verify one topic after another, each with a progress bar."""
    bootstrap = settings.kafka_bootstrap
    reports = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(fail_if_silent(kafka_server(bootstrap)))
        create_comparison = None
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
            await stack.enter_async_context(fail_if_silent(postgresql_server(url)))
            connection = await connect(url, "verify", READER)
            stack.push_async_callback(close_quickly, connection)
            history = FeedHistory(connection)
            record_mapper = RecordMapper(history, PublishingFormat.from_settings(settings))
            create_comparison = partial(LogComparison, history=history, record_mapper=record_mapper)
        for topic, output in output_by_topic.items():
            comparison = None if create_comparison is None else create_comparison(output)
            task = progress_bars.add_task(topic, total=None)

            def show_progress(_: str, read: int, total: int, task: TaskID = task) -> None:
                progress_bars.update(task, completed=read, total=total)

            reports.append(await verify(bootstrap, topic, output, comparison, log_filter, show_progress))
    return reports


def _print_report(console: Console, report: VerificationReport) -> None:
    replayed = f", {report.replayed} of them replayed" if report.replayed else ""
    erased = f", {report.erased} with content that was erased from the log since" if report.erased else ""
    archived = f", {report.archived} of archived verdicts by number only" if report.archived else ""
    basis = "compared with the log" if report.compared else "checked as a consumer, without the log"
    symbol = Text("✓", "green") if report.sound else Text("✗", "red")
    summary = f" {report.topic}: {report.records} records{replayed}{erased}, {basis}{archived}"
    console.print(Text.assemble(symbol, summary))
    for shard, first, last in report.removed:
        console.print(Text(f"  shard {shard}: {first}..{last} removed by retention", "dim"))
    for shard, first, last in report.left_out:
        console.print(Text(f"  shard {shard}: {first}..{last} left out, because their verdicts are archived", "dim"))
    for finding in report.findings:
        console.print(Text(f"  {escape_unprintable(finding)}", "red"))
    if report.more_findings:
        console.print(Text(f"  and {report.more_findings} more", "red"))
    if any(finding.kind == "changed" for finding in report.findings):
        console.print(Text(f"  {COMPARE_SETTINGS}", "dim"))

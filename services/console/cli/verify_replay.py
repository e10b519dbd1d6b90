"""``verify`` and ``replay``: the topics against the log, and a part of the log again for somebody."""

from contextlib import aclosing
from typing import Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.text import Text

from services.config import OperatorSettings, ReplaySettings, VerifySettings
from services.console.cli import options
from services.console.cli.operator_auth import (
    ReasonOption,
    authenticate_operator,
    build_operator_service,
    require_reason,
)
from services.console.cli.runner import (
    EXIT_FINDING,
    ActionRefused,
    Connection,
    JsonOption,
    NotFound,
    ServerUnavailable,
    escape_unprintable,
    open_connection,
    print_json,
    require_existing,
    run_command,
    stdout_console,
)
from services.console.cli.server_watchdog import fail_if_silent, kafka_server
from services.console.replay_jobs import request_to_detail
from services.console.roles import Role
from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.kafka.topics import TopicConfigError
from services.publishing.cloudevents import PublishingFormat
from services.publishing.replayer import ReplayProgress, ReplayRequest, reject_service_topics
from services.publishing.replayer import ReplayRefused as NotReplayed
from services.publishing.replayer import replay as emit
from services.publishing.verifier import TopicNotFound, VerificationReport
from services.publishing.verify import list_output_topics, print_report, resolve_outputs, verify_all
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error


def verify(
    topics: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC…", help="Full names; all outputs of TOPIC_PREFIX if none.")
    ] = None,
    of: Annotated[str | None, typer.Option(help=f"Which output the topics repeat: {', '.join(FEED_BY_TOPIC)}.")] = None,
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    as_json: JsonOption = False,
) -> None:
    """Topics against the log: what is missing, extra, repeated, in disorder, changed. Exit code 1 where anything is."""
    requested_topics = resolve_outputs(topics, of)
    log_filter = options.build_log_filter(root_account, course, assignment, since, until)

    async def work() -> list[VerificationReport]:
        settings = VerifySettings()
        with options.progress_bars() as progress_bar:
            try:
                return await verify_all(
                    settings, requested_topics or list_output_topics(settings), log_filter, progress_bar
                )
            except TopicNotFound as error:
                raise NotFound(str(error)) from None

    results = run_command(work)
    if as_json:
        print_json([result.to_dict() for result in results])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for result in results:
            print_report(console, result)
    if not all(result.sound for result in results):
        raise typer.Exit(EXIT_FINDING)


def replay(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help=f"What to emit: {', '.join(FEED_BY_TOPIC)}.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Full name of the topic to fill: made if missing, never a service's."),
    ],
    reason: ReasonOption,
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    per_second: Annotated[float | None, typer.Option(help="At most so many records a second.")] = None,
    as_json: JsonOption = False,
) -> None:
    """A part of the log again: same ids and numbers, with replay: true. The same command goes on where one ended."""
    try:
        replay_request = ReplayRequest(
            output, target, options.build_log_filter(root_account, course, assignment, since, until), per_second
        )
        reject_service_topics(target)
    except (ValueError, NotReplayed) as error:
        raise typer.BadParameter(str(error)) from None
    action_id = uuid4()

    async def work() -> ReplayProgress:
        settings, operator_settings = ReplaySettings(), OperatorSettings()
        actor = await authenticate_operator(operator_settings, Role.OPERATOR)
        async with open_connection(settings.url()) as connection:
            await require_existing(connection, replay_request.log_filter)
            await require_reason(
                (await build_operator_service(operator_settings)).replay(
                    action_id, actor, reason, request_to_detail(replay_request)
                )
            )
            # A console that starts meanwhile leaves it to us.
            await FeedReader(connection).try_lock(f"replay {action_id}")
            return await _emit(settings, replay_request, connection)

    progress = run_command(work)
    if as_json:
        print_json(
            {"action": str(action_id), "target": target, "order": str(replay_request), "emitted": progress.emitted}
        )
    else:
        message = f"{target} holds {replay_request}: {progress.emitted} records emitted now. Action {action_id}."
        stdout_console().print(Text(escape_unprintable(message)), soft_wrap=True)


async def _emit(settings: ReplaySettings, replay_request: ReplayRequest, connection: Connection) -> ReplayProgress:
    progress, publishing_format = ReplayProgress(0, 0, 0), PublishingFormat.from_settings(settings)
    with options.progress_bars() as progress_bar:
        task = progress_bar.add_task(replay_request.target, total=None)
        try:
            async with (
                fail_if_silent(kafka_server(settings.kafka_bootstrap)),
                aclosing(emit(settings.kafka_bootstrap, connection, publishing_format, replay_request)) as updates,
            ):
                async for progress in updates:
                    progress_bar.update(task, completed=progress.scanned, total=progress.total)
            return progress
        except (NotReplayed, TopicConfigError) as error:
            raise ActionRefused(str(error)) from None
        except INFRASTRUCTURE_ERRORS as error:
            raise ServerUnavailable(f"{describe_error(error)}. The same command goes on where this one ended") from None

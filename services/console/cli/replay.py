"""``replay``: publish a part of the log again, to a chosen topic."""

from contextlib import aclosing
from typing import Annotated
from uuid import uuid4

import typer
from rich.text import Text

from schemas.topics import OUTPUT_TOPICS
from services.config.cli import OperatorSettings, ReplaySettings
from services.console.cli import options
from services.console.cli.operator_auth import (
    ReasonOption,
    authenticate_operator,
    build_operator_service,
    require_reason,
)
from services.console.cli.output import print_json, stdout_console
from services.console.cli.runner import Connection, open_connection, require_existing
from services.console.cli.server_watchdog import fail_if_silent, kafka_server
from services.console.replay_jobs import request_to_detail
from services.console.roles import Role
from services.eventlog.feeds import FeedReader
from services.kafka.topics import TopicConfigError
from services.publishing.cloudevents import PublishingFormat
from services.publishing.replayer import ReplayProgress, ReplayRefused, ReplayRequest, reject_service_topics, replay
from services.runtime.command_line import ActionRefused, ServerUnavailable, escape_unprintable, run_command
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error


def replay_command(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help=f"What to publish: {', '.join(OUTPUT_TOPICS)}.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="Full name of the target topic, not one of the service's; created if missing."
        ),
    ],
    reason: ReasonOption,
    root_account: options.RootAccountFilterOption = None,
    course: options.CourseOption = None,
    assignment: options.AssignmentOption = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    per_second: Annotated[float | None, typer.Option(help="Maximum records per second.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Publish a part of the log again: same ids and sequence numbers, with replay: true. Run it again to resume."""
    try:
        log_filter = options.build_log_filter(root_account, course, assignment, since, until)
        replay_request = ReplayRequest(output, target, log_filter, per_second)
        reject_service_topics(target)
    except (ValueError, ReplayRefused) as error:
        raise typer.BadParameter(str(error)) from None
    action_id = uuid4()

    async def work() -> ReplayProgress:
        settings, operator_settings = ReplaySettings(), OperatorSettings()
        actor = await authenticate_operator(operator_settings, Role.OPERATOR)
        async with open_connection(settings.url()) as connection:
            await require_existing(connection, replay_request.log_filter)
            operator_service = await build_operator_service(operator_settings)
            await require_reason(operator_service.replay(action_id, actor, reason, request_to_detail(replay_request)))
            # A console that starts in the meantime resumes replays that are not locked.
            await FeedReader(connection).try_lock(f"replay {action_id}")
            return await _run_replay(settings, replay_request, connection)

    progress = run_command(work)
    if as_json:
        print_json(
            {"action": str(action_id), "target": target, "order": str(replay_request), "emitted": progress.emitted}
        )
    else:
        message = f"{target} holds {replay_request}: {progress.emitted} records published now. Action {action_id}."
        stdout_console().print(Text(escape_unprintable(message)), soft_wrap=True)


async def _run_replay(
    settings: ReplaySettings, replay_request: ReplayRequest, connection: Connection
) -> ReplayProgress:
    progress, publishing_format = ReplayProgress(0, 0, 0), PublishingFormat.from_settings(settings)
    with options.progress_bars() as progress_bar:
        task = progress_bar.add_task(replay_request.target, total=None)
        try:
            async with (
                fail_if_silent(kafka_server(settings.kafka_bootstrap)),
                aclosing(replay(settings.kafka_bootstrap, connection, publishing_format, replay_request)) as updates,
            ):
                async for progress in updates:
                    progress_bar.update(task, completed=progress.scanned, total=progress.total)
            return progress
        except (ReplayRefused, TopicConfigError) as error:
            raise ActionRefused(str(error)) from None
        except INFRASTRUCTURE_ERRORS as error:
            raise ServerUnavailable(
                f"{describe_error(error)}. Published records stay: run the same command again to continue"
            ) from None

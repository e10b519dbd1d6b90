"""``admin rewind``: set the relay's progress, so that it fills topics again.

``topics`` continues after the highest sequence number on each topic: for lost progress, and to refill topics that were
recreated or lost records at their end; a shard that retention emptied keeps its progress, and a pass of ``start`` that
had not ended goes on. ``log`` continues after the history that topics and log share: for a log that lost published
records. ``start`` publishes everything again from the start of the log. Records that had been published before get the
header ``replay: true``. No relay may run at the same time.
"""

from enum import StrEnum
from typing import Annotated

import typer

from schemas.topics import OUTPUT_TOPICS
from services.admin.continuation import count_replays
from services.admin.rewinder import RewindResult, rewind, rewind_to_log
from services.config.cli import ReplaySettings
from services.kafka.topics import TopicConfigError
from services.relay.startup_checks import OperatorRequired
from services.runtime.command_line import ActionRefused, run_command


class RewindTo(StrEnum):
    """Where the relay continues."""

    TOPICS = "topics"
    LOG = "log"
    START = "start"


def rewind_command(
    rewind_to: Annotated[
        RewindTo,
        typer.Argument(
            metavar="topics|log|start",
            help="Continue after the topics' records, after the history shared by topics and log, or from the start.",
        ),
    ],
    outputs: Annotated[
        list[str] | None, typer.Argument(metavar="[OUTPUT]…", help=f"{', '.join(OUTPUT_TOPICS)}; all if none.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With log: only list published records that are no longer in the log.")
    ] = False,
) -> None:
    """Set the relay's progress while all relays are stopped: it publishes lost records again with replay: true.

    With log, published records that are no longer in the log are listed first, then removed from the topics together
    with the rest of their partition; the partition's records that the log has are published again.
    """
    rewound_outputs = outputs or list(OUTPUT_TOPICS)
    unknown = [output for output in rewound_outputs if output not in OUTPUT_TOPICS]
    if unknown:
        raise typer.BadParameter(f"unknown output {', '.join(unknown)}: choose from {', '.join(OUTPUT_TOPICS)}")
    if dry_run and rewind_to is not RewindTo.LOG:
        raise typer.BadParameter("--dry-run works with log only: topics and start remove nothing")

    async def work() -> RewindResult:
        settings = ReplaySettings()
        try:
            if rewind_to is RewindTo.LOG:
                return await rewind_to_log(settings, rewound_outputs, typer.echo, dry_run=dry_run)
            return await rewind(settings, rewound_outputs, from_start=rewind_to is RewindTo.START)
        except (OperatorRequired, TopicConfigError) as error:
            raise ActionRefused(str(error)) from None

    result = run_command(work, is_administrators=True)
    if rewind_to is RewindTo.LOG:
        typer.echo(f"{result.lost_count} published records are not in the log")
    if result.progress is None:
        typer.echo("nothing was changed")
        return
    for output in rewound_outputs:
        done_count = sum(result.progress.sequences[output])
        replay_count = count_replays(result.progress, output)
        typer.echo(f"{output}: the relay continues after {done_count} records and replays {replay_count}")
    typer.echo("start the relays; when they have caught up, run moderated-grading verify")

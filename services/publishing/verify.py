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

from services.config import KafkaSettings, VerifySettings, WrongSettings
from services.console.cli import options
from services.console.cli.server_watchdog import attended, kafka, postgresql
from services.eventlog.feed_history import History, Selection
from services.eventlog.postgres import READER, connect, leave
from services.kafka.relay_progress import SERIES
from services.kafka.topics import topic
from services.publishing.cloudevents import Form
from services.publishing.log_comparison import Comparison
from services.publishing.record_mapper import Translator
from services.publishing.verifier import CannotVerify, Verified, verify

SOUND, UNSOUND, UNCHECKED = 0, 1, 2
COMPARE_SETTINGS = "changed: where all are, compare EVENT_SOURCE, LIVE_EVENTS_SHARD and LMS_URL with the relay's"


async def check(
    settings: VerifySettings, topics: Mapping[str, str], selection: Selection, bars: Progress
) -> list[Verified]:
    """The topics (full names, and the output that each repeats) one after another, with a bar for each."""
    results = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(attended(kafka(settings.kafka_bootstrap)))
        log = None
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
            await stack.enter_async_context(attended(postgresql(url)))
            connection = await connect(url, "verify", READER)
            stack.push_async_callback(leave, connection)
            form = Form.of(settings)
            history = History(connection)
            log = partial(Comparison, history=history, translator=Translator(history, form))
        for full_name, output in topics.items():
            task = bars.add_task(full_name, total=None)
            comparison = None if log is None else log(output)
            results.append(
                await verify(
                    settings.kafka_bootstrap,
                    full_name,
                    output,
                    comparison,
                    selection,
                    lambda _, read, of, task=task: bars.update(task, completed=read, total=of),  # type: ignore[misc]
                )
            )
    return results


def say(console: Console, result: Verified) -> None:
    """One topic in words."""
    replayed = f", {result.replayed} of them replayed" if result.replayed else ""
    beside = "compared with the log" if result.compared else "as a consumer sees it"
    mark = "[green]✓[/]" if result.sound else "[red]✗[/]"
    console.print(f"{mark} {result.topic}: {result.records} records{replayed}, {beside}")
    for shard, first, last in result.removed:
        console.print(f"  [dim]shard {shard}: {first}..{last} removed by retention[/]")
    for finding in result.findings:
        console.print(f"  [red]{finding}[/]")
    if result.more_findings:
        console.print(f"  [red]and {result.more_findings} more[/]")
    if any(finding.kind == "changed" for finding in result.findings):
        console.print(f"  [dim]{COMPARE_SETTINGS}[/]")


def named(topics: Sequence[str] | None, of: str | None) -> dict[str, str]:
    """Topics and the output that each repeats: ``of``, or what its name ends with. Raises typer.BadParameter."""
    if of is not None and not topics:
        raise typer.BadParameter(f"--of {of} is about topics that are named: name them")
    asked = {name: of or name.rsplit(".", 1)[-1] for name in topics or ()}
    if any(output not in SERIES for output in asked.values()):
        raise typer.BadParameter(f"which output does {', '.join(asked)} repeat? --of {'|'.join(SERIES)}")
    return asked


def outputs(settings: KafkaSettings) -> dict[str, str]:
    """All the service's output topics."""
    return {topic(settings.topic_prefix, output): output for output in SERIES}


def main(
    topics: Annotated[list[str] | None, typer.Argument(help="Full names; all outputs of TOPIC_PREFIX if none.")] = None,
    of: Annotated[str | None, typer.Option(help=f"Which output the topics repeat: {', '.join(SERIES)}.")] = None,
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Gaps, repeats, disorder, wrong ids and bytes of topics. What a replay put on a topic is selected as it was."""
    asked = named(topics, of)
    selected = options.selection(root_account, course, assignment, since, until)
    try:
        settings = VerifySettings()
        asked = asked or outputs(settings)
        with options.bars() as bars:
            results = asyncio.run(check(settings, asked, selected, bars))
    except (CannotVerify, WrongSettings) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(UNCHECKED) from None
    except options.FAILURES as error:
        typer.echo(options.in_words(error), err=True)
        raise typer.Exit(UNCHECKED) from None
    if as_json:
        typer.echo(json.dumps([result.as_json() for result in results]))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for result in results:
            say(console, result)
    sys.exit(SOUND if all(result.sound for result in results) else UNSOUND)


if __name__ == "__main__":
    # What it says of servers that are away is said once, by us.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    typer.run(main)

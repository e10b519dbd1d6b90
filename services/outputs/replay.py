"""Emit a part of the log again: ``python -m services.outputs.replay OUTPUT TARGET``; see there for who may read what.

The same command started again goes on where it was ended or killed. Exit code 0: all is on the topic; 2: it is not.
"""

import asyncio
import json
from contextlib import aclosing
from typing import Annotated

import typer
from rich.progress import Progress

from services.eventlog.connecting import READER, connect
from services.outputs import options
from services.outputs.records import Form
from services.outputs.replaying import Order, Refused, Step, replay
from services.progress import SERIES
from services.settings import ReplaySettings, WrongSettings
from services.topics import WrongTopics

NOT_DONE = 2


async def emit(settings: ReplaySettings, order: Order, bars: Progress) -> Step:
    """Carry out an order with a bar; returns its last step."""
    connection = await connect(settings.url(), "replay", READER)
    task = bars.add_task(order.target, total=None)
    try:
        step = Step(0, 0, 0)
        form = Form.of(settings)
        async with aclosing(replay(settings.kafka_bootstrap, connection, form, order)) as steps:
            async for step in steps:
                bars.update(task, completed=step.looked_at, total=step.of)
        return step
    finally:
        await connection.close()


def main(
    output: Annotated[str, typer.Argument(help=f"What to emit: {', '.join(SERIES)}.")],
    target: Annotated[str, typer.Argument(help="Full name of the topic to fill: made if missing, never a service's.")],
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    per_second: Annotated[float | None, typer.Option(help="At most so many records a second.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Emit a course, an assignment or a time range again: same ids and numbers, with the header replay: true."""
    try:
        selected = options.selection(root_account, course, assignment, since, until)
        order = Order(output, target, selected, per_second)
        settings = ReplaySettings()
        with options.bars() as bars:
            step = asyncio.run(emit(settings, order, bars))
    except (Refused, ValueError, WrongSettings, WrongTopics) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NOT_DONE) from None
    except options.FAILURES as error:
        typer.echo(f"{options.in_words(error)}. The same command goes on where this one ended", err=True)
        raise typer.Exit(NOT_DONE) from None
    if as_json:
        typer.echo(json.dumps({"target": target, "order": str(order), "emitted": step.emitted}))
    else:
        typer.echo(f"{target} holds {order}: {step.emitted} records emitted now")


if __name__ == "__main__":
    typer.run(main)

"""``verify`` and ``replay``: the topics against the log, and a part of the log again for somebody."""

from contextlib import aclosing
from typing import Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.text import Text

from services.config import OperatorSettings, ReplaySettings, VerifySettings
from services.console.cli import options
from services.console.cli.operator_auth import Why, actions_of, kept, operator
from services.console.cli.runner import (
    FINDING,
    AsJson,
    Away,
    Connection,
    NotThere,
    Refused,
    check_known,
    out,
    plain,
    print_json,
    reading,
    run,
)
from services.console.cli.server_watchdog import attended, kafka
from services.console.roles import Role
from services.console.topic_jobs import detail_of
from services.eventlog.feeds import Tail
from services.kafka.relay_progress import SERIES
from services.kafka.topics import WrongTopics
from services.publishing.cloudevents import Form
from services.publishing.replayer import Order, Step, refuse_own
from services.publishing.replayer import Refused as NotReplayed
from services.publishing.replayer import replay as emit
from services.publishing.verifier import CannotVerify, Verified
from services.publishing.verify import check, named, outputs, say


def verify(
    topics: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC…", help="Full names; all outputs of TOPIC_PREFIX if none.")
    ] = None,
    of: Annotated[str | None, typer.Option(help=f"Which output the topics repeat: {', '.join(SERIES)}.")] = None,
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    as_json: AsJson = False,
) -> None:
    """Topics against the log: what is missing, extra, repeated, in disorder, changed. Exit code 1 where anything is."""
    asked = named(topics, of)
    selected = options.selection(root_account, course, assignment, since, until)

    async def work() -> list[Verified]:
        settings = VerifySettings()
        with options.bars() as bars:
            try:
                return await check(settings, asked or outputs(settings), selected, bars)
            except CannotVerify as error:
                raise NotThere(str(error)) from None

    results = run(work)
    if as_json:
        print_json([result.as_json() for result in results])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for result in results:
            say(console, result)
    if not all(result.sound for result in results):
        raise typer.Exit(FINDING)


def replay(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help=f"What to emit: {', '.join(SERIES)}.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Full name of the topic to fill: made if missing, never a service's."),
    ],
    why: Why,
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    per_second: Annotated[float | None, typer.Option(help="At most so many records a second.")] = None,
    as_json: AsJson = False,
) -> None:
    """A part of the log again: same ids and numbers, with replay: true. The same command goes on where one ended."""
    try:
        order = Order(output, target, options.selection(root_account, course, assignment, since, until), per_second)
        refuse_own(target)
    except (ValueError, NotReplayed) as error:
        raise typer.BadParameter(str(error)) from None
    action = uuid4()

    async def work() -> Step:
        settings, mine = ReplaySettings(), OperatorSettings()
        actor = await operator(mine, Role.OPERATOR)
        async with reading(settings.url()) as connection:
            await check_known(connection, order.selection)
            await kept((await actions_of(mine)).replay(action, actor, why, detail_of(order)))
            # A console that starts meanwhile leaves it to us.
            await Tail(connection).try_lock(f"replay {action}")
            return await _emitted(settings, order, connection)

    step = run(work)
    if as_json:
        print_json({"action": str(action), "target": target, "order": str(order), "emitted": step.emitted})
    else:
        said = f"{target} holds {order}: {step.emitted} records emitted now. Action {action}."
        out().print(Text(plain(said)), soft_wrap=True)


async def _emitted(settings: ReplaySettings, order: Order, connection: Connection) -> Step:
    step, form = Step(0, 0, 0), Form.of(settings)
    with options.bars() as bars:
        task = bars.add_task(order.target, total=None)
        try:
            async with (
                attended(kafka(settings.kafka_bootstrap)),
                aclosing(emit(settings.kafka_bootstrap, connection, form, order)) as steps,
            ):
                async for step in steps:
                    bars.update(task, completed=step.looked_at, total=step.of)
            return step
        except (NotReplayed, WrongTopics) as error:
            raise Refused(str(error)) from None
        except options.FAILURES as error:
            raise Away(f"{options.in_words(error)}. The same command goes on where this one ended") from None

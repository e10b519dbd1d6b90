"""``verify``: the topics against the log."""

from typing import Annotated

import typer
from rich.console import Console

from services.console.cli.running import FINDING, AsJson, NotThere, print_json, run
from services.outputs import options
from services.outputs.verify import check, named, outputs, say
from services.outputs.verifying import CannotVerify, Verified
from services.progress import SERIES
from services.settings import VerifySettings


def verify(
    topics: Annotated[list[str] | None, typer.Argument(help="Full names; all outputs of TOPIC_PREFIX if none.")] = None,
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

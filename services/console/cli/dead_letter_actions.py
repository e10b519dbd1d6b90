"""``dead-letters redrive|discard|reveal``: operator actions, recorded with user and reason."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from typing import Annotated
from uuid import UUID, uuid4

import orjson
import typer

from services.commands.parse import parse
from services.commands.parse_errors import UnreadableRecord
from services.config.cli import OperatorSettings
from services.console.cli.dead_letter_dry_run import (
    ACCEPTED,
    DEAD_LETTERED_AGAIN,
    REJECTED,
    build_none_open,
    print_counts,
)
from services.console.cli.dead_letters import (
    DEAD_LETTERS_MAX,
    CauseOption,
    DeadLetterIdArgument,
    Json,
    OptionalDeadLetterIdArgument,
    PartitionOption,
    load_dead_letter,
    parse_dead_letter_id,
    print_dead_letter,
    require_selection,
)
from services.console.cli.operator_auth import (
    ReasonOption,
    authenticate_operator,
    build_operator_service,
    require_reason,
)
from services.console.cli.options import JsonOption, progress_bars
from services.console.cli.output import print_json, stdout_console
from services.console.cli.runner import Connection, open_connection
from services.console.cli.server_watchdog import fail_if_silent, kafka_server
from services.console.masking import decode_for_display
from services.console.redriver import DEAD_LETTER_BYTES_MAX, Redriver
from services.console.roles import Role
from services.console.wording import pluralize
from services.eventlog.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterReader
from services.eventlog.operator_actions import NoOpenDeadLetters, get_action
from services.runtime.command_line import ActionRefused, ExitCode, NotFound, ServerUnavailable, run_command
from services.runtime.errors import INFRASTRUCTURE_ERRORS, KAFKA_CLIENT_ERRORS, describe_error

UNDECIDED, NOT_CHECKED = "not decided yet", "not checked"
POLL_SECONDS = 0.1
YesOption = Annotated[bool, typer.Option("--yes", help="Act on a group without asking for confirmation.")]


def redrive(
    reason: ReasonOption,
    letter_id: OptionalDeadLetterIdArgument = None,
    cause: CauseOption = None,
    partition: PartitionOption = None,
    yes: YesOption = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the outcomes.")] = 10,
    force: Annotated[bool, typer.Option("--force", help="Send a single one even if it is unreadable.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters to the commands topic again. Exit code 1 unless all are accepted within --wait."""
    require_selection(letter_id, cause, partition)
    action_id = uuid4()

    async def work() -> Json:
        settings = OperatorSettings()
        actor = await authenticate_operator(settings, Role.OPERATOR)
        operator_service = await build_operator_service(settings)
        async with open_connection(settings.url()) as connection:
            requested_filter = _build_filter(letter_id, cause, partition)
            if letter_id is not None and not force:
                _require_readable(await load_dead_letter(DeadLetterReader(connection), letter_id))
            selection, left_out = await _confirm_selection(
                DeadLetterReader(connection), requested_filter, yes, "Redrive", DEAD_LETTER_BYTES_MAX
            )
            async with fail_if_silent(kafka_server(settings.kafka_bootstrap)):
                closed_count = await _run_action(
                    operator_service.redrive(action_id, actor, reason, selection), letter_id
                )
            redriver = Redriver(settings.url(), settings.kafka_bootstrap, settings.topic_prefix)
            await _send_and_report(connection, redriver, action_id, closed_count)
            outcomes = await _wait_for_outcomes(DeadLetterReader(connection), redriver.commands_topic, action_id, wait)
            if closed_count > outcomes.total():
                outcomes[NOT_CHECKED] = closed_count - outcomes.total()
        return {"action": str(action_id), "redriven": closed_count, "left_out": left_out, "outcomes": dict(outcomes)}

    result = run_command(work)
    if as_json:
        print_json(result)
    else:
        print_counts(stdout_console(), Counter(result["outcomes"]), f"Action {action_id}.")
    if result["outcomes"].keys() != {ACCEPTED} or result["left_out"]:
        raise typer.Exit(ExitCode.FINDING)


def _build_filter(letter_id: str | None, cause: str | None, partition: int | None) -> DeadLetterFilter:
    return DeadLetterFilter(None if letter_id is None else parse_dead_letter_id(letter_id), cause, partition)


def _require_readable(letter: DeadLetter) -> None:
    """Raise ActionRefused if a redrive would make it a dead letter again; closed and erased ones are refused later."""
    if letter.resolution is not None or letter.is_erased:
        return
    parsed = parse(letter.value)
    if isinstance(parsed, UnreadableRecord):
        raise ActionRefused(
            f"this version cannot read it: {parsed.message}. A redrive would make it a dead letter again. Nothing was"
            " changed: discard it and inform its sender (its key is the course), or add --force"
        )


async def _confirm_selection(
    failures: DeadLetterReader, requested_filter: DeadLetterFilter, yes: bool, verb: str, bytes_max: int | None = None
) -> tuple[DeadLetterFilter, int]:
    """Return the filter limited to what is open now, and how many it excludes. Raises NotFound, ActionRefused."""
    if requested_filter.id is not None:
        await load_dead_letter(failures, "{}-{}".format(*requested_filter.id))
    matches = await failures.count_matching(requested_filter, bytes_max)
    if matches.too_large_count:
        ellipsis = " …" if matches.too_large_count > len(matches.too_large_ids) else ""
        typer.echo(
            f"not included, too large with the redrive headers: {', '.join(matches.too_large_ids)}{ellipsis}", err=True
        )
    if requested_filter.id is not None:
        return requested_filter, matches.too_large_count
    if matches.count == 0:
        raise build_none_open(requested_filter.reason, requested_filter.partition)
    if not yes:
        question = f"{verb} {pluralize(matches.count, 'dead letter')}?"
        if not sys.stdin.isatty():
            raise ActionRefused(f"{question} Confirm with --yes. Nothing was changed")
        typer.confirm(question, abort=True, err=True)
    return replace(requested_filter, until=matches.until), matches.too_large_count


async def _run_action(operator_action: Awaitable[int], letter_id: str | None) -> int:
    """Return how many dead letters an action closed. Raises ActionRefused, NotFound, ServerUnavailable."""
    try:
        return await require_reason(operator_action)
    except NoOpenDeadLetters:
        selected = "no selected dead letter" if letter_id is None else f"dead letter {letter_id}"
        raise NotFound(
            f"{selected} is {'not ' if letter_id else ''}open: redriven or discarded before, or too large to redrive."
            f" Nothing was changed; dead-letters {'list' if letter_id is None else f'show {letter_id}'} shows the state"
        ) from None
    except (*KAFKA_CLIENT_ERRORS, TimeoutError) as error:
        raise ServerUnavailable(f"{describe_error(error, 'kafka')}. Nothing was changed") from None


async def _send_and_report(connection: Connection, redriver: Redriver, action_id: UUID, total: int) -> None:
    """Send the action's dead letters, or wait while the console sends them. Raises ServerUnavailable."""
    send_task = asyncio.create_task(_send_until_done(redriver))
    try:
        async with fail_if_silent(kafka_server(redriver.bootstrap)):
            with progress_bars() as progress_bar:
                progress_task = progress_bar.add_task("on the topic", total=total)
                while not send_task.done():
                    await asyncio.wait({send_task}, timeout=POLL_SECONDS)
                    stored_action = await get_action(connection, action_id)
                    progress_bar.update(
                        progress_task, completed=0 if stored_action is None else stored_action.redriven_count
                    )
            send_task.result()
    except INFRASTRUCTURE_ERRORS as error:
        send_task.cancel()
        remainder_note = f"action {action_id} is recorded, and a running console or the next redrive sends the rest"
        raise ServerUnavailable(f"{describe_error(error)}; {remainder_note}") from None


async def _send_until_done(redriver: Redriver) -> None:
    while not await redriver.send_pending():
        await asyncio.sleep(POLL_SECONDS)


async def _wait_for_outcomes(
    failures: DeadLetterReader, commands: str, action_id: UUID, seconds: float
) -> Counter[str]:
    """Count the outcomes of the action's records, waiting up to ``seconds`` for undecided ones."""
    deadline = time.monotonic() + seconds
    pending = await failures.dead_letters(DEAD_LETTERS_MAX, action_id=action_id)
    counts: Counter[str] = Counter()
    while True:
        undecided = []
        for letter in pending:
            outcome = await _read_outcome(failures, commands, letter)
            if outcome is None:
                undecided.append(letter)
            else:
                counts[outcome] += 1
        pending = undecided
        if not pending or time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_SECONDS)
    if pending:
        counts[UNDECIDED] = len(pending)
    return counts


async def _read_outcome(failures: DeadLetterReader, commands: str, letter: DeadLetter) -> str | None:
    assert letter.redriven_partition is not None
    assert letter.redriven_offset is not None
    outcome = await failures.redrive_outcome(commands, letter.redriven_partition, letter.redriven_offset)
    if outcome is None:
        return None
    if outcome.verdict_body is None:
        return DEAD_LETTERED_AGAIN
    verdict = orjson.loads(outcome.verdict_body)
    return ACCEPTED if verdict["status"] == "accepted" else f"{REJECTED}: {verdict['reason']}"


def discard(
    reason: ReasonOption,
    letter_id: OptionalDeadLetterIdArgument = None,
    cause: CauseOption = None,
    partition: PartitionOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Close dead letters without sending them; they stay in the log. A group requires scope moderation.admin."""
    require_selection(letter_id, cause, partition)
    action_id = uuid4()

    async def work() -> Json:
        settings = OperatorSettings()
        actor = await authenticate_operator(settings, Role.OPERATOR if letter_id is not None else Role.ADMIN)
        operator_service = await build_operator_service(settings)
        async with open_connection(settings.url()) as connection:
            selection, _ = await _confirm_selection(
                DeadLetterReader(connection), _build_filter(letter_id, cause, partition), yes, "Discard"
            )
            closed_count = await _run_action(operator_service.discard(action_id, actor, reason, selection), letter_id)
        return {"action": str(action_id), "discarded": closed_count}

    result = run_command(work)
    if as_json:
        print_json(result)
    else:
        stdout_console().print(f"{result['discarded']} discarded. Action {action_id}.", soft_wrap=True)


def reveal(reason: ReasonOption, letter_id: DeadLetterIdArgument, as_json: JsonOption = False) -> None:
    """Show the content of a dead letter; your user id and reason are recorded."""
    dead_letter_key = parse_dead_letter_id(letter_id)

    async def work() -> DeadLetter:
        settings = OperatorSettings()
        actor = await authenticate_operator(settings, Role.OPERATOR)
        operator_service = await build_operator_service(settings)
        async with open_connection(settings.url()) as connection:
            letter = await load_dead_letter(DeadLetterReader(connection), letter_id)
            await require_reason(operator_service.reveal(uuid4(), actor, reason, dead_letter_key))
        return letter

    letter = run_command(work)
    print_dead_letter(letter, decode_for_display(letter.value), as_json)

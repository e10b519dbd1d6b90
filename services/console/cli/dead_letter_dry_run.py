"""``dead-letters dry-run``: predicts the outcome of a redrive. Changes nothing."""

from collections import Counter
from functools import partial

import typer
from rich.console import Console
from rich.text import Text

from services.commands.dry_run import DryRunResult
from services.config.cli import DryRunSettings
from services.console.cli.dead_letters import (
    DEAD_LETTERS_MAX,
    CauseOption,
    Json,
    OptionalDeadLetterIdArgument,
    PartitionOption,
    format_dead_letter_id,
    load_dead_letter,
    require_selection,
)
from services.console.cli.operator_auth import build_operator_service
from services.console.cli.options import JsonOption, progress_bars
from services.console.cli.output import add_row, build_table, print_json, stdout_console
from services.console.cli.runner import open_connection
from services.eventlog.dead_letters import DeadLetter, DeadLetterReader
from services.runtime.command_line import ExitCode, NotFound, run_command

OUTCOMES_SHOWN_MAX = 50
ACCEPTED, REJECTED, DEAD_LETTERED_AGAIN = "accepted", "refused", "dead letter again"


def dry_run(
    letter_id: OptionalDeadLetterIdArgument = None,
    cause: CauseOption = None,
    partition: PartitionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a redrive of each dead letter would do now. Exit code 1 unless all would be accepted."""
    require_selection(letter_id, cause, partition)
    results = run_command(partial(_dry_run_all, letter_id, cause, partition))
    outcomes = [_outcome_json(result) for _, result in results]
    if as_json:
        print_json(
            [
                {"id": format_dead_letter_id(letter), **outcome}
                for (letter, _), outcome in zip(results, outcomes, strict=True)
            ]
        )
    else:
        _print_outcomes(stdout_console(), [letter for letter, _ in results], outcomes)
    if any(outcome["outcome"] != ACCEPTED for outcome in outcomes):
        raise typer.Exit(ExitCode.FINDING)


async def _dry_run_all(
    letter_id: str | None, cause: str | None, partition: int | None
) -> list[tuple[DeadLetter, DryRunResult]]:
    settings = DryRunSettings()
    operator_service = await build_operator_service(settings)
    async with open_connection(settings.url()) as connection:
        failures = DeadLetterReader(connection)
        if letter_id is not None:
            dead_letter_ids = [letter_id]
        else:
            open_dead_letters = await failures.dead_letters(
                DEAD_LETTERS_MAX, reason=cause, partition=partition, is_open=True
            )
            dead_letter_ids = [format_dead_letter_id(letter) for letter in reversed(open_dead_letters)]
        if not dead_letter_ids:
            raise build_none_open(cause, partition)
        with progress_bars() as progress_bar:
            task = progress_bar.add_task("dead letters", total=len(dead_letter_ids))
            results = []
            for dead_letter_id in dead_letter_ids:
                letter = await load_dead_letter(failures, dead_letter_id)
                results.append((letter, await operator_service.dry_run(letter)))
                progress_bar.advance(task)
        return results


def build_none_open(cause: str | None, partition: int | None) -> NotFound:
    """Build the error for a group without open dead letters."""
    of_cause = "" if cause is None else f" with cause {cause}"
    of_partition = "" if partition is None else f" from partition {partition}"
    return NotFound(
        f"there is no open dead letter{of_cause}{of_partition}. Nothing was changed; dead-letters list shows the open"
        " ones"
    )


def _outcome_json(result: DryRunResult) -> Json:
    verdict = result.verdict
    if verdict is None:
        return {"outcome": DEAD_LETTERED_AGAIN, "reason": result.reason, "message": result.message, "events": []}
    outcome = ACCEPTED if verdict["status"] == "accepted" else REJECTED
    events = list(result.events)
    return {"outcome": outcome, "reason": verdict["reason"], "message": verdict["message"], "events": events}


def _print_outcomes(console: Console, letters: list[DeadLetter], outcomes: list[Json]) -> None:
    outcome_table = build_table("dead letter", "outcome", "events or reason", fold="events or reason")
    for letter, outcome in zip(letters[:OUTCOMES_SHOWN_MAX], outcomes, strict=False):
        events_text = ", ".join(outcome["events"]) or "no events"
        explanation = events_text if outcome["outcome"] == ACCEPTED else f"{outcome['reason']}: {outcome['message']}"
        add_row(outcome_table, format_dead_letter_id(letter), outcome["outcome"], explanation)
    console.print(outcome_table)
    print_counts(console, Counter(outcome["outcome"] for outcome in outcomes), "Nothing was written.")


def print_counts(console: Console, counts: Counter[str], closing: str = "") -> None:
    """Print the number of each outcome on one line."""
    counts_text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    console.print(Text(f"{counts_text}. {closing}".strip()), soft_wrap=True)

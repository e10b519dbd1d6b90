"""``dead-letters dry-run``: what would come of dead letters if they were redriven now. Writes nothing."""

from collections import Counter
from functools import partial

import typer
from rich.console import Console
from rich.text import Text

from services.commands.dry_run import Rehearsal
from services.config import RehearsalSettings
from services.console.cli.dead_letters import (
    LETTERS_MAX,
    Cause,
    Json,
    Partition,
    SomeLetterId,
    check_selected,
    id_of,
    letter_of,
)
from services.console.cli.operator_auth import actions_of
from services.console.cli.options import bars
from services.console.cli.runner import FINDING, AsJson, NotThere, out, print_json, reading, row, run, table
from services.eventlog.dead_letters import DeadLetter, Failures

OUTCOMES_SHOWN = 50
ACCEPTED, REFUSED, DEAD_AGAIN = "accepted", "refused", "dead letter again"
NONE_OPEN = "no open dead letter of that kind"


def dry_run(
    letter_id: SomeLetterId = None, cause: Cause = None, partition: Partition = None, as_json: AsJson = False
) -> None:
    """What would come of dead letters if they were redriven now, each alone. Exit code 1 unless all were accepted."""
    check_selected(letter_id, cause, partition)
    done = run(partial(_rehearse, letter_id, cause, partition))
    outcomes = [_outcome(rehearsal) for _, rehearsal in done]
    if as_json:
        print_json([{"id": id_of(letter), **outcome} for (letter, _), outcome in zip(done, outcomes, strict=True)])
    else:
        _show_outcomes(out(), [letter for letter, _ in done], outcomes)
    if any(outcome["outcome"] != ACCEPTED for outcome in outcomes):
        raise typer.Exit(FINDING)


async def _rehearse(
    letter_id: str | None, cause: str | None, partition: int | None
) -> list[tuple[DeadLetter, Rehearsal]]:
    settings = RehearsalSettings()
    actions = await actions_of(settings)
    async with reading(settings.url()) as connection:
        failures = Failures(connection)
        if letter_id is not None:
            wanted = [letter_id]
        else:
            found = await failures.dead_letters(LETTERS_MAX, reason=cause, partition=partition, is_open=True)
            wanted = [id_of(letter) for letter in reversed(found)]
        if not wanted:
            raise NotThere(NONE_OPEN)
        with bars() as progress:
            task = progress.add_task("dead letters", total=len(wanted))
            done = []
            for each in wanted:
                letter = await letter_of(failures, each)
                done.append((letter, await actions.dry_run(letter)))
                progress.advance(task)
        return done


def _outcome(rehearsal: Rehearsal) -> Json:
    verdict = rehearsal.verdict
    if verdict is None:
        return {"outcome": DEAD_AGAIN, "reason": rehearsal.reason, "message": rehearsal.message, "events": []}
    outcome = ACCEPTED if verdict["status"] == "accepted" else REFUSED
    events = list(rehearsal.events)
    return {"outcome": outcome, "reason": verdict["reason"], "message": verdict["message"], "events": events}


def _show_outcomes(console: Console, letters: list[DeadLetter], outcomes: list[Json]) -> None:
    made = table("dead letter", "outcome", "why, or what would happen", fold="why, or what would happen")
    for letter, outcome in zip(letters[:OUTCOMES_SHOWN], outcomes, strict=False):
        happens = ", ".join(outcome["events"]) or "nothing new"
        why = happens if outcome["outcome"] == ACCEPTED else f"{outcome['reason']}: {outcome['message']}"
        row(made, id_of(letter), outcome["outcome"], why)
    console.print(made)
    show_counts(console, Counter(outcome["outcome"] for outcome in outcomes), "Nothing was written.")


def show_counts(console: Console, counts: Counter[str], then: str = "") -> None:
    """How many came to what, in one line."""
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    console.print(Text(f"{said}. {then}".strip()), soft_wrap=True)

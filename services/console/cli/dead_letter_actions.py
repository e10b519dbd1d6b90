"""``dead-letters redrive|discard|reveal``: what operators do, kept with who and why, by the console's own code."""

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
from aiokafka.errors import KafkaError

from services.config import OperatorSettings
from services.console.cli.dead_letter_dry_run import ACCEPTED, DEAD_AGAIN, NONE_OPEN, REFUSED, show_counts
from services.console.cli.dead_letters import (
    LETTERS_MAX,
    Cause,
    Json,
    LetterId,
    Partition,
    SomeLetterId,
    check_selected,
    letter_of,
    place_of,
    show,
)
from services.console.cli.operator_auth import Why, actions_of, kept, operator
from services.console.cli.options import FAILURES, bars, in_words
from services.console.cli.runner import (
    FINDING,
    AsJson,
    Away,
    Connection,
    NotThere,
    Refused,
    out,
    print_json,
    reading,
    run,
)
from services.console.cli.server_watchdog import attended, kafka
from services.console.masking import readable
from services.console.pipeline_status import count
from services.console.redriver import LETTER_BYTES_MAX, Redriver
from services.console.roles import Role
from services.eventlog.dead_letters import DeadLetter, Failures, Selection
from services.eventlog.operator_actions import AlreadySettled, action_of

UNDECIDED, NOT_LOOKED_AT = "not decided yet", "more, not looked at"
POLL_SECONDS = 0.1
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before acting on a group.")]


def redrive(
    why: Why,
    letter_id: SomeLetterId = None,
    cause: Cause = None,
    partition: Partition = None,
    yes: Yes = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for verdicts.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Send dead letters again, in their order, each once. Exit code 1 unless all are sent, and accepted in time."""
    check_selected(letter_id, cause, partition)
    action = uuid4()

    async def work() -> Json:
        settings = OperatorSettings()
        actor = await operator(settings, Role.OPERATOR)
        actions = await actions_of(settings)
        async with reading(settings.url()) as connection:
            wanted = _wanted(letter_id, cause, partition)
            selection, left_out = await _selection(Failures(connection), wanted, yes, "Redrive", LETTER_BYTES_MAX)
            async with attended(kafka(settings.kafka_bootstrap)):
                settled = await _settled(actions.redrive(action, actor, why, selection))
            redriver = Redriver(settings.url(), settings.kafka_bootstrap, settings.topic_prefix)
            await _send(connection, redriver, action, settled)
            outcomes = await _outcomes(Failures(connection), redriver.commands, action, wait)
            if settled > outcomes.total():
                outcomes[NOT_LOOKED_AT] = settled - outcomes.total()
        return {"action": str(action), "redriven": settled, "left_out": left_out, "outcomes": dict(outcomes)}

    done = run(work)
    if as_json:
        print_json(done)
    else:
        show_counts(out(), Counter(done["outcomes"]), f"Action {action}.")
    if done["outcomes"].keys() != {ACCEPTED} or done["left_out"]:
        raise typer.Exit(FINDING)


def _wanted(letter_id: str | None, cause: str | None, partition: int | None) -> Selection:
    return Selection(None if letter_id is None else place_of(letter_id), cause, partition)


async def _selection(
    failures: Failures, wanted: Selection, yes: bool, deed: str, bytes_max: int | None = None
) -> tuple[Selection, int]:
    """What is to be acted on, of a group what is open now, and how many it leaves out. Raises NotThere, Refused."""
    if wanted.letter is not None:
        await letter_of(failures, "{}-{}".format(*wanted.letter))
    chosen = await failures.selected(wanted, bytes_max)
    if chosen.left_out:
        more = " …" if chosen.left_out > len(chosen.named) else ""
        typer.echo(f"left out, too large to carry a redrive's mark: {', '.join(chosen.named)}{more}", err=True)
    if wanted.letter is not None:
        return wanted, chosen.left_out
    if chosen.count == 0:
        raise NotThere(NONE_OPEN)
    if not yes:
        asked = f"{deed} {count(chosen.count, 'dead letter')}?"
        if not sys.stdin.isatty():
            raise Refused(f"{asked} Say --yes")
        typer.confirm(asked, abort=True, err=True)
    return replace(wanted, until=chosen.until), chosen.left_out


async def _settled(deed: Awaitable[int]) -> int:
    """How many dead letters a deed settled. Raises Refused, NotThere, Away."""
    try:
        return await kept(deed)
    except AlreadySettled:
        raise NotThere("nothing of this is open: redriven or discarded meanwhile, or too large to redrive") from None
    except (KafkaError, TimeoutError) as error:
        raise Away(f"Kafka does not answer: {type(error).__name__}. Nothing was done") from None


async def _send(connection: Connection, redriver: Redriver, action: UUID, settled: int) -> None:
    """Send what the action has decided, or watch the console at it, until all is on the topic. Raises Away."""
    sending = asyncio.create_task(_drained(redriver))
    try:
        async with attended(kafka(redriver.bootstrap)):
            with bars() as progress:
                task = progress.add_task("on the topic", total=settled)
                while not sending.done():
                    await asyncio.wait({sending}, timeout=POLL_SECONDS)
                    kept = await action_of(connection, action)
                    progress.update(task, completed=0 if kept is None else kept.redriven)
            sending.result()
    except FAILURES as error:
        sending.cancel()
        left = f"action {action} is kept, and whoever redrives next sends what is not on the topic yet"
        raise Away(f"{in_words(error)}: {left}") from None


async def _drained(redriver: Redriver) -> None:
    while not await redriver.drain():
        await asyncio.sleep(POLL_SECONDS)


async def _outcomes(failures: Failures, commands: str, action: UUID, seconds: float) -> Counter[str]:
    """What came of the action's records, waiting so long for those that are not decided."""
    deadline = time.monotonic() + seconds
    waiting = await failures.dead_letters(LETTERS_MAX, action=action)
    counts: Counter[str] = Counter()
    while True:
        undecided = []
        for letter in waiting:
            outcome = await _outcome(failures, commands, letter)
            if outcome is None:
                undecided.append(letter)
            else:
                counts[outcome] += 1
        waiting = undecided
        if not waiting or time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_SECONDS)
    if waiting:
        counts[UNDECIDED] = len(waiting)
    return counts


async def _outcome(failures: Failures, commands: str, letter: DeadLetter) -> str | None:
    assert letter.redriven_partition is not None
    assert letter.redriven_offset is not None
    found = await failures.outcome(commands, letter.redriven_partition, letter.redriven_offset)
    if found is None:
        return None
    if found.verdict is None:
        return DEAD_AGAIN
    verdict = orjson.loads(found.verdict)
    return ACCEPTED if verdict["status"] == "accepted" else f"{REFUSED}: {verdict['reason']}"


def discard(
    why: Why,
    letter_id: SomeLetterId = None,
    cause: Cause = None,
    partition: Partition = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Close dead letters for good; they stay in the log. A group takes a token with scope moderation.admin."""
    check_selected(letter_id, cause, partition)
    action = uuid4()

    async def work() -> Json:
        settings = OperatorSettings()
        actor = await operator(settings, Role.OPERATOR if letter_id is not None else Role.ADMIN)
        actions = await actions_of(settings)
        async with reading(settings.url()) as connection:
            selection, _ = await _selection(Failures(connection), _wanted(letter_id, cause, partition), yes, "Discard")
            settled = await _settled(actions.discard(action, actor, why, selection))
        return {"action": str(action), "discarded": settled}

    done = run(work)
    if as_json:
        print_json(done)
    else:
        out().print(f"{done['discarded']} discarded. Action {action}.", soft_wrap=True)


def reveal(why: Why, letter_id: LetterId, as_json: AsJson = False) -> None:
    """The content of a dead letter as it came; that you looked at it is kept."""
    place = place_of(letter_id)

    async def work() -> DeadLetter:
        settings = OperatorSettings()
        actor = await operator(settings, Role.OPERATOR)
        actions = await actions_of(settings)
        async with reading(settings.url()) as connection:
            letter = await letter_of(Failures(connection), letter_id)
            await kept(actions.reveal(uuid4(), actor, why, place))
        return letter

    letter = run(work)
    show(letter, readable(letter.value), as_json)

"""``dead-letters list|show``: what nobody could be answered, by cause and one by one. Writes nothing."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from services.console.cli.runner import (
    AsJson,
    Connection,
    NotThere,
    of_log,
    out,
    plain,
    print_json,
    row,
    show_facts,
    table,
    time_text,
)
from services.console.masking import masked
from services.console.redriver import headers_of
from services.eventlog.dead_letters import DeadLetter, Failures, Group

Json = dict[str, Any]
LETTERS = 50
LETTERS_MAX = 10_000
KEY_BYTES_MAX = 200
PARTITION_MAX = 1_000_000
LetterId = Annotated[str, typer.Argument(metavar="ID", help="SHARD-NUMBER, as dead-letters list shows it.")]
SomeLetterId = Annotated[str | None, typer.Argument(metavar="ID", help="One, by its SHARD-NUMBER.")]
Cause = Annotated[str | None, typer.Option(help="All open ones of a cause.")]
Partition = Annotated[
    int | None, typer.Option(min=0, max=PARTITION_MAX, help="All open ones of a partition of the commands topic.")
]


def place_of(letter_id: str) -> tuple[int, int]:
    """(shard, number) of an id. Raises typer.BadParameter."""
    shard, _, number = letter_id.partition("-")
    if not (shard.isdecimal() and number.isdecimal() and len(shard) <= 4 and len(number) <= 18):
        raise typer.BadParameter("a dead letter's ID is SHARD-NUMBER, such as 4-17, as dead-letters list shows it")
    return int(shard), int(number)


async def letter_of(failures: Failures, letter_id: str) -> DeadLetter:
    """One dead letter with its contents. Raises NotThere."""
    letter = await failures.dead_letter(*place_of(letter_id))
    if letter is None:
        raise NotThere(f"there is no dead letter {letter_id}")
    return letter


def list_letters(
    cause: Annotated[str | None, typer.Option(help="Only those of this cause.")] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, max=PARTITION_MAX, help="Only those of this partition.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were redriven or discarded.")] = False,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Only older ones than this.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LETTERS_MAX, help="At most so many.")] = LETTERS,
    as_json: AsJson = False,
) -> None:
    """Open dead letters, by cause and one by one, the newest first."""

    async def look(connection: Connection) -> tuple[list[Group], list[DeadLetter]]:
        failures = Failures(connection)
        last = None if before is None else await letter_of(failures, before)
        found = await failures.dead_letters(
            limit + 1,
            reason=cause,
            partition=partition,
            is_open=None if every else True,
            before=None if last is None else (last.recorded_at, last.shard, last.number),
        )
        return await failures.groups(), found

    groups, found = of_log(look)
    letters, more = found[:limit], len(found) > limit
    if as_json:
        print_json(
            {
                "open": sum(group.count for group in groups),
                "causes": [_group_document(group) for group in groups],
                "dead_letters": [letter_document(letter) for letter in letters],
                "more": more,
            }
        )
        return
    console = out()
    _show_groups(console, groups)
    if letters:
        _show_letters(console, letters)
    if more:
        console.print(Text(f"There is more: the same with --before {id_of(letters[-1])}.", style="dim"))


def _show_groups(console: Console, groups: list[Group]) -> None:
    if not groups:
        console.print(Text("No dead letter is open.", style="green"))
        return
    made = table("cause", "open", "oldest (UTC)", "newest (UTC)", "partitions", right=("open",), fold="partitions")
    for group in groups:
        partitions = ", ".join(map(str, sorted(group.partitions)))
        row(made, group.reason, group.count, _minute(group.first), _minute(group.last), partitions)
    console.print(made)


def _show_letters(console: Console, letters: list[DeadLetter]) -> None:
    made = table("dead letter", "died (UTC)", "cause", "record", "state", fold="cause")
    for letter in letters:
        place = f"{letter.partition} @ {letter.offset}"
        row(made, id_of(letter), _minute(letter.recorded_at), letter.reason, place, _state(letter))
    console.print(made)
    console.print(Text("record: partition @ offset on the commands topic.", style="dim"))


def id_of(letter: DeadLetter) -> str:
    """SHARD-NUMBER."""
    return f"{letter.shard}-{letter.number}"


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _state(letter: DeadLetter) -> str:
    return {None: "open", "redrive": "redriven", "discard": "discarded"}.get(letter.settled, str(letter.settled))


def _group_document(group: Group) -> Json:
    return {
        "cause": group.reason,
        "open": group.count,
        "oldest": time_text(group.first),
        "newest": time_text(group.last),
        "partitions": sorted(group.partitions),
    }


def letter_document(letter: DeadLetter) -> Json:
    """A dead letter without any content of the record."""
    redriven = letter.redriven_partition is not None
    return {
        "id": id_of(letter),
        "state": _state(letter),
        "cause": letter.reason,
        "message": letter.message,
        "record": {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset},
        "appended_at": time_text(_appended_at(letter)),
        "recorded_at": time_text(letter.recorded_at),
        "bytes": letter.size,
        "action": None if letter.action is None else str(letter.action),
        "redriven_to": {"partition": letter.redriven_partition, "offset": letter.redriven_offset} if redriven else None,
    }


def _appended_at(letter: DeadLetter) -> datetime:
    return datetime.fromtimestamp(letter.append_time / 1_000, UTC)


def show_letter(letter_id: LetterId, as_json: AsJson = False) -> None:
    """One dead letter: where it was, why it died, its shape with letters as x and digits as 9."""

    async def look(connection: Connection) -> DeadLetter:
        return await letter_of(Failures(connection), letter_id)

    place_of(letter_id)
    show(of_log(look), None, as_json)


def show(letter: DeadLetter, content: str | None, as_json: bool) -> None:
    """A dead letter with its shape, or with its ``content`` where somebody had a reason to see it."""
    headers = [(name, masked(value, KEY_BYTES_MAX)) for name, value in headers_of(letter.headers or b"[]")]
    shape = {"key": masked(letter.key, KEY_BYTES_MAX), "headers": headers, "value": masked(letter.value)}
    if as_json:
        print_json({**letter_document(letter), "shape": shape, **({} if content is None else {"content": content})})
        return
    console = out()
    console.print(Text(f"dead letter {id_of(letter)}", style="bold"), Text(_state(letter)))
    facts = {
        "cause": letter.reason,
        "message": letter.message,
        "record": f"{letter.topic} partition {letter.partition} offset {letter.offset}",
        "appended": time_text(_appended_at(letter)),
        "died": time_text(letter.recorded_at),
        "size": f"{letter.size} bytes",
        "key": shape["key"] or None,
        **{f"header {name}": value for name, value in headers},
    }
    show_facts(console, facts)
    console.print(Text("shape, letters as x and digits as 9:" if content is None else "content:", style="dim"))
    console.print(Text(plain(shape["value"] if content is None else content) or "(no value)"), soft_wrap=True)


def check_selected(letter_id: str | None, cause: str | None, partition: int | None) -> None:
    """Raise typer.BadParameter unless one dead letter or a group is named."""
    if letter_id is not None:
        place_of(letter_id)
    if (letter_id is None) == (cause is None and partition is None):
        raise typer.BadParameter("say which: an ID, or --cause or --partition")

"""``dead-letters list|show``: dead letters by cause and one by one. Changes nothing."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from schemas.fields import format_time
from services.console.cli.options import JsonOption
from services.console.cli.output import add_row, build_table, print_fields, print_json, stdout_console
from services.console.cli.runner import Connection, with_connection
from services.console.masking import mask, mask_key
from services.console.redriver import decode_headers
from services.eventlog.dead_letters import DeadLetter, DeadLetterGroup, DeadLetterReader
from services.runtime.command_line import NotFound, escape_unprintable

Json = dict[str, Any]
DEAD_LETTERS_DEFAULT = 50
DEAD_LETTERS_MAX = 10_000
PARTITION_MAX = 1_000_000
HEADER_BYTES_MAX = 200
DeadLetterIdArgument = Annotated[str, typer.Argument(metavar="ID", help="SHARD-NUMBER, see dead-letters list.")]
OptionalDeadLetterIdArgument = Annotated[
    str | None, typer.Argument(metavar="ID", help="One dead letter: SHARD-NUMBER.")
]
CauseOption = Annotated[str | None, typer.Option(help="All open dead letters with this cause.")]
PartitionOption = Annotated[
    int | None, typer.Option(min=0, max=PARTITION_MAX, help="All open dead letters from this partition.")
]


def parse_dead_letter_id(letter_id: str) -> tuple[int, int]:
    """Parse an id into (shard, number). Raises typer.BadParameter."""
    shard, _, number = letter_id.partition("-")
    if not (shard.isdecimal() and number.isdecimal() and len(shard) <= 4 and len(number) <= 18):
        raise typer.BadParameter(
            f"{letter_id} is not the id of a dead letter: it is SHARD-NUMBER, such as 4-17, as printed by"
            " dead-letters list"
        )
    return int(shard), int(number)


async def load_dead_letter(failures: DeadLetterReader, letter_id: str) -> DeadLetter:
    """Load one dead letter with its contents. Raises NotFound."""
    letter = await failures.dead_letter(*parse_dead_letter_id(letter_id))
    if letter is None:
        raise NotFound(f"there is no dead letter {letter_id}. List them with dead-letters list")
    return letter


def list_dead_letters(
    cause: Annotated[str | None, typer.Option(help="Only this cause.")] = None,
    partition: Annotated[int | None, typer.Option(min=0, max=PARTITION_MAX, help="Only this partition.")] = None,
    include_closed: Annotated[bool, typer.Option("--all", help="Include redriven and discarded ones.")] = False,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Only older ones than this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=DEAD_LETTERS_MAX, help="Maximum number.")] = DEAD_LETTERS_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """List open dead letters, by cause and one by one, newest first."""

    async def read_dead_letters(connection: Connection) -> tuple[list[DeadLetterGroup], list[DeadLetter]]:
        failures = DeadLetterReader(connection)
        last_shown = None if before is None else await load_dead_letter(failures, before)
        rows = await failures.dead_letters(
            limit + 1,
            reason=cause,
            partition=partition,
            is_open=None if include_closed else True,
            before=None if last_shown is None else (last_shown.recorded_at, last_shown.shard, last_shown.number),
        )
        return await failures.groups(), rows

    groups, rows = with_connection(read_dead_letters)
    letters, more = rows[:limit], len(rows) > limit
    if as_json:
        print_json(
            {
                "open": sum(group.count for group in groups),
                "causes": [_group_json(group) for group in groups],
                "dead_letters": [dead_letter_json(letter) for letter in letters],
                "more": more,
            }
        )
        return
    console = stdout_console()
    _print_groups(console, groups)
    if letters:
        _print_dead_letters(console, letters)
    if more:
        console.print(Text(f"For older ones add --before {format_dead_letter_id(letters[-1])}.", style="dim"))


def _print_groups(console: Console, groups: list[DeadLetterGroup]) -> None:
    if not groups:
        console.print(Text("No dead letter is open.", style="green"))
        return
    group_table = build_table(
        "cause", "open", "oldest (UTC)", "newest (UTC)", "partitions", right=("open",), fold="partitions"
    )
    for group in groups:
        partitions = ", ".join(map(str, sorted(group.partitions)))
        add_row(
            group_table, group.reason, group.count, _format_minute(group.first), _format_minute(group.last), partitions
        )
    console.print(group_table)


def _print_dead_letters(console: Console, letters: list[DeadLetter]) -> None:
    dead_letter_table = build_table("dead letter", "recorded (UTC)", "cause", "record", "state", fold="cause")
    for letter in letters:
        coordinates = f"{letter.partition} @ {letter.offset}"
        add_row(
            dead_letter_table,
            format_dead_letter_id(letter),
            _format_minute(letter.recorded_at),
            letter.reason,
            coordinates,
            _state_name(letter),
        )
    console.print(dead_letter_table)
    console.print(Text("Column record: partition @ offset on the commands topic.", style="dim"))


def format_dead_letter_id(letter: DeadLetter) -> str:
    """Format the id as SHARD-NUMBER."""
    return f"{letter.shard}-{letter.number}"


def _format_minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _state_name(letter: DeadLetter) -> str:
    return {None: "open", "redrive": "redriven", "discard": "discarded"}.get(letter.resolution, str(letter.resolution))


def _group_json(group: DeadLetterGroup) -> Json:
    return {
        "cause": group.reason,
        "open": group.count,
        "oldest": format_time(group.first),
        "newest": format_time(group.last),
        "partitions": sorted(group.partitions),
    }


def dead_letter_json(letter: DeadLetter) -> Json:
    """Convert a dead letter to JSON, without the record's content."""
    redriven = letter.redriven_partition is not None
    return {
        "id": format_dead_letter_id(letter),
        "state": _state_name(letter),
        "cause": letter.reason,
        "message": letter.message,
        "record": {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset},
        "appended_at": format_time(_appended_at(letter)),
        "recorded_at": format_time(letter.recorded_at),
        "bytes": letter.size,
        "action": None if letter.action_id is None else str(letter.action_id),
        "redriven_to": {"partition": letter.redriven_partition, "offset": letter.redriven_offset} if redriven else None,
    }


def _appended_at(letter: DeadLetter) -> datetime:
    return datetime.fromtimestamp(letter.append_time / 1_000, UTC)


def show_dead_letter(letter_id: DeadLetterIdArgument, as_json: JsonOption = False) -> None:
    """Show one dead letter: position, cause and masked content, with letters as x and digits as 9."""

    async def read_dead_letter(connection: Connection) -> DeadLetter:
        return await load_dead_letter(DeadLetterReader(connection), letter_id)

    parse_dead_letter_id(letter_id)
    print_dead_letter(with_connection(read_dead_letter), None, as_json)


def print_dead_letter(letter: DeadLetter, content: str | None, as_json: bool) -> None:
    """Print a dead letter with its masked content, or with ``content`` after a reveal."""
    headers = [(name, mask(value, HEADER_BYTES_MAX)) for name, value in decode_headers(letter.headers or b"[]")]
    masked = {"key": mask_key(letter.key), "headers": headers, "value": mask(letter.value)}
    if as_json:
        print_json({**dead_letter_json(letter), "masked": masked, **({} if content is None else {"content": content})})
        return
    console = stdout_console()
    console.print(Text(f"dead letter {format_dead_letter_id(letter)}", style="bold"), Text(_state_name(letter)))
    fields = {
        "cause": letter.reason,
        "message": letter.message,
        "record": f"{letter.topic} partition {letter.partition} offset {letter.offset}",
        "appended": format_time(_appended_at(letter)),
        "recorded": format_time(letter.recorded_at),
        "size": f"{letter.size} bytes",
        "key": masked["key"] or None,
        **{f"header {name}": value for name, value in headers},
    }
    print_fields(console, fields)
    console.print(Text("masked content, letters as x and digits as 9:" if content is None else "content:", style="dim"))
    console.print(
        Text(escape_unprintable(masked["value"] if content is None else content) or "(no value)"), soft_wrap=True
    )


def require_selection(letter_id: str | None, cause: str | None, partition: int | None) -> None:
    """Raise typer.BadParameter unless either one dead letter or a group is selected."""
    if letter_id is not None:
        parse_dead_letter_id(letter_id)
    if (letter_id is None) == (cause is None and partition is None):
        raise typer.BadParameter("select either one dead letter by ID, or a group by --cause or --partition")

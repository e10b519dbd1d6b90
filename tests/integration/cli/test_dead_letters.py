"""``dead-letters``: listed without content, dry-run without a trace, redriven and discarded with a recorded reason."""

import asyncio
import json
import uuid
from typing import Any

import asyncpg
import pytest

from schemas.topics import MIB
from tests.fixtures.canvas.adapter import World
from tests.fixtures.dead_letter_fixtures import append_dead_letters
from tests.fixtures.fault_helpers import wait_until_idle
from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine

Json = dict[str, Any]
REASON = "the exporter was fixed"
WAIT = ("--wait", "60")
SECRET = "Geheimnis der Ada Lovelace"


class DeadLetterCli:
    """The command line with a token, and the database; each call creates dead letters with a new cause."""

    def __init__(self, by_role: dict[str, CommandLine], system: System, connection: Any) -> None:
        self.system = system
        self.connection = connection
        self.by_role = by_role
        self.operator = by_role["operator"]

    async def create_dead_letters(self, *values: bytes) -> tuple[str, list[str]]:
        """Insert dead letters with a new cause; return the cause and their ids."""
        cause = f"cause_{uuid.uuid4().hex[:8]}"
        letters = await append_dead_letters(self.system, 5, values, cause)
        return cause, [f"{shard}-{number}" for shard, number in letters]

    async def count_rows(self) -> list[int]:
        tables = ("event", "verdict", "dead_letter", "operator_action", "dead_letter_settled", "redriven")
        return [await self.connection.fetchval(f"select count(*) from {table}") for table in tables]

    async def get_action(self, action: str) -> Json:
        row = await self.connection.fetchrow("select * from operator_action where id = $1", uuid.UUID(action))
        return dict(row)


@pytest.fixture
async def dead_letter_cli(cli_by_role: dict[str, CommandLine], running_system: System) -> Any:
    # Only this test may change the counted rows.
    await wait_until_idle(running_system)
    connection = await asyncpg.connect(running_system.database_url)
    yield DeadLetterCli(cli_by_role, running_system, connection)
    await connection.close()


def readable_command() -> bytes:
    """Return a command that this version can read."""
    return json.dumps(World().command("upsert_course", {"name": "Late"})).encode()


def none_open(cause: str) -> str:
    return (
        f"there is no open dead letter with cause {cause}. Nothing was changed; dead-letters list shows the open ones\n"
    )


async def test_dead_letters_are_listed_and_shown_without_content(dead_letter_cli: DeadLetterCli) -> None:
    cause, ids = await dead_letter_cli.create_dead_letters(b"{", json.dumps({"comment": SECRET}).encode())
    listed, text, shown, unknown = await asyncio.gather(
        dead_letter_cli.operator.run_in_process("dead-letters", "list", "--cause", cause, "--limit", "1", "--json"),
        dead_letter_cli.operator.run_in_process("dead-letters", "list", "--cause", cause),
        dead_letter_cli.operator.run_in_process("dead-letters", "show", ids[1]),
        dead_letter_cli.operator.run_in_process("dead-letters", "show", "5-999999"),
    )

    assert [letter["id"] for letter in listed.json()["dead_letters"]] == [ids[1]]
    assert listed.json()["more"] is True
    assert {"cause": cause, "open": 2}.items() <= next(
        group for group in listed.json()["causes"] if group["cause"] == cause
    ).items()
    assert (text.exit_code, shown.exit_code) == (0, 0)
    assert all(letter in text.stdout for letter in ids)
    assert '{"comment": "xxxxxxxxx xxx xxx xxxxxxxx"}' in shown.stdout
    assert (unknown.exit_code, unknown.stderr) == (
        4,
        "there is no dead letter 5-999999. List them with dead-letters list\n",
    )
    assert SECRET not in listed.stdout + text.stdout + shown.stdout


async def test_dry_run_prints_each_outcome_and_writes_no_rows(dead_letter_cli: DeadLetterCli) -> None:
    cause, ids = await dead_letter_cli.create_dead_letters(readable_command(), b"{")
    before = await dead_letter_cli.count_rows()

    group, one = await asyncio.gather(
        dead_letter_cli.operator.run_in_process("dead-letters", "dry-run", "--cause", cause, "--json"),
        dead_letter_cli.operator.run_in_process("dead-letters", "dry-run", ids[0]),
    )

    assert [(row["id"], row["outcome"]) for row in group.json()] == [
        (ids[0], "accepted"), (ids[1], "dead letter again"),
    ]  # fmt: skip
    assert group.json()[0]["events"] == ["course_updated"]
    assert (group.exit_code, one.exit_code) == (1, 0)
    assert "1 accepted. Nothing was written." in one.stdout
    assert await dead_letter_cli.count_rows() == before
    nothing = await dead_letter_cli.operator.run_in_process("dead-letters", "dry-run", "--cause", "unheard_of")
    assert (nothing.exit_code, nothing.stderr) == (4, none_open("unheard_of"))


async def test_group_is_redriven_once_and_user_and_reason_are_recorded(dead_letter_cli: DeadLetterCli) -> None:
    cause, ids = await dead_letter_cli.create_dead_letters(readable_command(), readable_command())
    redrive = ("dead-letters", "redrive", "--cause", cause, "--reason", REASON, *WAIT)

    unconfirmed = await dead_letter_cli.operator.run_in_process(*redrive)
    done = await dead_letter_cli.operator.run_in_process(*redrive, "--yes", "--json")
    again = await dead_letter_cli.operator.run_in_process(*redrive, "--yes")

    assert (unconfirmed.exit_code, unconfirmed.stderr) == (
        2,
        "Redrive 2 dead letters? Confirm with --yes. Nothing was changed\n",
    )
    assert done.exit_code == 0, done.stderr
    assert (done.json()["redriven"], done.json()["outcomes"]) == (2, {"accepted": 2})
    assert (again.exit_code, again.stderr) == (4, none_open(cause))
    action = await dead_letter_cli.get_action(done.json()["action"])
    assert (action["kind"], action["root_account"], action["user_id"], action["reason"]) == ("redrive", 1, 77, REASON)


async def test_oversized_dead_letters_are_listed_but_not_redriven(dead_letter_cli: DeadLetterCli) -> None:
    cause, ids = await dead_letter_cli.create_dead_letters(readable_command(), b"{" * (MIB - 200))
    redrive = ("dead-letters", "redrive", "--cause", cause, "--reason", REASON)

    unconfirmed = await dead_letter_cli.operator.run_in_process(*redrive)
    done = await dead_letter_cli.operator.run_in_process(*redrive, "--yes", "--json")
    again = await dead_letter_cli.operator.run_in_process(*redrive, "--yes")

    named = f"not included, too large with the redrive headers: {ids[1]}\n"
    assert unconfirmed.stderr == f"{named}Redrive 1 dead letter? Confirm with --yes. Nothing was changed\n"
    assert (done.exit_code, done.stderr, done.json()["redriven"], done.json()["left_out"]) == (1, named, 1, 1)
    assert (again.exit_code, again.stderr) == (4, named + none_open(cause))


async def test_repeated_dead_letter_sets_exit_code_1_and_can_be_discarded(dead_letter_cli: DeadLetterCli) -> None:
    _, ids = await dead_letter_cli.create_dead_letters(b"{")
    redrive = ("dead-letters", "redrive", ids[0], "--reason", REASON, *WAIT)
    refused = await dead_letter_cli.operator.run_in_process(*redrive)
    redriven = await dead_letter_cli.operator.run_in_process(*redrive, "--force")
    twice = await dead_letter_cli.operator.run_in_process("dead-letters", "discard", ids[0], "--reason", REASON)
    _, others = await dead_letter_cli.create_dead_letters(SECRET.encode())
    revealed = await dead_letter_cli.operator.run_in_process("dead-letters", "reveal", others[0], "--reason", REASON)
    discarded = await dead_letter_cli.operator.run_in_process(
        "dead-letters", "discard", others[0], "--reason", REASON, "--json"
    )

    assert refused.exit_code == 2
    assert "A redrive would make it a dead letter again. Nothing was changed" in refused.stderr
    assert redriven.exit_code == 1
    assert redriven.stdout.startswith("1 dead letter again. Action ")
    assert (twice.exit_code, twice.stdout) == (4, "")
    assert twice.stderr.startswith(f"dead letter {ids[0]} is not open: redriven or discarded before")
    assert twice.stderr.endswith(f"dead-letters show {ids[0]} shows the state\n")
    assert SECRET in revealed.stdout
    assert discarded.json()["discarded"] == 1
    assert (await dead_letter_cli.get_action(discarded.json()["action"]))["kind"] == "discard"
    kinds = await dead_letter_cli.connection.fetch(
        "select kind from operator_action where detail->>'dead_letter' = $1 order by acted_at", others[0]
    )
    assert [row["kind"] for row in kinds] == ["reveal", "discard"]


async def test_invalid_or_unauthorized_actions_change_no_rows(dead_letter_cli: DeadLetterCli) -> None:
    cause, ids = await dead_letter_cli.create_dead_letters(b"{")
    before = await dead_letter_cli.count_rows()
    reason = ("--reason", REASON)
    forged = CommandLine({**dead_letter_cli.operator.environment, "OPERATOR_TOKEN": "abc"})

    refused = await asyncio.gather(
        dead_letter_cli.by_role["viewer"].run_in_process("dead-letters", "redrive", ids[0], *reason),
        dead_letter_cli.operator.run_in_process("dead-letters", "discard", "--cause", cause, "--yes", *reason),
        dead_letter_cli.operator.run_in_process("dead-letters", "redrive", ids[0], "--force", "--reason", " "),
        dead_letter_cli.operator.run_in_process("dead-letters", "redrive", *reason),
        forged.run_in_process("dead-letters", "discard", ids[0], *reason),
    )

    unavailable = await dead_letter_cli.operator.run(
        "dead-letters", "redrive", ids[0], *reason, "--force", KAFKA_BOOTSTRAP="127.0.0.1:1"
    )

    assert [ran.exit_code for ran in refused] == [2, 2, 2, 2, 2]
    assert (unavailable.exit_code, unavailable.stderr) == (
        3,
        "Kafka does not answer: KafkaConnectionError. Nothing was changed\n",
    )
    assert "scope moderation.operator" in refused[0].stderr
    assert "scope moderation.admin" in refused[1].stderr
    assert "OPERATOR_TOKEN was rejected" in refused[4].stderr
    assert await dead_letter_cli.count_rows() == before

"""``dead-letters`` from the command line: looked at without content, tried without a trace, redriven and discarded with
a reason that is kept."""

import asyncio
import json
import uuid
from typing import Any

import asyncpg
import pytest

from services.kafka.topics import MIB
from tests.cases.adapter import World
from tests.cli.conftest import CommandLine
from tests.conftest import System
from tests.console.letters import dead
from tests.faults.steps import until_at_rest

Json = dict[str, Any]
WHY = "the exporter was mended"
WAIT = ("--wait", "60")
SECRET = "Geheimnis der Ada Lovelace"


class Office:
    """The command line with a token, and the database beside it. Each asks for a cause of its own."""

    def __init__(self, by_role: dict[str, CommandLine], system: System, connection: Any) -> None:
        self.system = system
        self.connection = connection
        self.by_role = by_role
        self.operator = by_role["operator"]

    async def dead(self, *values: bytes) -> tuple[str, list[str]]:
        """Dead letters of a cause of their own: the cause, and their ids."""
        cause = f"cause_{uuid.uuid4().hex[:8]}"
        letters = await dead(self.system, 5, values, cause)
        return cause, [f"{shard}-{number}" for shard, number in letters]

    async def counts(self) -> list[int]:
        tables = ("event", "verdict", "dead_letter", "operator_action", "dead_letter_settled", "redriven")
        return [await self.connection.fetchval(f"select count(*) from {table}") for table in tables]

    async def action(self, action: str) -> Json:
        row = await self.connection.fetchrow("select * from operator_action where id = $1", uuid.UUID(action))
        return dict(row)


@pytest.fixture
async def office(operators: dict[str, CommandLine], running: System) -> Any:
    # What is counted is to change by what is done here alone.
    await until_at_rest(running)
    connection = await asyncpg.connect(running.database_url)
    yield Office(operators, running, connection)
    await connection.close()


def readable() -> bytes:
    """A command that the version which runs can read."""
    return json.dumps(World().command("upsert_course", {"name": "Late"})).encode()


async def test_letters_are_listed_and_shown_without_their_content(office: Office) -> None:
    cause, ids = await office.dead(b"{", json.dumps({"comment": SECRET}).encode())
    listed, text, shown, unknown = await asyncio.gather(
        office.operator.here("dead-letters", "list", "--cause", cause, "--limit", "1", "--json"),
        office.operator.run("dead-letters", "list", "--cause", cause),
        office.operator.here("dead-letters", "show", ids[1]),
        office.operator.here("dead-letters", "show", "5-999999"),
    )

    assert [letter["id"] for letter in listed.json()["dead_letters"]] == [ids[1]]
    assert listed.json()["more"] is True
    assert {"cause": cause, "open": 2}.items() <= next(
        group for group in listed.json()["causes"] if group["cause"] == cause
    ).items()
    assert (text.code, shown.code) == (0, 0)
    assert all(letter in text.out for letter in ids)
    assert '{"comment": "xxxxxxxxx xxx xxx xxxxxxxx"}' in shown.out
    assert (unknown.code, unknown.err) == (4, "there is no dead letter 5-999999\n")
    assert SECRET not in listed.out + text.out + shown.out


async def test_a_dry_run_tells_what_would_come_of_each_and_writes_nothing(office: Office) -> None:
    cause, ids = await office.dead(readable(), b"{")
    before = await office.counts()

    group, one = await asyncio.gather(
        office.operator.run("dead-letters", "dry-run", "--cause", cause, "--json"),
        office.operator.here("dead-letters", "dry-run", ids[0]),
    )

    assert [(row["id"], row["outcome"]) for row in group.json()] == [
        (ids[0], "accepted"), (ids[1], "dead letter again"),
    ]  # fmt: skip
    assert group.json()[0]["events"] == ["course_updated"]
    assert (group.code, one.code) == (1, 0)
    assert "1 accepted. Nothing was written." in one.out
    assert await office.counts() == before
    nothing = await office.operator.here("dead-letters", "dry-run", "--cause", "unheard_of")
    assert (nothing.code, nothing.err) == (4, "no open dead letter of that kind\n")


async def test_a_group_is_redriven_once_and_who_and_why_are_kept(office: Office) -> None:
    cause, ids = await office.dead(readable(), readable())
    redrive = ("dead-letters", "redrive", "--cause", cause, "--reason", WHY, *WAIT)

    unconfirmed = await office.operator.here(*redrive)
    done = await office.operator.run(*redrive, "--yes", "--json")
    again = await office.operator.here(*redrive, "--yes")

    assert (unconfirmed.code, unconfirmed.err) == (2, "Redrive 2 dead letters? Say --yes\n")
    assert done.code == 0, done.err
    assert (done.json()["redriven"], done.json()["outcomes"]) == (2, {"accepted": 2})
    assert (again.code, again.err) == (4, "no open dead letter of that kind\n")
    kept = await office.action(done.json()["action"])
    assert (kept["kind"], kept["root_account"], kept["user_id"], kept["reason"]) == ("redrive", 1, 77, WHY)


async def test_what_is_too_large_to_be_sent_is_not_counted_but_named(office: Office) -> None:
    cause, ids = await office.dead(readable(), b"{" * (MIB - 200))
    redrive = ("dead-letters", "redrive", "--cause", cause, "--reason", WHY)

    unconfirmed = await office.operator.here(*redrive)
    done = await office.operator.here(*redrive, "--yes", "--json")
    again = await office.operator.here(*redrive, "--yes")

    named = f"left out, too large to carry a redrive's mark: {ids[1]}\n"
    assert unconfirmed.err == f"{named}Redrive 1 dead letter? Say --yes\n"
    assert (done.code, done.err, done.json()["redriven"], done.json()["left_out"]) == (1, named, 1, 1)
    assert (again.code, again.err) == (4, f"{named}no open dead letter of that kind\n")


async def test_what_is_dead_again_is_a_finding_and_is_discarded_with_a_reason(office: Office) -> None:
    _, ids = await office.dead(b"{")
    redriven = await office.operator.here("dead-letters", "redrive", ids[0], "--reason", WHY, *WAIT)
    twice = await office.operator.here("dead-letters", "discard", ids[0], "--reason", WHY)
    _, others = await office.dead(SECRET.encode())
    revealed = await office.operator.here("dead-letters", "reveal", others[0], "--reason", WHY)
    discarded = await office.operator.run("dead-letters", "discard", others[0], "--reason", WHY, "--json")

    assert redriven.code == 1
    assert redriven.out.startswith("1 dead letter again. Action ")
    assert (twice.code, twice.out) == (4, "")
    assert SECRET in revealed.out
    assert discarded.json()["discarded"] == 1
    assert (await office.action(discarded.json()["action"]))["kind"] == "discard"
    kinds = await office.connection.fetch(
        "select kind from operator_action where detail->>'dead_letter' = $1 order by acted_at", others[0]
    )
    assert [row["kind"] for row in kinds] == ["reveal", "discard"]


async def test_who_may_not_gives_no_reason_or_names_nothing_does_nothing(office: Office) -> None:
    cause, ids = await office.dead(b"{")
    before = await office.counts()
    reason = ("--reason", WHY)
    forged = CommandLine({**office.operator.environment, "OPERATOR_TOKEN": "abc"})

    refused = await asyncio.gather(
        office.by_role["viewer"].here("dead-letters", "redrive", ids[0], *reason),
        office.operator.here("dead-letters", "discard", "--cause", cause, "--yes", *reason),
        office.operator.here("dead-letters", "redrive", ids[0], "--reason", " "),
        office.operator.here("dead-letters", "redrive", *reason),
        forged.here("dead-letters", "discard", ids[0], *reason),
    )

    away = await office.operator.run("dead-letters", "redrive", ids[0], *reason, KAFKA_BOOTSTRAP="127.0.0.1:1")

    assert [ran.code for ran in refused] == [2, 2, 2, 2, 2]
    assert (away.code, away.err) == (3, "Kafka does not answer: KafkaConnectionError. Nothing was done\n")
    assert "scope moderation.operator" in refused[0].err
    assert "scope moderation.admin" in refused[1].err
    assert "OPERATOR_TOKEN is not believed" in refused[4].err
    assert await office.counts() == before

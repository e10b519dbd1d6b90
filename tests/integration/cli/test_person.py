"""``person erase`` and ``person export`` cover every course; erasures are repeated after a restore."""

import json
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from services.admin.keys import COMMANDS_JWKS, ISSUER_KEY, USERS_JWKS, create_keys
from services.runtime.command_line import ExitCode
from tests.fixtures.canvas.adapter import World
from tests.fixtures.system import System, create_system
from tests.integration.cli.conftest import CommandLine

Json = dict[str, Any]
PERSON = 990_017
NAME, COMMENT = "Erika Erasable", "A comment that has to go"
WHY = ("--reason", "request 4711 of the person")


async def state_person(system: System, world: World) -> None:
    """Create a course with the person as a student, with a name and a comment."""
    row: Json = {"user_id": PERSON, "name": NAME, "login_id": "erika@uni.example", "sis_user_id": "S-ERIKA"}
    settings = {"name": "Essay", "points_possible": 10, "grading_type": "points", "moderated_grading": False}
    facts: list[tuple[str, Json, int | None]] = [
        ("upsert_course", {"name": "Course"}, None),
        ("upsert_users", {"users": [row]}, None),
        (
            "upsert_enrollments",
            {"enrollments": [{"user_id": PERSON, "type": "StudentEnrollment", "state": "active"}]},
            None,
        ),
        ("configure_assignment", settings, world.course_id),
        (
            "record_submission_comment",
            {"student_id": PERSON, "author_id": PERSON, "comment": COMMENT},
            world.course_id,
        ),
    ]
    commands = []
    for kind, data, assignment in facts:
        command: Json = {
            "command_id": str(uuid.uuid4()), "type": kind, "issued_at": "2026-01-31T12:00:00Z", "root_account_id": 1,
            "course_id": str(world.course_id), "data": data,
        }  # fmt: skip
        if assignment is not None:
            command["assignment_id"] = str(assignment)
        commands.append(command)
    verdicts = await system.client.send_all_and_wait(commands)
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}, verdicts


async def test_person_is_exported_erased_and_erased_again_after_a_restore(
    cli: CommandLine, cli_by_role: dict[str, CommandLine], running_system: System, tmp_path: Path
) -> None:
    worlds = [World(), World()]
    for world in worlds:
        await state_person(running_system, world)
    admin, erasures = cli_by_role["admin"], tmp_path / "erasures.jsonl"
    person, log = str(PERSON), await asyncpg.connect(running_system.database_url)
    keys_of_person = "select id, root_account, course, person, key from encryption_key where person = $1"
    backup = await log.fetch(keys_of_person, PERSON)

    before = await admin.run_in_process("person", "export", person, "--to", str(tmp_path / "before.json"), *WHY)
    refused = await cli_by_role["operator"].run_in_process("person", "erase", person, "--file", str(erasures), *WHY)
    erased = await admin.run_in_process("person", "erase", person, "--file", str(erasures), *WHY)
    after = await admin.run_in_process("person", "export", person, "--to", str(tmp_path / "after.json"), *WHY)
    keys_after = await log.fetch(keys_of_person, PERSON)
    verified = await cli.run_in_process("verify", f"{running_system.prefix}.events", "--json")
    # A backup from before the erasure is restored: the keys are back.
    await log.executemany(
        "insert into encryption_key (id, root_account, course, person, key) values ($1, $2, $3, $4, $5)",
        [tuple(row) for row in backup],
    )
    restored = await admin.run_in_process("person", "export", person, "--to", str(tmp_path / "restored.json"), *WHY)
    repeated = await admin.run_in_process("person", "erase", "--repeat", "--file", str(erasures), *WHY)
    keys_at_last = await log.fetch(keys_of_person, PERSON)
    kinds = await log.fetch("select kind from operator_action where detail->>'user_id' = $1 order by acted_at", person)
    await log.close()

    assert [result.exit_code for result in (before, refused, erased, after, restored, repeated)] == [0, 2, 0, 0, 0, 0]
    assert (len(backup), keys_after, keys_at_last) == (2, [], [])
    assert "erased in 2 courses" in erased.stdout
    assert "erased in 2 courses" in repeated.stdout
    texts = {name: (tmp_path / f"{name}.json").read_text() for name in ("before", "after", "restored")}
    assert [NAME in texts[name] and COMMENT in texts[name] for name in texts] == [True, False, True]
    assert not any(text in texts["after"] for text in (NAME, COMMENT, "erika@uni.example", "S-ERIKA"))
    [report] = verified.json()
    assert (report["findings"], report["erased"] >= 4) == ([], True)
    assert [row["kind"] for row in kinds] == ["export", "erase", "export", "export", "erase"]
    for path in (erasures, tmp_path / "before.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [json.loads(line)["user_id"] for line in erasures.read_text().splitlines()] == [PERSON]


async def test_unknown_person_is_named_and_no_file_is_written(
    cli_by_role: dict[str, CommandLine], tmp_path: Path
) -> None:
    admin, file = cli_by_role["admin"], tmp_path / "nobody.json"
    exported = await admin.run_in_process("person", "export", "990404", "--to", str(file), *WHY)
    erased = await admin.run_in_process("person", "erase", "990404", "--file", str(tmp_path / "erasures"), *WHY)
    assert (exported.exit_code, exported.stdout, file.exists()) == (4, "", False)
    assert "the log has no data of user 990404 in root account 1; nothing was exported. Check the id" in exported.stderr
    assert (erased.exit_code, "user 990404 of root account 1: erased in 0 courses; no course" in erased.stdout) == (
        0,
        True,
    )


async def test_erasures_are_signed_for_the_audience_and_issuer_that_handlers_require(
    bootstrap: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    create_keys(keys := tmp_path / "keys")
    named = {"JWT_AUDIENCE": "moderation", "JWT_ISSUER": "https://login.example"}
    async for system in create_system(bootstrap, new_database(), tmp_path):
        open_handler, relay = system.create_process("handler"), system.create_process("relay")
        for process in (open_handler, relay):
            process.start()
        await state_person(system, World())
        open_handler.stop()
        handler = system.create_process("handler", COMMAND_AUTH="required", JWKS=str(keys / COMMANDS_JWKS), **named)
        handler.start()
        environment = {"DATABASE_URL": system.database_url, "KAFKA_BOOTSTRAP": system.bootstrap}
        environment |= {"TOPIC_PREFIX": system.prefix, "JWKS": str(keys / USERS_JWKS), **named}
        issued = await CommandLine(environment).run_in_process(
            "admin", "issue-token", str(keys / ISSUER_KEY), "77", "--scope", "moderation.admin"
        )
        admin = CommandLine({**environment, "OPERATOR_TOKEN": issued.stdout.strip()})
        erase = ("person", "erase", str(PERSON), "--file", str(tmp_path / "erasures.jsonl"), *WHY)
        unsigned = await admin.run_in_process(*erase)
        signed = await admin.run_in_process(*erase, "--command-key", str(keys / ISSUER_KEY))

    assert (unsigned.exit_code, signed.exit_code) == (ExitCode.FINDING, ExitCode.OK)
    assert "erased in 0 courses" in unsigned.stdout
    assert "unauthenticated: user authorization required" in unsigned.stdout
    assert "erased in 1 course" in signed.stdout

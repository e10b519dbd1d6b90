"""COMMAND_AUTH=required, through the real topics: which tokens authorize which actors."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from aiokafka.structs import RecordMetadata

from schemas.http_request import HTTP_REQUEST_HEADER
from services.auth.verifier import digest_command
from tests.fixtures.bad_inputs import BAD_INPUTS, allowed_outcomes, outcome_of
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System, create_system
from tests.fixtures.token_issuer import SHORT_LIFE_SECONDS, TokenIssuer
from tests.system.journeys.test_live_events import REQUEST_CONTEXT

Json = dict[str, Any]
ENTRIES = [entry for entry in BAD_INPUTS["entries"] if entry["group"] == "command-auth"]
EXPIRING_ENTRY = next(entry for entry in ENTRIES if entry.get("generator", {}).get("args") == ["expired_while_queued"])


class AuthenticatedSystem:
    """A system whose handler verifies tokens."""

    def __init__(self, system: System, issuer: TokenIssuer) -> None:
        self.system = system
        self.issuer = issuer

    async def send(self, command: Json, *values: bytes | None) -> RecordMetadata:
        """Send a record; return its place and its time."""
        headers = [("authorization", value) for value in values]
        placed = await self.system.client.send_raw(json.dumps(command).encode(), b"1001", headers)
        metadata: RecordMetadata = await placed
        return metadata

    async def expires_in_queue(self, entry: Json) -> bool:
        """Send again if the machine stalled and the token expired before its record was on the topic."""
        expires_at = int(time.time()) + SHORT_LIFE_SECONDS
        entry["command"] = new_command("record_grade")
        placed = await self.send(entry["command"], *authorization_values(entry, self.issuer))
        await asyncio.sleep(SHORT_LIFE_SECONDS + 1)
        assert placed.timestamp is not None
        return placed.timestamp / 1_000 < expires_at

    async def send_and_wait(self, command: Json, token: str) -> Json:
        await self.send(command, b"Bearer " + token.encode())
        return await self.system.client.wait_for_verdict(command["command_id"])


def new_command(base: str, **changes: Any) -> Json:
    return {**BAD_INPUTS["bases"][base], "command_id": str(uuid.uuid4()), **changes}


def authorization_values(entry: Json, issuer: TokenIssuer) -> list[bytes | None]:
    """Return the values of the authorization headers that an entry of the corpus sends."""
    if "headers" in entry:
        return [value for _, value in entry["headers"]]
    return [b"Bearer " + issuer.corpus_token(name).encode() for name in entry["generator"]["args"]]


@pytest.fixture(scope="module")
async def authenticated_system(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AuthenticatedSystem]:
    folder, issuer = tmp_path_factory.mktemp("guarded"), TokenIssuer()
    async for system in create_system(bootstrap, new_database(), folder):
        jwks = str(issuer.write_jwks(folder / "jwks.json"))
        authenticated_system = AuthenticatedSystem(system, issuer)
        enrolled = [(11, "TeacherEnrollment"), (21, "TaEnrollment"), (31, "StudentEnrollment")]
        rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in enrolled]
        facts = [
            new_command("upsert_course"),
            new_command("upsert_users", type="upsert_enrollments", data={"enrollments": rows}),
            new_command("assignment"),
        ]
        for fact in facts:
            await authenticated_system.send(fact, b"Bearer " + issuer.lms_token().encode())
        # The corpus waits on the topic until its short-lived token has expired.
        for entry in ENTRIES:
            entry["command"] = new_command("record_grade")
            await authenticated_system.send(entry["command"], *authorization_values(entry, issuer))
        await wait_until(
            partial(authenticated_system.expires_in_queue, EXPIRING_ENTRY),
            "the short-lived token has expired while its record waits",
        )
        for process in (
            system.create_process("handler", COMMAND_AUTH="required", JWKS=jwks),
            system.create_process("relay"),
        ):
            process.start()
        for fact in facts:
            assert (await system.client.wait_for_verdict(fact["command_id"]))["status"] == "accepted"
        yield authenticated_system


@pytest.mark.cases("bad tokens over Kafka")
@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{e['id']}-{e['description']}" for e in ENTRIES])
async def test_token_has_the_outcome_expected_by_the_corpus(
    entry: Json, authenticated_system: AuthenticatedSystem
) -> None:
    verdict = await authenticated_system.system.client.wait_for_verdict(entry["command"]["command_id"])
    assert outcome_of(verdict) in allowed_outcomes(entry), verdict


async def test_token_that_expired_in_the_queue_is_accepted(authenticated_system: AuthenticatedSystem) -> None:
    assert (await authenticated_system.system.client.wait_for_verdict(EXPIRING_ENTRY["command"]["command_id"]))[
        "status"
    ] == "accepted"


async def test_unauthenticated_command_does_not_consume_its_command_id(
    authenticated_system: AuthenticatedSystem,
) -> None:
    command = new_command("record_grade")
    refused = await authenticated_system.send_and_wait(
        command, authenticated_system.issuer.corpus_token("tampered_payload")
    )
    assert (refused["reason"], refused["http_status"]) == ("unauthenticated", 401)
    assert refused["message"] == "user authorization required"
    await authenticated_system.send(command, b"Bearer " + authenticated_system.issuer.token(21).encode())
    accepted = await authenticated_system.system.client.wait_for_verdict(command["command_id"], 2)
    assert (accepted["status"], accepted["duplicate"]) == ("accepted", False)
    await authenticated_system.send(command)
    assert (await authenticated_system.system.client.wait_for_verdict(command["command_id"], 3))[
        "reason"
    ] == "unauthenticated"


@pytest.mark.parametrize(
    ("base", "claims"),
    [
        ("upsert_course", {"scope": "moderation"}),
        ("upsert_course", {}),
        ("record_grade", {"root_account_id": "2"}),
        ("upsert_course", {"scope": "moderation.facts", "root_account_id": "2"}),
    ],
)
async def test_token_without_the_required_scope_or_account_is_rejected(
    base: str, claims: Json, authenticated_system: AuthenticatedSystem
) -> None:
    verdict = await authenticated_system.send_and_wait(
        new_command(base), authenticated_system.issuer.token(21, **claims)
    )
    assert verdict["reason"] == "unauthenticated"


async def test_validation_errors_require_authentication(authenticated_system: AuthenticatedSystem) -> None:
    command = new_command("record_grade", data={"student_id": "x"})
    await authenticated_system.send(command)
    assert (await authenticated_system.system.client.wait_for_verdict(command["command_id"]))[
        "reason"
    ] == "unauthenticated"
    await authenticated_system.send(command, b"Bearer " + authenticated_system.issuer.token(21).encode())
    assert (await authenticated_system.system.client.wait_for_verdict(command["command_id"], 2))[
        "reason"
    ] == "invalid_command"


async def test_tokens_never_appear_in_outputs_or_logs(authenticated_system: AuthenticatedSystem) -> None:
    token, outside = authenticated_system.issuer.token(21), authenticated_system.system.client
    for name in ("authorization", "Authorization"):
        await outside.send_raw(b"{", name.encode(), [(name, b"Bearer " + token.encode()), ("kept", b"yes")])

    def letters() -> list[Any]:
        return [r for r in outside.records["dead-letters"] if r.key in (b"authorization", b"Authorization")]

    await wait_until(lambda: len(letters()) == 2, "the dead letters")
    await authenticated_system.send_and_wait(new_command("record_grade"), token)
    for record in [*letters(), *(r for records in outside.records.values() for r in records)]:
        assert token.encode() not in (record.value or b"") + repr(record.headers).encode()
    assert all(dict(letter.headers)["kept"] == b"yes" for letter in letters())
    assert all(token not in process.log.read_text() for process in authenticated_system.system.processes)


async def test_request_context_requires_the_gateway_scope(authenticated_system: AuthenticatedSystem) -> None:
    told = (HTTP_REQUEST_HEADER, json.dumps(REQUEST_CONTEXT).encode())
    for number, (scope, believed) in enumerate([(None, False), ("grades.write", False), ("moderation.request", True)]):
        place = {"assignment_id": str(3_001 + number)}
        commands = [
            (new_command("assignment", **place), authenticated_system.issuer.lms_token()),
            (new_command("record_grade", **place), authenticated_system.issuer.token(21)),
        ]
        for command, token in commands:
            assert (await authenticated_system.send_and_wait(command, token))["status"] == "accepted"
        publish = new_command(
            "record_grade", type="publish_provisional_grades", data={}, actor={"user_id": "11"}, **place
        )
        value = json.dumps(publish).encode()
        token = authenticated_system.issuer.token(11, scope=scope, command_sha256=digest_command(value))
        headers = [told, ("authorization", b"Bearer " + token.encode())]
        await authenticated_system.system.client.send_raw(value, b"1001", headers)
        [(_, change)] = await authenticated_system.system.client.wait_for_outputs(
            "live-events", publish["command_id"], 1
        )
        assert ("hostname" in change["metadata"], "job_id" in change["metadata"]) == (believed, not believed)


async def test_token_copied_from_the_topic_publishes_nothing(authenticated_system: AuthenticatedSystem) -> None:
    place = {"assignment_id": "3010"}
    await authenticated_system.send_and_wait(
        new_command("assignment", **place), authenticated_system.issuer.lms_token()
    )
    harmless = new_command(
        "record_grade", type="select_students_for_moderation", data={"student_ids": ["31"]}, actor={"user_id": "11"},
        **place,
    )  # fmt: skip
    digest = digest_command(json.dumps(harmless).encode())
    token = authenticated_system.issuer.token(11, scope="moderation.request", command_sha256=digest)
    assert (await authenticated_system.send_and_wait(harmless, token))["status"] == "accepted"
    for copied in (harmless, {**harmless, "type": "publish_provisional_grades", "data": {}}):
        forged = {**copied, "command_id": str(uuid.uuid4())}
        assert (await authenticated_system.send_and_wait(forged, token))["reason"] == "unauthenticated"


async def test_handler_picks_up_rotated_keys_without_a_restart(authenticated_system: AuthenticatedSystem) -> None:
    jwks = authenticated_system.system.folder / "jwks.json"
    new = TokenIssuer("new")
    new.write_jwks(jwks)
    try:

        async def is_believed() -> bool:
            return bool(
                (await authenticated_system.send_and_wait(new_command("record_grade"), new.token(21)))["status"]
                == "accepted"
            )

        await wait_until(is_believed, "the new key is known")
        assert (
            await authenticated_system.send_and_wait(new_command("record_grade"), authenticated_system.issuer.token(21))
        )["reason"] == "unauthenticated"
    finally:
        authenticated_system.issuer.write_jwks(jwks)

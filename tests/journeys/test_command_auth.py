"""COMMAND_AUTH=required, through the real topics: who may speak for whom."""

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
from tests.cases.bad_inputs import DOCUMENT
from tests.cases.tokens import SHORT_LIFE_SECONDS, Issuer
from tests.conftest import System, made_system
from tests.journeys.test_live_events import TOLD
from tests.processes.running import until

Json = dict[str, Any]
ENTRIES = [entry for entry in DOCUMENT["entries"] if entry["group"] == "command-auth"]
EXPIRES = next(entry for entry in ENTRIES if entry.get("generator", {}).get("args") == ["expired_while_queued"])


class Guarded:
    """A system whose handler judges tokens."""

    def __init__(self, system: System, issuer: Issuer) -> None:
        self.system = system
        self.issuer = issuer

    async def send(self, command: Json, *values: bytes | None) -> RecordMetadata:
        """Where the record stands, and since when."""
        headers = [("authorization", value) for value in values]
        placed = await self.system.outside.send_raw(json.dumps(command).encode(), b"1001", headers)
        metadata: RecordMetadata = await placed
        return metadata

    async def has_expired(self, entry: Json) -> bool:
        """Sent again where the machine stood still and the token expired before its record was on the topic."""
        expires_at = int(time.time()) + SHORT_LIFE_SECONDS
        entry["command"] = fresh("record_grade")
        placed = await self.send(entry["command"], *values_of(entry, self.issuer))
        await asyncio.sleep(SHORT_LIFE_SECONDS + 1)
        assert placed.timestamp is not None
        return placed.timestamp / 1_000 < expires_at

    async def verdict(self, command: Json, token: str) -> Json:
        await self.send(command, b"Bearer " + token.encode())
        return await self.system.outside.verdict_of(command["command_id"])


def fresh(base: str, **changes: Any) -> Json:
    return {**DOCUMENT["bases"][base], "command_id": str(uuid.uuid4()), **changes}


def values_of(entry: Json, issuer: Issuer) -> list[bytes | None]:
    """The values of the authorization headers that an entry of the corpus sends."""
    if "headers" in entry:
        return [value for _, value in entry["headers"]]
    return [b"Bearer " + issuer.named(name).encode() for name in entry["generator"]["args"]]


@pytest.fixture(scope="module")
async def guarded(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Guarded]:
    folder, issuer = tmp_path_factory.mktemp("guarded"), Issuer()
    async for system in made_system(bootstrap, new_database(), folder):
        jwks = str(issuer.write_set(folder / "jwks.json"))
        guarded = Guarded(system, issuer)
        enrolled = [(11, "TeacherEnrollment"), (21, "TaEnrollment"), (31, "StudentEnrollment")]
        rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in enrolled]
        facts = [
            fresh("upsert_course"),
            fresh("upsert_users", type="upsert_enrollments", data={"enrollments": rows}),
            fresh("assignment"),
        ]
        for fact in facts:
            await guarded.send(fact, b"Bearer " + issuer.facts().encode())
        # The corpus waits on the topic until its short-lived token has expired.
        for entry in ENTRIES:
            entry["command"] = fresh("record_grade")
            await guarded.send(entry["command"], *values_of(entry, issuer))
        await until(partial(guarded.has_expired, EXPIRES), "the short-lived token has expired while its record waits")
        for process in (system.process("handler", COMMAND_AUTH="required", JWKS=jwks), system.process("relay")):
            process.start()
        for fact in facts:
            assert (await system.outside.verdict_of(fact["command_id"]))["status"] == "accepted"
        yield guarded


@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{e['id']}-{e['description']}" for e in ENTRIES])
async def test_a_token_has_the_outcome_that_the_corpus_expects(entry: Json, guarded: Guarded) -> None:
    verdict = await guarded.system.outside.verdict_of(entry["command"]["command_id"])
    outcome = verdict["status"] if verdict["reason"] is None else f"rejected:{verdict['reason']}"
    assert outcome in [entry["expected"], *entry.get("also_ok", ())], verdict


async def test_a_token_that_expired_while_its_record_waited_is_believed(guarded: Guarded) -> None:
    assert (await guarded.system.outside.verdict_of(EXPIRES["command"]["command_id"]))["status"] == "accepted"


async def test_a_refused_sender_settles_nothing(guarded: Guarded) -> None:
    command = fresh("record_grade")
    refused = await guarded.verdict(command, guarded.issuer.named("tampered_payload"))
    assert (refused["reason"], refused["http_status"]) == ("unauthenticated", 401)
    assert refused["message"] == "user authorization required"
    await guarded.send(command, b"Bearer " + guarded.issuer.token(21).encode())
    accepted = await guarded.system.outside.verdict_of(command["command_id"], 2)
    assert (accepted["status"], accepted["duplicate"]) == ("accepted", False)
    await guarded.send(command)
    assert (await guarded.system.outside.verdict_of(command["command_id"], 3))["reason"] == "unauthenticated"


@pytest.mark.parametrize(
    ("base", "claims"),
    [
        ("upsert_course", {"scope": "moderation"}),
        ("upsert_course", {}),
        ("record_grade", {"root_account_id": "2"}),
        ("upsert_course", {"scope": "moderation.facts", "root_account_id": "2"}),
    ],
)
async def test_a_token_that_speaks_for_others_is_refused(base: str, claims: Json, guarded: Guarded) -> None:
    verdict = await guarded.verdict(fresh(base), guarded.issuer.token(21, **claims))
    assert verdict["reason"] == "unauthenticated"


async def test_an_invalid_command_is_told_so_only_to_who_is_known(guarded: Guarded) -> None:
    command = fresh("record_grade", data={"student_id": "x"})
    await guarded.send(command)
    assert (await guarded.system.outside.verdict_of(command["command_id"]))["reason"] == "unauthenticated"
    await guarded.send(command, b"Bearer " + guarded.issuer.token(21).encode())
    assert (await guarded.system.outside.verdict_of(command["command_id"], 2))["reason"] == "invalid_command"


async def test_no_token_leaves_with_a_dead_letter_a_verdict_or_a_log(guarded: Guarded) -> None:
    token, outside = guarded.issuer.token(21), guarded.system.outside
    for name in ("authorization", "Authorization"):
        await outside.send_raw(b"{", name.encode(), [(name, b"Bearer " + token.encode()), ("kept", b"yes")])

    def letters() -> list[Any]:
        return [r for r in outside.records["dead-letters"] if r.key in (b"authorization", b"Authorization")]

    await until(lambda: len(letters()) == 2, "the dead letters")
    await guarded.verdict(fresh("record_grade"), token)
    for record in [*letters(), *(r for records in outside.records.values() for r in records)]:
        assert token.encode() not in (record.value or b"") + repr(record.headers).encode()
    assert all(dict(letter.headers)["kept"] == b"yes" for letter in letters())
    assert all(token not in process.log.read_text() for process in guarded.system.processes)


async def test_only_a_gateway_s_token_may_tell_of_an_http_request(guarded: Guarded) -> None:
    told = (HTTP_REQUEST_HEADER, json.dumps(TOLD).encode())
    for number, (scope, believed) in enumerate([(None, False), ("grades.write", False), ("moderation.request", True)]):
        place = {"assignment_id": str(3_001 + number)}
        commands = [
            (fresh("assignment", **place), guarded.issuer.facts()),
            (fresh("record_grade", **place), guarded.issuer.token(21)),
        ]
        for command, token in commands:
            assert (await guarded.verdict(command, token))["status"] == "accepted"
        publish = fresh("record_grade", type="publish_provisional_grades", data={}, actor={"user_id": "11"}, **place)
        bearer = b"Bearer " + guarded.issuer.token(11, scope=scope).encode()
        await guarded.system.outside.send_raw(json.dumps(publish).encode(), b"1001", [told, ("authorization", bearer)])
        [(_, change)] = await guarded.system.outside.caused_by("live-events", publish["command_id"], 1)
        assert ("hostname" in change["metadata"], "job_id" in change["metadata"]) == (believed, not believed)


async def test_keys_rotate_without_a_restart(guarded: Guarded) -> None:
    jwks = guarded.system.folder / "jwks.json"
    new = Issuer()
    new.write_set(jwks)
    try:

        async def is_believed() -> bool:
            return bool((await guarded.verdict(fresh("record_grade"), new.token(21)))["status"] == "accepted")

        await until(is_believed, "the new key is known")
        assert (await guarded.verdict(fresh("record_grade"), guarded.issuer.token(21)))["reason"] == "unauthenticated"
    finally:
        guarded.issuer.write_set(jwks)

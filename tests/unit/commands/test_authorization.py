"""Which tokens a command's record may carry: those of its actor, and not those of another record."""

import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from services.auth.jwks import JwkSet
from services.auth.signer import TokenSigner, generate_key, write_jwks, write_private_key
from services.auth.verifier import FACTS_SCOPE, REQUEST_SCOPE, digest_command
from services.commands.authorization import CommandAuthorizer
from services.commands.incoming_command import IncomingCommand, parse_record
from services.kafka.partitioning import SHARD_COUNT
from tests.fixtures.command_samples import build_command, encode

ACTOR = 21
VALUE = encode({**build_command(), "type": "select_students_for_moderation", "data": {"student_ids": ["31"]}})
OTHER_VALUE = VALUE.replace(b'"31"', b'"32"')
OUR_DIGEST = digest_command(VALUE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, key = tmp_path_factory.mktemp("keys"), generate_key()
    write_private_key(folder / "key.json", key)
    write_jwks(folder / "jwks.json", [key])
    return folder


async def authorize(folder: Path, value: bytes, *, bound: bool = False, user: int = ACTOR, **claims: Any) -> Any:
    """Authorize one record with a token of these claims."""
    keys = JwkSet(str(folder / "jwks.json"))
    await keys.load()
    token = TokenSigner(folder / "key.json").issue_token(user, 1, 60, **claims)
    headers = (("authorization", b"Bearer " + token.encode()),)
    milliseconds = int(time.time() * 1_000)
    record = parse_record(
        ConsumerRecord("c", 0, 5, milliseconds, 1, b"k", value, None, 1, len(value), headers), SHARD_COUNT
    )
    assert isinstance(record, IncomingCommand)
    [authorized] = await CommandAuthorizer(keys, requires_bound_tokens=bound).authorize([record])
    return authorized


async def is_accepted(folder: Path, value: bytes, **claims: Any) -> bool:
    return (await authorize(folder, value, **claims)).rejection is None


async def test_digest_is_base64url_of_sha256_without_padding() -> None:
    assert digest_command(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


async def test_token_with_a_digest_is_valid_for_that_record_only(folder: Path) -> None:
    assert await is_accepted(folder, VALUE, command_sha256=OUR_DIGEST)
    assert not await is_accepted(folder, OTHER_VALUE, command_sha256=OUR_DIGEST)
    assert not await is_accepted(folder, VALUE + b" ", command_sha256=OUR_DIGEST)
    assert not await is_accepted(folder, VALUE, command_sha256=OUR_DIGEST + "=")
    assert not await is_accepted(folder, VALUE, command_sha256="")
    assert not await is_accepted(folder, VALUE, command_sha256=OUR_DIGEST, user=ACTOR + 1)


async def test_token_without_a_digest_is_valid_unless_tokens_must_be_bound(folder: Path) -> None:
    assert await is_accepted(folder, VALUE)
    refused = (await authorize(folder, VALUE, bound=True)).rejection
    assert (refused.reason, refused.errors[0][1]) == (
        "unauthenticated", "the token must name this record: add the claim command_sha256",
    )  # fmt: skip
    assert await is_accepted(folder, VALUE, bound=True, command_sha256=OUR_DIGEST)


async def test_facts_are_bound_too(folder: Path) -> None:
    fact = encode({**build_command(), "type": "upsert_course", "data": {"name": "History"}, "actor": None})
    fact = fact.replace(b'"actor": null', b'"actor": {"user_id": "21"}')
    assert await is_accepted(folder, fact, scope=FACTS_SCOPE)
    assert not await is_accepted(folder, fact, bound=True, scope=FACTS_SCOPE)
    assert await is_accepted(folder, fact, bound=True, scope=FACTS_SCOPE, command_sha256=digest_command(fact))


async def test_only_a_bound_token_of_a_gateway_may_state_the_request(folder: Path) -> None:
    assert not await is_accepted(folder, VALUE, scope=REQUEST_SCOPE)
    bound = await authorize(folder, VALUE, scope=REQUEST_SCOPE, command_sha256=OUR_DIGEST)
    assert (bound.rejection, bound.may_carry_request) == (None, True)
    assert not (await authorize(folder, VALUE, command_sha256=OUR_DIGEST)).may_carry_request

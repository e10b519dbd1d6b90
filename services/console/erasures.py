"""Sends erase_person to each course that knows a person, and records the erasure in a file outside the database.

A restored backup again holds keys that were deleted after it was taken; the file lists the erasures to repeat.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaProducer

from services.auth.signer import TokenSigner
from services.auth.verifier import FACTS_SCOPE, digest_command
from services.eventlog.command_history import CommandHistory
from services.eventlog.encryption_keys import EncryptionKeys
from services.kafka.client_options import client_options
from services.kafka.producer_closing import close_producer
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import full_topic_name

SEND_SECONDS_MAX = 30.0
POLL_SECONDS = 0.1
TOKEN_SECONDS = 600


class ErasureFileError(Exception):
    """The file of erasures cannot be read or written; the message states why."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person to erase, with the operator, the reason and the time of the first request (RFC 3339)."""

    root_account_id: int
    user_id: int
    operator_user_id: int
    reason: str
    requested_at: str


@dataclass(frozen=True, slots=True)
class ErasureVerdict:
    """What the handler decided: ``problem`` is None if the person was erased, else reason and message."""

    problem: str | None


def build_erasure(root_account: int, user_id: int, operator_user_id: int, reason: str) -> Erasure:
    """Build an erasure that is requested now."""
    return Erasure(root_account, user_id, operator_user_id, reason, datetime.now(UTC).isoformat(timespec="seconds"))


def append_erasure(path: Path, erasure: Erasure) -> None:
    """Append an erasure to the file, which only its owner can read, and wait until it is on the disk."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(asdict(erasure)) + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise ErasureFileError(f"{path} cannot be written: {error.strerror}") from None


def read_erasures(path: Path) -> list[Erasure]:
    """Read the latest erasure of each person from the file."""
    try:
        erasures = [Erasure(**json.loads(line)) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError, TypeError) as error:
        raise ErasureFileError(f"{path} is not a valid list of erasures: {type(error).__name__}") from None
    return list({(erasure.root_account_id, erasure.user_id): erasure for erasure in erasures}.values())


async def send_erasure(
    connection: "asyncpg.Connection[asyncpg.Record]",
    bootstrap: str,
    topic_prefix: str,
    erasure: Erasure,
    signer: TokenSigner | None,
    token_claims: Mapping[str, str],
) -> dict[int, ErasureVerdict | None]:
    """Send erase_person to the courses that hold personal data of the person, and wait for the verdicts.

    Returns the verdict by course, None if it did not arrive in time. ``signer`` signs the commands for handlers with
    COMMAND_AUTH; ``token_claims``: audience and issuer that they require.

    Raises:
        KafkaError, TimeoutError, POSTGRES_ERRORS: some commands may have been sent; run it again.
    """
    courses = await EncryptionKeys(connection).courses_of_person(erasure.root_account_id, erasure.user_id)
    if not courses:
        return {}
    producer = AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True, acks="all")
    topic = full_topic_name(topic_prefix, "commands")
    places: dict[int, tuple[int, int]] = {}
    try:
        async with kafka_timeout(SEND_SECONDS_MAX, "sending erase_person"):
            await producer.start()
            for course in courses:
                value = _build_command(course, erasure)
                headers = _build_headers(value, erasure, signer, token_claims)
                place = await producer.send_and_wait(topic, value, key=str(course).encode(), headers=headers)
                places[course] = place.partition, place.offset
    finally:
        await close_producer(producer)
    return await _wait_for_verdicts(CommandHistory(connection), topic, places)


def _build_command(course: int, erasure: Erasure) -> bytes:
    command = {
        "command_id": str(uuid4()),
        "type": "erase_person",
        "issued_at": datetime.now(UTC).isoformat(),
        "root_account_id": str(erasure.root_account_id),
        "course_id": str(course),
        "data": {"user_id": str(erasure.user_id)},
    }
    return json.dumps(command).encode()


def _build_headers(
    value: bytes, erasure: Erasure, signer: TokenSigner | None, token_claims: Mapping[str, str]
) -> Sequence[tuple[str, bytes]]:
    if signer is None:
        return ()
    token = signer.issue_token(
        erasure.operator_user_id,
        erasure.root_account_id,
        TOKEN_SECONDS,
        FACTS_SCOPE,
        command_sha256=digest_command(value),
        **token_claims,
    )
    return [("authorization", f"Bearer {token}".encode())]


async def _wait_for_verdicts(
    history: CommandHistory, topic: str, places: Mapping[int, tuple[int, int]]
) -> dict[int, ErasureVerdict | None]:
    """Wait for the verdict of each record: one that refuses its token settles no command id."""
    verdicts: dict[int, ErasureVerdict | None] = dict.fromkeys(places)
    deadline = time.monotonic() + SEND_SECONDS_MAX
    while time.monotonic() < deadline and None in verdicts.values():
        for course, (partition, offset) in places.items():
            if verdicts[course] is None:
                verdict = await history.verdict_of_record(topic, partition, offset)
                verdicts[course] = None if verdict is None else _parse_verdict(verdict.body)
        await asyncio.sleep(POLL_SECONDS)
    return verdicts


def _parse_verdict(text: str) -> ErasureVerdict:
    body = json.loads(text)
    return ErasureVerdict(None if body["status"] == "accepted" else f"{body['reason']}: {body['message']}")

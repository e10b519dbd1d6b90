"""Sends the command of a due publication, signed for the user who scheduled it."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from services.auth.signer import TokenSigner
from services.auth.verifier import digest_command
from services.config.scheduler import SchedulerSettings
from services.eventlog.schedules import Schedule
from services.kafka.client_options import client_options
from services.kafka.producer_closing import close_producer
from services.kafka.topics import full_topic_name
from services.runtime.errors import KAFKA_ERRORS
from services.runtime.failpoints import failpoints

# The token's expiry is checked against the record's append time, which a broker outage delays.
TOKEN_LIFETIME_SECONDS = 600
# A record that waits longer in the producer is sent once more, with a new token.
RENEW_SECONDS = TOKEN_LIFETIME_SECONDS / 2
# While a failed producer is closed nothing is sent; partitions that take records acknowledge them sooner.
FLUSH_SECONDS_MAX = 1.0
SENT_AT_ONCE_MAX = 200
# After that the next ones are sent too.
GROUP_SECONDS_MAX = 0.25
LAST_SECONDS_MAX = 2.0


def build_command(schedule: Schedule) -> bytes:
    """Build the command of a scheduled publication; its content depends only on the schedule, not on the sender."""
    data = {"schedule_id": schedule.schedule_id}
    if schedule.plan_digest is not None:
        data["plan_digest"] = schedule.plan_digest
    return orjson.dumps(
        {
            "command_id": schedule.command_id,
            "type": "publish_provisional_grades",
            "issued_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "root_account_id": str(schedule.root_account),
            "course_id": str(schedule.course),
            "assignment_id": str(schedule.assignment),
            "actor": {"user_id": str(schedule.user_id)},
            "data": data,
        }
    )


@dataclass(frozen=True, slots=True)
class SendResult:
    """``sent``: by command id, when the brokers had it, by the monotonic clock. ``error``: why others were not sent."""

    sent: Mapping[str, float]
    error: Exception | None


async def send_each(send: Callable[[Schedule], Awaitable[None]], schedules: Sequence[Schedule]) -> SendResult:
    """Send all schedules, SENT_AT_ONCE_MAX at a time; those that hang, on a dead partition, delay no others for long.

    What hangs LAST_SECONDS_MAX after all others counts as not sent. Never raises KAFKA_ERRORS.
    """
    sent: dict[str, float] = {}

    async def send_one(schedule: Schedule) -> None:
        await send(schedule)
        sent[schedule.command_id] = time.monotonic()

    sends: set[asyncio.Task[None]] = set()
    try:
        for start in range(0, len(schedules), SENT_AT_ONCE_MAX):
            group = {asyncio.create_task(send_one(each)) for each in schedules[start : start + SENT_AT_ONCE_MAX]}
            sends |= group
            await asyncio.wait(group, timeout=GROUP_SECONDS_MAX)
        await asyncio.wait(sends, timeout=LAST_SECONDS_MAX)
    finally:
        for each in sends:
            each.cancel()
        results = await asyncio.gather(*sends, return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    if len(sent) + len(errors) < len(schedules):
        errors.append(KafkaTimeoutError("the brokers do not acknowledge the commands"))
    return SendResult(sent, errors[0] if errors else None)


class PublicationSender:
    """Sends with one producer, which is started before it is needed and replaced after an error.

    A command whose partition takes no records stays in the producer, which goes on trying. To send it again then only
    waits for it, so that no attempt adds a record.

    ``signer`` None: commands carry no token. ``token_claims`` are added to each token.
    """

    def __init__(
        self, settings: SchedulerSettings, signer: TokenSigner | None, token_claims: Mapping[str, str]
    ) -> None:
        self._bootstrap = settings.kafka_bootstrap
        self._topic = full_topic_name(settings.topic_prefix, "commands")
        self._signer = signer
        self._token_claims = token_claims
        self._producer: AIOKafkaProducer | None = None
        self._has_failed = False
        # By command id: when it was handed to the producer, by the monotonic clock, and what waits for the brokers.
        self._unacknowledged: dict[str, tuple[float, asyncio.Task[object]]] = {}

    async def start(self) -> None:
        """Start the producer unless it runs and has not failed.

        Raises KAFKA_ERRORS: no broker answers; nothing can be sent.
        """
        if self._producer is not None and not self._has_failed:
            return
        await self.close()
        producer = failpoints.arm(
            AIOKafkaProducer(
                **client_options(self._bootstrap),
                client_id="moderation-scheduler",
                enable_idempotence=True,
                acks="all",
                request_timeout_ms=10_000,
            ),
            "scheduler.producer",
        )
        try:
            await producer.start()
        except BaseException:
            await _close(producer)
            raise
        self._producer, self._has_failed = producer, False

    async def send(self, schedule: Schedule) -> None:
        """Send the command of a schedule with the started producer, and wait until the brokers have it.

        Raises KAFKA_ERRORS: the record may have arrived; sending it again is harmless.
        """
        handed_over_at, sending = self._unacknowledged.get(schedule.command_id, (0.0, None))
        if sending is None or time.monotonic() >= handed_over_at + RENEW_SECONDS:
            sending = self._hand_over(schedule)
        await asyncio.shield(sending)

    def _hand_over(self, schedule: Schedule) -> asyncio.Task[object]:
        producer = self._producer
        assert producer is not None, "start() comes first"
        value = build_command(schedule)
        sending: asyncio.Task[object] = asyncio.create_task(
            producer.send_and_wait(
                self._topic, value, key=str(schedule.course).encode(), headers=self._build_headers(schedule, value)
            )
        )
        self._unacknowledged[schedule.command_id] = time.monotonic(), sending
        sending.add_done_callback(functools.partial(self._on_sent, producer, schedule.command_id))
        return sending

    def _on_sent(self, producer: AIOKafkaProducer, command_id: str, sending: asyncio.Task[object]) -> None:
        if self._unacknowledged.get(command_id, (0.0, None))[1] is sending:
            del self._unacknowledged[command_id]
        error = None if sending.cancelled() else sending.exception()
        # After a timeout nothing was sent. Any other error may leave a gap in the sequence numbers of a partition.
        if error is not None and not isinstance(error, KafkaTimeoutError) and producer is self._producer:
            self._has_failed = True

    def _build_headers(self, schedule: Schedule, value: bytes) -> list[tuple[str, bytes]]:
        headers = [("content-type", b"application/json")]
        if self._signer is not None:
            token = self._signer.issue_token(
                schedule.user_id,
                schedule.root_account,
                TOKEN_LIFETIME_SECONDS,
                command_sha256=digest_command(value),
                **self._token_claims,
            )
            headers.append(("authorization", f"Bearer {token}".encode()))
        return headers

    async def close(self) -> None:
        """Close the producer; ``start`` makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)
        # A command that waits for the topic's metadata waits for ever now: its producer asks for none any more.
        unacknowledged, self._unacknowledged = self._unacknowledged, {}
        for _, sending in unacknowledged.values():
            sending.cancel()


async def _close(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(*KAFKA_ERRORS):
        await close_producer(producer, FLUSH_SECONDS_MAX)

"""Commands that wait on the topic, so that what is measured is the handler and nothing before it."""

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.benchmarks import throughput_probe
from deploy.benchmarks.environment import Installation, Site
from deploy.benchmarks.processes import Running, until
from deploy.benchmarks.throughput_probe import Rate
from deploy.benchmarks.workload import Json, Record
from deploy.local.paths import STATE
from deploy.local.stack import make_keys
from services.auth.signer import Signer
from services.config import HandlerSettings

Answer = TypeVar("Answer")
KEYS = STATE / "bench-keys"
TOKEN_SECONDS = 24 * 3_600
ANSWER_SECONDS_MAX = 2
SUBSCRIBERS = HandlerSettings.model_fields["handler_subscribers"].default
Beside = Callable[[str], AbstractContextManager[None]]


def nothing_beside(url: str) -> AbstractContextManager[None]:
    """The log is left to the handler."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Waiting:
    """``installation``: a log to begin with, which stays as it is, and topics on which ``commands`` wait.

    ``before``: how many verdicts that log holds.
    """

    site: Site
    installation: Installation
    before: int
    commands: int

    async def decided(self, environment: Mapping[str, str], beside: Beside = nothing_beside) -> Rate:
        """A handler decides all of them, on a copy of the log. ``beside``: what else happens to it meanwhile."""

        async def handle(url: str) -> Rate:
            settings = {**self.installation.environment, "DATABASE_URL": url, **environment}
            with beside(url), Running("services.handler", settings) as handler:
                return await throughput_probe.rate(
                    url, [handler], self.before, self.commands, skipped=self.commands // 10
                )

        return await self.on_a_copy(handle)

    async def on_a_copy(self, work: Callable[[str], Awaitable[Answer]]) -> Answer:
        """Work on a copy of the log, dropped afterwards."""
        url = self.site.database(self.installation.url)
        try:
            return await work(url)
        finally:
            self.site.drop(url)


async def waiting(site: Site, url: str, records: Sequence[Record]) -> Waiting:
    """Records on new topics beside a log that holds their courses."""
    installation = await site.installation(url)
    installation.send(records)
    return Waiting(site, installation, await throughput_probe.verdicts(url), len(records))


def require_tokens() -> dict[str, str]:
    """Settings of a handler that believes nobody without a token of :func:`tokens`."""
    make_keys(KEYS)
    return {"COMMAND_AUTH": "required", "JWKS": str(KEYS / "commands.jwks")}


def tokens(each_its_own: bool) -> Callable[[Json], str]:
    """Tokens for commands: one for each user, as from users who send their own commands, or one for each command."""
    make_keys(KEYS)
    signer, held = Signer(KEYS / "issuer.key"), dict[int, str]()

    def token(command: Json) -> str:
        user = int(command["actor"]["user_id"])
        if each_its_own:
            return signer.token(user, 1, TOKEN_SECONDS, jti=str(uuid.uuid4()))
        if user not in held:
            held[user] = signer.token(user, 1, TOKEN_SECONDS)
        return held[user]

    return token


async def joined(
    site: Site,
    template: str,
    records: Sequence[Record],
    count: int = 1,
    first: Sequence[Record] = (),
    settings: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """So many handlers decide, on a copy of the log, records that are sent when all of them have partitions.

    ``first``: what is decided before anything counts, so that what the others need is in memory.
    """
    settings = settings or {}
    subscribers = count * int(settings.get("HANDLER_SUBSCRIBERS", SUBSCRIBERS))
    url = site.database(template)
    installation = await site.installation(url)
    before = await throughput_probe.verdicts(url)
    admin = AdminClient({"bootstrap.servers": installation.bootstrap})
    group = f"{installation.prefix}.handler"
    with contextlib.ExitStack() as stack:
        environment = {**installation.environment, **settings}
        running = [stack.enter_context(Running("services.handler", environment)) for _ in range(count)]
        await until(lambda: _have_partitions(admin, group) == subscribers, f"{count} handlers with partitions")
        installation.send(first)
        await throughput_probe.reached(url, before + len(first))
        installation.send(records)
        rate = await throughput_probe.rate(url, running, before + len(first), len(records))
    site.drop(url)
    return rate.numbers()


def _have_partitions(admin: AdminClient, group: str) -> int:
    try:
        # Asked before the group's coordinator is ready, it waits for its own limit: a minute, unless told.
        described = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS_MAX)[group].result()
    except KafkaException:
        return 0
    return sum(bool(member.assignment.topic_partitions) for member in described.members)

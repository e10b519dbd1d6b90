"""Commands that already wait on the topic, so that only the handler is measured."""

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.benchmarks import throughput_probe
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.processes import RunningProcess, wait_until
from deploy.benchmarks.service_tree import THIS_TREE, ServiceTree
from deploy.benchmarks.throughput_probe import Rate
from deploy.benchmarks.workload import Json, ProducerRecord, encode_command
from deploy.local.kafka import client_settings
from deploy.local.paths import STATE
from services.admin.keys import create_keys
from services.auth.signer import TokenSigner
from services.auth.verifier import digest_command
from services.config.handler import HandlerSettings

Result = TypeVar("Result")
KEYS_FOLDER = STATE / "bench-keys"
TOKEN_LIFETIME_SECONDS = 24 * 3_600
ANSWER_SECONDS_MAX = 2
SUBSCRIBERS = HandlerSettings.model_fields["handler_subscribers"].default
ConcurrentWork = Callable[[str], AbstractContextManager[None]]


def no_concurrent_work(url: str) -> AbstractContextManager[None]:
    """Do nothing while the handler works."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Backlog:
    """``command_count`` commands on the topics of ``installation``, whose log holds ``verdicts_before`` verdicts.

    The log is never changed: each run works on a copy.
    """

    bench_servers: BenchServers
    installation: BenchInstallation
    verdicts_before: int
    command_count: int

    async def run_handler(
        self, environment: Mapping[str, str], concurrent_work: ConcurrentWork = no_concurrent_work
    ) -> Rate:
        """Measure a handler that decides all commands. ``concurrent_work``: other load on the log during that time."""

        async def handle(url: str) -> Rate:
            settings = {**self.installation.environment, "DATABASE_URL": url, **environment}
            with concurrent_work(url), RunningProcess("services.handler", settings) as handler:
                return await throughput_probe.measure_rate(
                    url, [handler], self.verdicts_before, self.command_count, warm_up_count=self.command_count // 10
                )

        return await self.run_on_copy(handle)

    async def run_on_copy(self, work: Callable[[str], Awaitable[Result]]) -> Result:
        """Run ``work`` on a copy of the log, and drop the copy."""
        url = self.bench_servers.new_database(self.installation.url)
        try:
            return await work(url)
        finally:
            self.bench_servers.drop_database(url)


async def create_backlog(bench_servers: BenchServers, url: str, records: Sequence[ProducerRecord]) -> Backlog:
    """Send records to new topics of a log that holds their courses."""
    installation = await bench_servers.new_installation(url)
    installation.send(records)
    return Backlog(bench_servers, installation, await throughput_probe.count_verdicts(url), len(records))


def require_token_settings() -> dict[str, str]:
    """Build the settings of a handler that accepts only the tokens of :func:`create_token_factory`."""
    create_keys(KEYS_FOLDER)
    return {"COMMAND_AUTH": "required", "JWKS": str(KEYS_FOLDER / "commands.jwks")}


def create_bound_token_factory() -> Callable[[Json], str]:
    """Return a function that issues a token for each command, valid for its record alone (COMMAND_AUTH=bound)."""
    create_keys(KEYS_FOLDER)
    signer = TokenSigner(KEYS_FOLDER / "issuer.key")

    def token(command: Json) -> str:
        user, digest = int(command["actor"]["user_id"]), digest_command(encode_command(command))
        return signer.issue_token(user, 1, TOKEN_LIFETIME_SECONDS, command_sha256=digest)

    return token


def create_token_factory(one_per_command: bool) -> Callable[[Json], str]:
    """Return a function that issues tokens: one per user, as for users who send their own commands, or per command."""
    create_keys(KEYS_FOLDER)
    signer, tokens_by_user = TokenSigner(KEYS_FOLDER / "issuer.key"), dict[int, str]()

    def token(command: Json) -> str:
        user = int(command["actor"]["user_id"])
        if one_per_command:
            return signer.issue_token(user, 1, TOKEN_LIFETIME_SECONDS, jti=str(uuid.uuid4()))
        if user not in tokens_by_user:
            tokens_by_user[user] = signer.issue_token(user, 1, TOKEN_LIFETIME_SECONDS)
        return tokens_by_user[user]

    return token


async def run_handlers(
    bench_servers: BenchServers,
    template: str,
    records: Sequence[ProducerRecord],
    count: int = 1,
    warm_up_records: Sequence[ProducerRecord] = (),
    settings: Mapping[str, str] | None = None,
    tree: ServiceTree = THIS_TREE,
) -> dict[str, float]:
    """Measure ``count`` handlers on a copy of the log; ``records`` are sent once all have partitions.

    ``warm_up_records`` are decided before the measurement, so that the state is cached.
    """
    settings = settings or {}
    subscribers = count * int(settings.get("HANDLER_SUBSCRIBERS", SUBSCRIBERS))
    url = bench_servers.new_database(template)
    installation = await bench_servers.new_installation(url, tree)
    verdicts_before = await throughput_probe.count_verdicts(url)
    with contextlib.ExitStack() as stack:
        environment = {**installation.environment_of("handler"), **settings}
        handlers = [stack.enter_context(RunningProcess("services.handler", environment, tree)) for _ in range(count)]
        await wait_for_partitions(installation, subscribers)
        installation.send(warm_up_records)
        await throughput_probe.wait_for_verdicts(url, verdicts_before + len(warm_up_records))
        installation.send(records)
        rate = await throughput_probe.measure_rate(url, handlers, verdicts_before + len(warm_up_records), len(records))
    bench_servers.drop_database(url)
    return rate.round_values()


async def wait_for_partitions(installation: BenchInstallation, subscribers: int) -> None:
    """Wait until so many consumers of the handlers' group have partitions. Raises TimeoutError."""
    admin = AdminClient(client_settings(installation.bootstrap))
    group = f"{installation.prefix}.handler"
    await wait_until(
        lambda: _count_assigned_members(admin, group) == subscribers, f"{subscribers} subscribers with partitions"
    )


def _count_assigned_members(admin: AdminClient, group: str) -> int:
    try:
        # The default timeout is a minute, and the coordinator may not be ready for the first request.
        described = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS_MAX)[group].result()
    except KafkaException:
        return 0
    return sum(bool(member.assignment.topic_partitions) for member in described.members)

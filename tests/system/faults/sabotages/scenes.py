"""Scenes in which a sabotage shows: short runs of one handler, two relays and a scheduler. Unharmed, all are passed."""

import signal
import time

from confluent_kafka import Consumer, TopicPartition

from deploy.local.postgres import PostgresServer
from services.kafka.client_options import librdkafka_options
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topics import full_topic_name
from tests.fixtures.process_runner import Process
from tests.system.faults import log_reader
from tests.system.faults.checker import check
from tests.system.faults.checker.observations import Limits, Violation
from tests.system.faults.collect import collect
from tests.system.faults.course_load import CourseLoad, Json
from tests.system.faults.installation import Installation, wait_until
from tests.system.faults.load import Load
from tests.system.faults.sabotages import SCHEMA
from tests.system.faults.sampler import Sampler
from tests.system.faults.schedules import count_publications, schedule_publications

START = "tests.system.faults.sabotages.start"
CRASHES_MAX = 3
PUBLISHING_SECONDS_MAX = 60
"""Fencings are limited for each minute."""
SCHEDULED_COURSE, SCHEDULES = 700, 3
LEAD_SECONDS = 8
"""A busy machine has decided the schedules by then."""


class Scene:
    """An installation with a handler, two relays and a scheduler, sabotaged or (None) as they are."""

    def __init__(self, installation: Installation, sabotage: str | None) -> None:
        self.installation = installation
        self.sabotage = sabotage
        for statement in SCHEMA.get(sabotage or "", ()):
            log_reader.fetch(installation.database_url, statement)
        self.handler, *self.relays = (self._start(name) for name in ("handler", "relay", "relay"))
        self.load = Load(installation, 1, 100)
        self._start("scheduler")
        installation.wait_until_ready()

    def _start(self, name: str) -> Process:
        process = self.installation.add(name)
        if self.sabotage is not None:
            process.environment |= {"SABOTAGE": self.sabotage, "SABOTAGED_MODULE": process.module}
            process.module = START
        process.start()
        return process

    def new_commands(self) -> list[Json]:
        """Return facts of all courses, each time with new ids."""
        return [command for course in self.load.courses for command in course.facts()]

    def send(self, commands: list[Json]) -> None:
        for command in commands:
            self.load.send(command)
        self.load.wait_until_acknowledged()

    def wait_until_published(self, commands: list[Json]) -> None:
        ids = {command["command_id"] for command in commands}
        wait_until(lambda: ids <= self.installation.verdicts.keys(), "every command has a verdict on the topic")

    def count_verdicts(self) -> int:
        return log_reader.count_rows(self.installation.database_url)["verdicts"]

    def count_committed_offsets(self) -> int:
        """Return how many records are processed according to Kafka's committed offsets."""
        group = f"{self.installation.prefix}.handler"
        consumer = Consumer({**librdkafka_options(self.installation.bootstrap), "group.id": group})
        topic = full_topic_name(self.installation.prefix, "commands")
        committed = consumer.committed([TopicPartition(topic, shard) for shard in ALL_SHARDS], 10)
        consumer.close()
        return sum(max(place.offset, 0) for place in committed)

    def restart_handler(self) -> None:
        self.installation.kill(self.handler)
        self.handler.start()

    def settle(self) -> None:
        """Wait until all is decided and published, and the reader has received it: the last verdict may come first."""
        wait_until(self.installation.is_settled, "all is decided and published")

    def find(self) -> list[Violation]:
        """Return every violation of an invariant."""
        return check(collect(self.installation))

    def count_fencings(self) -> float:
        """Return how often one of the relays has been fenced since its first sample, at most."""
        counts: dict[int, list[float]] = {}
        for line in list(self.installation.history.lines):
            if line["kind"] == "sample" and "fenced" in line:
                counts.setdefault(line["pid"], []).append(line["fenced"])
        return max((of_relay[-1] - of_relay[0] for of_relay in counts.values()), default=0)


def send_twice(scene: Scene) -> None:
    """Send every command twice."""
    commands, before = scene.new_commands(), scene.count_verdicts()
    scene.send(commands)
    scene.send(commands)
    wait_until(lambda: scene.count_verdicts() >= before + 2 * len(commands), "a verdict of each record")
    scene.settle()


def restart_after_a_batch(scene: Scene) -> None:
    """Kill the handler after it has processed everything, and start it again."""
    commands = scene.new_commands()
    scene.send(commands)
    scene.wait_until_published(commands)
    scene.restart_handler()
    scene.load.probe()


def take_over_from_a_late_relay(scene: Scene) -> None:
    """Let a relay hang just before it publishes; the other one publishes the same, and then the first goes on."""
    commands, before = scene.new_commands(), scene.count_verdicts()
    scene.send(commands)
    wait_until(lambda: scene.count_verdicts() >= before + len(commands), "all is decided")
    scene.relays[0].signal(signal.SIGSTOP)
    try:
        scene.wait_until_published(commands)
    finally:
        scene.relays[0].signal(signal.SIGCONT)
    scene.load.probe()
    scene.settle()


def publish_for_a_while(scene: Scene) -> None:
    """Give both relays something to publish repeatedly, until one was fenced more often than a fault run allows."""
    sampler = Sampler(scene.installation, metrics_seconds=1)
    ends_at = time.monotonic() + PUBLISHING_SECONDS_MAX
    while time.monotonic() < ends_at and scene.count_fencings() <= Limits().fenced_per_minute:
        scene.load.probe()
    sampler.stop()


def restart_in_a_batch(scene: Scene) -> None:
    """Kill the handler as soon as Kafka has an offset of a batch, and start it again."""
    commands, before = scene.new_commands(), scene.count_committed_offsets()
    scene.send(commands)
    wait_until(lambda: scene.count_committed_offsets() > before, "offsets are committed")
    scene.restart_handler()
    scene.load.probe()


def publish_at_a_set_time(scene: Scene) -> None:
    """Schedule publications for some seconds ahead, and wait for them."""
    course = CourseLoad(SCHEDULED_COURSE, scene.load.chance, scene.installation.verdicts)
    scheduled = schedule_publications(scene.load, course, SCHEDULES, LEAD_SECONDS, 0.3)
    wait_until(lambda: count_publications(scene.installation, course).keys() >= scheduled.keys(), "all are published")


def crash_the_database(scene: Scene, server: PostgresServer) -> None:
    """Kill PostgreSQL as soon as verdicts are published, until a commit is lost, at most five times."""
    for _ in range(CRASHES_MAX):
        commands = scene.new_commands()[:10]
        scene.send(commands)
        scene.wait_until_published(commands)
        scene.installation.kill(scene.handler)
        published = scene.count_verdicts()
        server.kill()
        server.start()
        lost = published - scene.count_verdicts()
        scene.handler.start()
        if lost:
            return
    scene.settle()

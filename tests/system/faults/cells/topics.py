"""Topics and offsets: a group set back to the beginning, topics made again and cut, more partitions of commands."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

from confluent_kafka import OFFSET_END, ConsumerGroupState, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from deploy.local.kafka import client_settings
from deploy.local.paths import ROOT
from services.kafka.topics import full_topic_name
from tests.system.faults import log_reader, readers
from tests.system.faults.cells import cell
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.installation import Installation, wait_until

REQUEST_SECONDS_MAX = 60
REMEDY = "admin rewind topics"
ACCEPT = "admin accept-recreated-topic"
ACCEPTED = 2
"""The source as which the handlers read the commands topic after the remedy, from its first record."""
NEW_PARTITIONS = 24
DUPLICATES_METRIC = "moderation_duplicates_total"


def admin_of(installation: Installation) -> AdminClient:
    return AdminClient(client_settings(installation.bootstrap))


def run_command(installation: Installation, *arguments: str) -> None:
    """Run ``moderated-grading`` as an operator does. Raises RuntimeError with what it said."""
    command = [sys.executable, "-m", "services.cli", *arguments]
    environment: Mapping[str, str] = installation.of("handler")[0].environment
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")


def run_admin_command(installation: Installation, *arguments: str) -> None:
    """Run ``moderated-grading admin`` as an administrator does. Raises RuntimeError with what it said."""
    run_command(installation, "admin", *arguments)


def recreate_topic(installation: Installation, name: str) -> None:
    """Delete a topic, and let the service's own command make it again."""
    admin = admin_of(installation)
    admin.delete_topics([name])[name].result(REQUEST_SECONDS_MAX)
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, "the topic is gone")
    run_admin_command(installation, "create-topics")


@cell()
def deliver_everything_again(run: FaultRun) -> None:
    """The group's offsets are set to the beginning: every record is delivered again and changes nothing."""
    installation = run.installation
    group, topic = f"{installation.prefix}.handler", full_topic_name(installation.prefix, "commands")
    admin = admin_of(installation)
    run.load.pause()
    run.http.pause()
    try:
        _deliver_again(run, installation, group, topic, admin)
    finally:
        run.load.resume()
        run.http.resume()
    run.recovered()


def _deliver_again(run: FaultRun, installation: Installation, group: str, topic: str, admin: AdminClient) -> None:
    wait_until(installation.is_settled, "all is decided and published", 120)
    before, ends_before = installation.take_snapshot(f"delivered {time.monotonic():.0f}"), _ends(installation)
    handlers = installation.of("handler")
    for handler in handlers:
        installation.stop(handler)

    def is_empty() -> bool:
        described = admin.describe_consumer_groups([group])[group].result(REQUEST_SECONDS_MAX)
        return bool(described.state == ConsumerGroupState.EMPTY)

    wait_until(is_empty, "the group has no member")
    consumer = readers.create_consumer(installation.bootstrap, committed=False)
    partitions = [TopicPartition(topic, place.partition, 0) for place in readers.list_partitions(consumer, topic)]
    consumer.close()
    run.injected("all records delivered again")
    reset = ConsumerGroupTopicPartitions(group, partitions)

    def is_reset() -> bool:
        """Reset again what is not: the answer has an error for each partition."""
        admin.alter_consumer_group_offsets([reset])[group].result(REQUEST_SECONDS_MAX)
        stored = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(10)
        return {place.offset for place in stored.topic_partitions} == {0}

    wait_until(is_reset, "the group begins at the beginning")
    count = readers.read_end_offsets(installation.bootstrap, installation.prefix, ["commands"])["commands"]
    # One consumer reads them all. After its first batch it commits the end of what is decided: another one, to which
    # partitions were moved, would go on from there.
    alone = handlers[0]
    alone.environment["HANDLER_SUBSCRIBERS"] = "1"
    alone.start()
    del alone.environment["HANDLER_SUBSCRIBERS"]

    def count_delivered() -> float:
        return alone.get_metric(DUPLICATES_METRIC, kind="redelivery")

    try:
        wait_until(lambda: count_delivered() >= count, "all was delivered again", 120)
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {count_delivered():.0f} of {count} records") from error
    for handler in handlers[1:]:
        handler.start()
    installation.stop(alone)
    alone.start()

    def is_read() -> bool:
        offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(10)
        committed = sum(max(place.offset, 0) for place in offsets.topic_partitions)
        return bool(committed >= count)

    wait_until(is_read, "the group has read everything again")
    after = installation.take_snapshot(f"delivered again {time.monotonic():.0f}")
    installation.history.add(
        "redelivered", before=before.name, after=after.name, ends_before=ends_before, ends_after=_ends(installation)
    )


def _ends(installation: Installation) -> dict[str, int]:
    return readers.read_end_offsets(installation.bootstrap, installation.prefix, readers.OUTPUTS)


@cell(shared=False)
def make_output_again(run: FaultRun) -> None:
    """An output is deleted and made again: the relay stops and names the remedy, which fills it under the same ids."""
    with run.new_installation("output") as installation:
        installation.start(handlers=1, relays=1, gateways=0)
        with run.loaded(installation) as load:
            time.sleep(5)
        load.stop()
        wait_until(installation.is_settled, "all is decided and published")
        installation.keep_snapshot("before the fault")
        (relay,) = installation.of("relay")
        name = full_topic_name(installation.prefix, "events")
        installation.kill(relay)
        run.injected("output made again")
        recreate_topic(installation, name)
        relay.start()
        wait_until(lambda: REMEDY in relay.get_readiness()[1], "the relay names the remedy")
        installation.kill(relay)
        run_admin_command(installation, "rewind", "topics", "events")
        relay.start()
        installation.start_reader()
        load.probe()
        installation.keep_snapshot("after the fault")
        run.judge(installation, load)


@cell(shared=False)
def add_partitions(run: FaultRun) -> None:
    """The commands topic gets more partitions than there are shards, under load."""
    with run.new_installation("partitions") as installation:
        installation.start(handlers=2, relays=1, gateways=0)
        admin, name = admin_of(installation), full_topic_name(installation.prefix, "commands")
        with run.loaded(installation) as load:
            time.sleep(5)
            installation.keep_snapshot("before the fault")
            run.injected("partitions added")
            admin.create_partitions([NewPartitions(name, NEW_PARTITIONS)])[name].result(REQUEST_SECONDS_MAX)
            time.sleep(10)
            load.probe()
        installation.keep_snapshot("after the fault")
        run.judge(installation, load)


@contextlib.contextmanager
def _commands_refused(run: FaultRun, name: str) -> Iterator[Installation]:
    """Let the block damage the commands topic; the handler must name the remedy, which lets it go on."""
    with run.new_installation(name) as installation:
        installation.start(handlers=1, relays=1, gateways=0)
        with run.loaded(installation) as load:
            time.sleep(4)
        load.stop()
        wait_until(installation.is_settled, "all is decided and published")
        installation.keep_snapshot("before the fault")
        (handler,) = installation.of("handler")
        yield installation
        wait_until(lambda: ACCEPT in handler.get_readiness()[1], "the handler names the remedy")
        decided = log_reader.count_rows(installation.database_url)["verdicts"]
        installation.kill(handler)
        run_admin_command(installation, "accept-recreated-topic", f"cell {name}")
        handler.start()
        with run.loaded(installation, source=ACCEPTED) as load:
            load.probe()
        wait_until(lambda: log_reader.count_rows(installation.database_url)["verdicts"] > decided, "decisions go on")
        installation.keep_snapshot("after the fault")
        run.judge(installation, load)
        run_command(installation, "verify")


@cell(shared=False)
def recreate_commands(run: FaultRun) -> None:
    """The commands topic is deleted and made again, and gets new commands: none is taken for one that was decided."""
    with _commands_refused(run, "recreated") as installation:
        (handler,) = installation.of("handler")
        installation.stop(handler)
        run.injected("commands topic recreated")
        recreate_topic(installation, full_topic_name(installation.prefix, "commands"))
        with run.loaded(installation, source=ACCEPTED) as load:
            time.sleep(2)
        load.stop()
        handler.start()


@cell(shared=False)
def cut_commands(run: FaultRun) -> None:
    """Records are removed from the commands topic before they were decided: the handler names them and stops there."""
    with _commands_refused(run, "cut") as installation:
        (handler,) = installation.of("handler")
        installation.stop(handler)
        with run.loaded(installation, is_removed=True) as load:
            time.sleep(2)
        load.stop()
        run.injected("undecided commands removed")
        admin, name = admin_of(installation), full_topic_name(installation.prefix, "commands")
        consumer = readers.create_consumer(installation.bootstrap, committed=False)
        places = [TopicPartition(name, p.partition, OFFSET_END) for p in readers.list_partitions(consumer, name)]
        consumer.close()
        for removal in admin.delete_records(places).values():
            removal.result(REQUEST_SECONDS_MAX)
        with run.loaded(installation, source=ACCEPTED) as load:
            time.sleep(2)
        load.stop()
        handler.start()

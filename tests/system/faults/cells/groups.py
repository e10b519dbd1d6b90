"""Kafka forgets the consumer group of the handlers."""

from typing import Any

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from services.config.handler import HandlerSettings
from tests.system.faults.cells import cell
from tests.system.faults.cells.topics import REQUEST_SECONDS_MAX, admin_of
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.installation import wait_until


@cell()
def delete_group(run: FaultRun) -> None:
    """The group is deleted while all handlers are stopped and commands arrive: its static members come back."""
    handlers = run.installation.of("handler")
    admin, group = admin_of(run.installation), f"{run.installation.prefix}.handler"
    consumers = len(handlers) * HandlerSettings.model_fields["handler_subscribers"].default
    # A cell before may have kept a handler away for longer than its session.
    wait_until(lambda: len(_members(_describe(admin, group))) == consumers, "every handler has joined")
    members = _members(_describe(admin, group))
    for handler in handlers:
        run.installation.stop(handler)
    wait_until(lambda: _describe(admin, group).state == ConsumerGroupState.EMPTY, "the group has no member")
    run.injected("group deleted")
    admin.delete_consumer_groups([group])[group].result(REQUEST_SECONDS_MAX)
    if _describe(admin, group).state != ConsumerGroupState.DEAD:
        run.fail("the group was not deleted")
    run.hold(1, 3)
    for handler in handlers:
        handler.start()
    run.recovered()
    wait_until(lambda: _members(_describe(admin, group)) == members, "the same static members are back")


def _describe(admin: AdminClient, group: str) -> Any:
    return admin.describe_consumer_groups([group])[group].result(REQUEST_SECONDS_MAX)


def _members(described: Any) -> set[str]:
    return {member.group_instance_id for member in described.members if member.group_instance_id}

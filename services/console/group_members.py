"""Asks the group coordinator which handler has which partition."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from services.kafka.client_options import client_options
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import full_topic_name
from services.runtime.errors import KAFKA_ERRORS

REQUEST_TIMEOUT_SECONDS = 3.0
UNASSIGNED = "unassigned"
# A member id is the member's name, or its client id if it has none, followed by a UUID that the broker adds.
_MEMBER_ID_PATTERN = re.compile(r"(.+)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# While the group rebalances, its assignment is not valid.
_STABLE_STATE, _EMPTY_STATES = "Stable", ("Empty", "Dead")


class GroupMembers:
    """Describes the handlers' group. The only Kafka permission it needs is DESCRIBE on that group."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.commands_topic = full_topic_name(prefix, "commands")
        self.group = f"{prefix}.handler"
        self.owners: Mapping[int, str] | None = None
        self._admin = AIOKafkaAdminClient(**client_options(bootstrap))

    async def start(self) -> None:
        """Connect. Raises KafkaError and OSError."""
        async with kafka_timeout(REQUEST_TIMEOUT_SECONDS, "connecting"):
            await self._admin.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._admin.close()

    async def refresh(self) -> None:
        """Read the owners of the partitions; during a rebalance keep the last known ones.

        ``owners`` becomes None if the coordinator does not answer; KafkaProbe reports that as an outage.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                # aiokafka misreads a response about several groups.
                responses: list[Any] = await self._admin.describe_consumer_groups([self.group])
        except KAFKA_ERRORS:
            self.owners = None
            return
        error, _, state, _, _, members, *_ = responses[0].groups[0]
        if error:
            self.owners = None
        elif state == _STABLE_STATE or state in _EMPTY_STATES:
            try:
                self.owners = {partition: name for member in members for partition, name in self._parse_member(*member)}
            except ValueError:
                self.owners = None

    def get_owner(self, partition: int) -> str | None:
        """Return the member that owns a partition; UNASSIGNED if there is none, None if unknown."""
        return None if self.owners is None else self.owners.get(partition, UNASSIGNED)

    def _parse_member(self, member_id: str, client: str, host: str, _: bytes, assigned: bytes) -> list[tuple[int, str]]:
        match = _MEMBER_ID_PATTERN.fullmatch(member_id)
        name = match[1] if match is not None else member_id
        name = f"a handler at {host.lstrip('/')}" if name == client else name
        return [(partition, name) for partition in decode_assignment(self.commands_topic, assigned)]


def decode_assignment(topic_name: str, assigned: bytes) -> list[int]:
    """Return the partitions of a topic in a member's assignment; an empty list if the assignment is empty.

    Raises:
        ValueError: the bytes are not a consumer assignment; any client that joins the group may write such bytes.
    """
    if not assigned:
        return []
    assignment: Any = ConsumerProtocolMemberAssignment.decode(assigned)
    return [
        partition
        for assigned_topic, partitions in assignment.assignment or ()
        if assigned_topic == topic_name
        for partition in partitions or ()
    ]

"""Who decides a partition: the members of the handlers' group, as its coordinator describes them."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from services.kafka.topics import full_topic_name
from services.runtime.errors import KAFKA_ERRORS

REQUEST_TIMEOUT_SECONDS = 3.0
UNASSIGNED = "nobody"
# A member's id is what it is called, or its client's name where it has no name of its own, and a UUID of the broker's.
_MEMBER_ID_PATTERN = re.compile(r"(.+)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The assignment stands only when the members have agreed on it.
_STABLE_STATE, _EMPTY_STATES = "Stable", ("Empty", "Dead")


class GroupMembers:
    """One small question to the group's coordinator. It needs the right to describe the group, and no other."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.commands_topic = full_topic_name(prefix, "commands")
        self.group = f"{prefix}.handler"
        self.owners: Mapping[int, str] | None = None
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def start(self) -> None:
        """Connect. Raises KafkaError, TimeoutError."""
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            await self._admin.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._admin.close()

    async def refresh(self) -> None:
        """Learn who holds each partition, into ``known``; it stays while the members agree on another assignment.

        ``known`` is None where the coordinator does not say; whether the brokers answer at all others find out.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                # One group a question: the client misreads an answer about several.
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
        """Who decides a partition, NOBODY where no handler does, None where that is not known."""
        return None if self.owners is None else self.owners.get(partition, UNASSIGNED)

    def _parse_member(self, member_id: str, client: str, host: str, _: bytes, assigned: bytes) -> list[tuple[int, str]]:
        match = _MEMBER_ID_PATTERN.fullmatch(member_id)
        name = match[1] if match is not None else member_id
        name = f"a handler at {host.lstrip('/')}" if name == client else name
        return [(partition, name) for partition in decode_assignment(self.commands_topic, assigned)]


def decode_assignment(topic_name: str, assigned: bytes) -> list[int]:
    """The partitions of a topic that a member holds, by the bytes of its assignment: none where it has no such bytes.

    Raises:
        ValueError: they are not a consumer's assignment; whoever may join the group writes them.
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

"""Who decides a partition: the members of the handlers' group, as its coordinator describes them."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from services.kafka.topics import topic

ANSWER_SECONDS_MAX = 3.0
NOBODY = "nobody"
# A member's id is what it is called, or its client's name where it has no name of its own, and a UUID of the broker's.
_MEMBER = re.compile(r"(.+)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The assignment stands only when the members have agreed on it.
_AGREED, _NO_MEMBERS = "Stable", ("Empty", "Dead")


class Owners:
    """One small question to the group's coordinator. It needs the right to describe the group, and no other."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.commands = topic(prefix, "commands")
        self.group = f"{prefix}.handler"
        self.known: Mapping[int, str] | None = None
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def start(self) -> None:
        """Connect. Raises KafkaError, TimeoutError."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await self._admin.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._admin.close()

    async def look(self) -> None:
        """Learn who holds each partition, into ``known``; it stays while the members agree on another assignment.

        ``known`` is None where the coordinator does not say; whether the brokers answer at all others find out.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                # One group a question: the client misreads an answer about several.
                answers: list[Any] = await self._admin.describe_consumer_groups([self.group])
        except (KafkaError, OSError, TimeoutError):
            self.known = None
            return
        error, _, state, _, _, members, *_ = answers[0].groups[0]
        if error:
            self.known = None
        elif state == _AGREED or state in _NO_MEMBERS:
            try:
                self.known = {number: name for member in members for number, name in self._held(*member)}
            except ValueError:
                self.known = None

    def of(self, partition: int) -> str | None:
        """Who decides a partition, NOBODY where no handler does, None where that is not known."""
        return None if self.known is None else self.known.get(partition, NOBODY)

    def _held(self, member_id: str, client: str, host: str, _: bytes, assigned: bytes) -> list[tuple[int, str]]:
        found = _MEMBER.fullmatch(member_id)
        name = found[1] if found is not None else member_id
        name = f"a handler at {host.lstrip('/')}" if name == client else name
        return [(number, name) for number in partitions_of(self.commands, assigned)]


def partitions_of(name: str, assigned: bytes) -> list[int]:
    """The partitions of a topic that a member holds, by the bytes of its assignment: none where it has no such bytes.

    Raises:
        ValueError: they are not a consumer's assignment; whoever may join the group writes them.
    """
    if not assigned:
        return []
    assignment: Any = ConsumerProtocolMemberAssignment.decode(assigned)
    return [number for held, numbers in assignment.assignment or () if held == name for number in numbers or ()]

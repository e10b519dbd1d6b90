"""Reads the offsets that a consumer group has committed."""

from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest


async def fetch_committed_offsets(
    admin: AIOKafkaAdminClient, group: str, coordinator: int, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the group's offset on each of the partitions where it has one. Raises KafkaError.

    ``AIOKafkaAdminClient.list_consumer_group_offsets`` ignores the error of the whole response, so that a group that a
    coordinator is still loading would look like one without offsets; and for the error of a partition it raises
    NoError.
    """
    partitions_by_topic: dict[str, list[int]] = {}
    for topic, partition in partitions:
        partitions_by_topic.setdefault(topic, []).append(partition)
    request = OffsetFetchRequest(group, list(partitions_by_topic.items()))
    return read_offset_response(await admin._send_request(request, coordinator))


def read_offset_response(response: Any) -> dict[TopicPartition, int]:
    """Return the offsets of a response to OffsetFetch, version 1 to 3. Raises KafkaError."""
    _raise_for_code(getattr(response, "error_code", 0))  # Version 1 has none.
    offsets = {}
    for topic, partitions in response.topics:
        for partition, offset, _, error_code in partitions:
            _raise_for_code(error_code)
            if offset >= 0:
                offsets[TopicPartition(topic, partition)] = offset
    return offsets


def _raise_for_code(code: int) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error

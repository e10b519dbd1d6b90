"""Asks for the cluster's own quorum: the number of its nodes, including those that are down.

aiokafka has no request for it, and its list of brokers holds only those that are up: topics created while two of three
brokers are down would permanently have one replica. Uses Kafka's DescribeQuorum request (KIP-595), version 0.
"""

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

METADATA_TOPIC = "__cluster_metadata"
_REPLICA = Schema(("replica_id", Int32), ("log_end_offset", Int64), ("tags", TaggedFields))


class DescribeQuorumResponse(Response):
    """The voters (controllers) and the observers (other brokers) of the metadata partition."""

    API_KEY = 55
    API_VERSION = 0
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic_name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", CompactArray(_REPLICA)),
                        ("observers", CompactArray(_REPLICA)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorumRequestStruct(RequestStruct):
    """The request on the wire."""

    FLEXIBLE_VERSION = True
    API_KEY = 55
    API_VERSION = 0
    RESPONSE_TYPE = DescribeQuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_name", CompactString("utf-8")),
                ("partitions", CompactArray(("partition_index", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorumRequest(Request[DescribeQuorumRequestStruct]):
    """Asks for the quorum of the metadata partition."""

    API_KEY = 55

    def build(self, request_struct_class: type[DescribeQuorumRequestStruct]) -> DescribeQuorumRequestStruct:
        """Return the request."""
        return request_struct_class([(METADATA_TOPIC, [(0, {})], {})], {})


async def count_quorum_nodes(admin: AIOKafkaAdminClient) -> int | None:
    """Return the number of controllers and brokers of the cluster; None if it is unknown.

    It is unknown to a login without the permission DESCRIBE on the cluster.

    Raises:
        KafkaError: Kafka does not answer.
    """
    try:
        response: Any = await admin._send_request(DescribeQuorumRequest())
    except (IncompatibleBrokerVersion, NotImplementedError):
        return None
    nodes = {
        replica[0]
        for _, partitions, _ in response.topics
        for partition in partitions
        if partition[1] == 0
        for replica in (*partition[5], *partition[6])
    }
    return len(nodes) if response.error_code == 0 and nodes else None

"""Grants the access control lists of ``acls.yaml``: ``deploy/grant-acls [--prefix P] [--show] ROLE=USER…``.

ROLE is a role of the file; ``consumer:TOPIC`` names the topic too. Granting again changes nothing, and existing grants
are never removed: use ``kafka-acls`` or the tools of a managed Kafka for that.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from deploy.local.kafka import client_settings
from schemas.topics import TOPICS
from services.config.base import SettingsError
from services.config.kafka import KafkaSettings

ACLS_FILE = Path(__file__).with_name("acls.yaml")
REQUEST_SECONDS_MAX = 30
ANY: Any = None
"""Matches any name, principal or host in a filter; confluent_kafka's types do not allow None."""
RESOURCE_TYPES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}


class UnknownRole(Exception):
    """A role or topic that the file does not have."""


def read_roles() -> dict[str, list[dict[str, Any]]]:
    """Return the rules of each role of the file."""
    sections: dict[str, dict[str, list[dict[str, Any]]]] = yaml.safe_load(ACLS_FILE.read_text())
    return {role: rules for section in sections.values() for role, rules in section.items()}


def build_acls(role: str, user: str, prefix: str) -> list[AclBinding]:
    """Return the grants that a user needs for a role. ``consumer:TOPIC``: a consumer of a topic, without its prefix.

    Raises:
        UnknownRole: there is no such role or topic.
    """
    name, _, topic = role.partition(":")
    roles = read_roles()
    if name not in roles or (name == "consumer") != (topic in TOPICS):
        choices = [choice for choice in roles if choice != "consumer"] + [f"consumer:{topic}" for topic in TOPICS]
        raise UnknownRole(f"{role} is not a role: choose from {', '.join(choices)}")
    bindings = []
    for rule in roles[name]:
        ((kind, pattern),) = ((key, value) for key, value in rule.items() if key in RESOURCE_TYPES)
        pattern_type = ResourcePatternType.PREFIXED if rule.get("prefixed") else ResourcePatternType.LITERAL
        resource = pattern.format(prefix=prefix, topic=topic, user=user)
        bindings += [
            AclBinding(
                RESOURCE_TYPES[kind],
                resource,
                pattern_type,
                f"User:{user}",
                "*",
                AclOperation[operation],
                AclPermissionType.ALLOW,
            )
            for operation in rule["allow"]
        ]
    return bindings


def grant(client: AdminClient, bindings: Sequence[AclBinding]) -> None:
    """Grant, and wait until a broker has the grants, so that a client that starts at once is not refused.

    Raises:
        KafkaException: the brokers refuse, or have no authorizer.
        TimeoutError: the grants are not in effect after REQUEST_SECONDS_MAX.
    """
    for created in client.create_acls(list(bindings), request_timeout=REQUEST_SECONDS_MAX).values():
        created.result(REQUEST_SECONDS_MAX)
    wanted, deadline = set(map(str, bindings)), time.monotonic() + REQUEST_SECONDS_MAX
    everything = AclBindingFilter(
        ResourceType.ANY, ANY, ResourcePatternType.ANY, ANY, ANY, AclOperation.ANY, AclPermissionType.ANY
    )
    while not wanted <= set(map(str, client.describe_acls(everything).result(REQUEST_SECONDS_MAX))):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the brokers do not have all grants after {REQUEST_SECONDS_MAX} s; grant them again")
        time.sleep(0.05)


def format_acl(binding: AclBinding) -> str:
    """Format a grant as one readable line."""
    prefixed = "*" if binding.resource_pattern_type == ResourcePatternType.PREFIXED else ""
    kind = ResourceType(binding.restype).name.lower().replace("broker", "cluster")
    return f"{binding.principal:<24} {AclOperation(binding.operation).name:<17} {kind} {binding.name}{prefixed}"


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser("deploy/grant-acls")
    parser.add_argument("roles", nargs="+", metavar="ROLE=USER", help="a role of deploy/kafka/acls.yaml and its user")
    parser.add_argument("--prefix", default=None, help="the topics' prefix (default: TOPIC_PREFIX)")
    parser.add_argument("--show", action="store_true", help="print the list and grant nothing")
    options = parser.parse_args(arguments)
    try:
        settings = KafkaSettings(kafka_bootstrap="none") if options.show else KafkaSettings()
        prefix = options.prefix or settings.topic_prefix
        pairs = [pair.partition("=")[::2] for pair in options.roles]
        bindings = [binding for role, user in pairs for binding in build_acls(role, user or role, prefix)]
        print("\n".join(map(format_acl, bindings)))
        if not options.show:
            grant(AdminClient(client_settings(settings.kafka_bootstrap)), bindings)
            print(f"granted: {len(bindings)}")
    except (UnknownRole, SettingsError, TimeoutError) as error:
        print(f"deploy/grant-acls: {error}", file=sys.stderr)
        return 2
    except KafkaException as error:
        print(f"deploy/grant-acls: Kafka refused, some grants may be missing: {error.args[0].str()}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

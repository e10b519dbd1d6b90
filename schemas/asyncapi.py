"""The AsyncAPI 3.0 document of all topics, made from the catalog; ``python -m schemas.generate`` writes it."""

import json
from pathlib import Path
from typing import Any

import yaml

from schemas import catalog
from schemas.catalog import MESSAGES, Message
from schemas.topics import TOPICS

Json = dict[str, Any]
EXAMPLES = Path(__file__).parent / "examples"
TOPIC_PREFIX = "moderation"
KAFKA_BINDINGS = "0.5.0"
DESCRIPTION = """Moderated grading by Canvas's rules. Commands come in on one topic and get one verdict each; published
grades leave as Canvas Live Events and as IMS Caliper.

- The prefix `moderation` of all topics is a setting. Every topic has as many partitions as the log has shards.
- Produce with the course's id in decimal as the key, murmur2 partitioning, `acks=all`, idempotent; draw `command_id`
  once and reuse it for every retry.
- Consume with `isolation.level=read_committed`. What the relay writes is a CloudEvent in binary mode: tell records
  apart by `ce_id`, and see that nothing is missing by `ce_sequence`, which is dense per topic and partition.
- Values may gain keys in later versions; none is taken away or changes its type."""


def render_yaml() -> str:
    """Write the document as YAML."""
    head = "# Made by python -m schemas.generate: change schemas/, not this file.\n"
    return head + yaml.dump(build_document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def build_document() -> Json:
    """Write the document as JSON."""
    topics = list(TOPICS)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:moderated-grading",
        "info": {
            "title": "Moderated Grading",
            "version": "1.0.0",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
            "tags": [{"name": "kafka"}, {"name": "cloudevents"}, {"name": "canvas"}, {"name": "caliper"}],
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "The brokers that KAFKA_BOOTSTRAP names",
                "variables": {"bootstrap": {"default": "localhost:9092", "description": "host:port of a broker"}},
            }
        },
        "channels": {topic: _channel(topic) for topic in topics},
        "operations": _operations(),
        "components": {
            "messages": {message.name: _message(message) for message in MESSAGES} | {"progress": _progress_message()},
            "schemas": {
                f"{topic}-headers": catalog.get_topic_headers(topic) for topic in topics if topic != "progress"
            },
            "correlationIds": {
                "command": {
                    "description": "A verdict carries the command's own id.",
                    "location": "$message.payload#/command_id",
                },
                "cause": {
                    "description": "What follows from a command carries its id.",
                    "location": "$message.header#/ce_causationid",
                },
            },
        },
    }


def _channel(topic: str) -> Json:
    names = ["progress"] if topic == "progress" else [message.name for message in catalog.get_topic_messages(topic)]
    return {
        "address": f"{TOPIC_PREFIX}.{topic}",
        "title": TOPICS[topic].title,
        "description": TOPICS[topic].description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": f"{TOPIC_PREFIX}.{topic}",
                "partitions": TOPICS[topic].partition_count(),
                "replicas": 3,
                "topicConfiguration": _topic_configuration(topic),
                "bindingVersion": KAFKA_BINDINGS,
            }
        },
    }


def _topic_configuration(topic: str) -> Json:
    """Convert settings to the types of AsyncAPI's Kafka bindings."""
    return {
        name: [value] if name == "cleanup.policy" else int(value) if value.lstrip("-").isdigit() else value
        for name, value in TOPICS[topic].config.items()
    }


def _operations() -> Json:
    commands = [message.name for message in catalog.get_topic_messages("commands")]
    user_commands = [
        name for name in commands if not name.startswith(("upsert", "configure")) and name not in _LMS_FACTS
    ]
    reply = {"channel": {"$ref": "#/channels/verdicts"}, "messages": [{"$ref": "#/channels/verdicts/messages/verdict"}]}
    operations = {
        "decideCommands": {
            **_operation("receive", "commands", commands, "The handler decides every command; its verdict follows."),
            "bindings": {
                "kafka": {"groupId": _const_schema(f"{TOPIC_PREFIX}.handler"), "bindingVersion": KAFKA_BINDINGS}
            },
            "reply": reply,
        },
        "sendCommandsOfRequests": {
            **_operation(
                "send", "commands", user_commands, "The gateway makes a command of every HTTP request that writes."
            ),
            "bindings": {
                "kafka": {"clientId": _const_schema(f"{TOPIC_PREFIX}-gateway"), "bindingVersion": KAFKA_BINDINGS}
            },
            "reply": reply,
        },
    }
    for topic, summary in _PUBLISH_SUMMARIES.items():
        names = ["progress"] if topic == "progress" else [message.name for message in catalog.get_topic_messages(topic)]
        words = "".join(word.capitalize() for word in topic.split("-"))
        operations[f"publish{words}"] = _operation("send", topic, names, summary)
    return operations


_LMS_FACTS = frozenset({"record_submission", "record_submission_comment", "post_grades", "hide_grades"})
_PUBLISH_SUMMARIES = {
    "verdicts": "The relay answers every command.",
    "live-events": "The relay publishes grades: when they are published, posted or hidden.",
    "caliper": "The relay publishes the same grades as Caliper events, in the same transaction.",
    "events": "The relay publishes every event of the log, in its order.",
    "dead-letters": "The relay hands on what cannot be answered.",
    "progress": "The relay notes how far it has come, in the same transaction as what it sent.",
}


def _operation(action: str, topic: str, names: list[str], summary: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in names],
    }


def _message(message: Message) -> Json:
    message_object: Json = {"name": message.name, "title": _title(message.name), "summary": message.summary}
    message_object["contentType"] = "application/json" if message.value is not None else "application/octet-stream"
    headers: Json = {"$ref": f"#/components/schemas/{message.topic}-headers"}
    ce_type_schema = (
        {"properties": {"ce_type": _const_schema(message.ce_type)}} if message.ce_type is not None else None
    )
    message_object["headers"] = (
        headers if ce_type_schema is None else {"allOf": [headers, {"type": "object", **ce_type_schema}]}
    )
    if message.value is not None:
        message_object["payload"] = to_draft_07(message.value)
        is_command_or_verdict = message.topic in ("commands", "verdicts")
        message_object["correlationId"] = {
            "$ref": f"#/components/correlationIds/{'command' if is_command_or_verdict else 'cause'}"
        }
    key = {"type": "string", "description": "The course's id in decimal.", "examples": ["1001"]}
    message_object["bindings"] = {"kafka": {"key": key, "bindingVersion": KAFKA_BINDINGS}}
    message_object["examples"] = [{"name": message.name, **json.loads((EXAMPLES / f"{message.name}.json").read_text())}]
    return message_object


def _progress_message() -> Json:
    key = _const_schema("relay")
    return {
        "name": "progress",
        "title": "Progress",
        "summary": "The last number of each shard that is on the topics. Its form may change with any version.",
        "contentType": "application/json",
        "payload": {"type": "object"},
        "bindings": {"kafka": {"key": key, "bindingVersion": KAFKA_BINDINGS}},
    }


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _const_schema(value: str) -> Json:
    return {"type": "string", "const": value}


def to_draft_07(schema: Json) -> Json:
    """Convert a schema to AsyncAPI's own dialect, which is draft 7's; references are replaced by what they name."""
    definitions = schema.get("$defs", {})

    def convert(node: Any) -> Any:
        if isinstance(node, list):
            return [convert(part) for part in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            rest = {key: part for key, part in node.items() if key != "$ref"}
            return {**convert(definitions[node["$ref"].rpartition("/")[2]]), **convert(rest)}
        converted = {key: convert(part) for key, part in node.items() if key not in ("$defs", "$schema", "$id")}
        if "prefixItems" in converted:
            converted |= {"items": converted.pop("prefixItems"), "additionalItems": False}
        if "dependentRequired" in converted:
            converted["dependencies"] = converted.pop("dependentRequired")
        return converted

    converted_schema: Json = convert(schema)
    return converted_schema


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, nothing by alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent_text)

"""The contract files are current, valid and closed, and have an example of every message."""

import json
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from faststream.specification import AsyncAPI

from schemas import asyncapi, generate
from schemas.catalog import MESSAGES, Message
from schemas.topics import DEFAULT_SHARD_COUNT, TOPICS
from services.commands.parse import ParsedCommand, parse
from services.config.handler import HandlerSettings
from services.eventlog.installation import Installation
from services.handler.app import build_app
from services.handler.metrics import HandlerTelemetry
from services.kafka import topics
from services.runtime.health import Health
from services.telemetry.metrics.handler import HandlerMetrics
from tests.fixtures.command_samples import DATA, build_command
from tests.fixtures.schema_descriptions import find_undescribed

Json = dict[str, Any]
FOLDER = Path(generate.FOLDER)
EXAMPLES = {message.name: json.loads((FOLDER / f"examples/{message.name}.json").read_text()) for message in MESSAGES}
WITH_SCHEMA = [message for message in MESSAGES if message.value is not None]


@cache
def render_files() -> dict[str, str]:
    return generate.render_files()


@cache
def asyncapi_document() -> Json:
    return asyncapi.build_document()


@cache
def generated_schemas() -> dict[str, Json]:
    return {path: json.loads(text) for path, text in render_files().items() if path.endswith(".json")}


def test_generated_files_are_current() -> None:
    wanted = render_files()
    found = {str(path.relative_to(FOLDER)) for path in (FOLDER / "generated").rglob("*.json")} | {
        "asyncapi.yaml",
        "reasons.md",
    }
    assert found == set(wanted)
    stale = [path for path, text in wanted.items() if (FOLDER / path).read_text() != text]
    assert stale == [], "run python -m schemas.generate"


@pytest.mark.slow
def test_every_schema_is_json_schema_2020_12_with_a_unique_id() -> None:
    schemas = generated_schemas()
    for schema in schemas.values():
        jsonschema_rs.meta.validate(schema)
    assert len({schema["$id"] for schema in schemas.values()}) == len(schemas) == 26 + 27 + 3 + 1 + 6


def test_messages_and_examples_correspond_one_to_one() -> None:
    assert {path.stem for path in (FOLDER / "examples").iterdir()} == set(EXAMPLES)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_example_matches_its_schema_and_parses_as_its_type(message: Message) -> None:
    example = EXAMPLES[message.name]
    assert set(example) == {"headers", "payload"}
    jsonschema_rs.validator_for(message.headers).validate(example["headers"])
    if message.value is not None:
        jsonschema_rs.validator_for(message.value).validate(example["payload"])
    if message.topic == "commands":
        parsed = parse(json.dumps(example["payload"]).encode())
        assert isinstance(parsed, ParsedCommand)
        assert parsed.command.type == message.name


def objects(schema: Any, value: Any) -> Iterator[Json]:
    """Yield every object in a value, except free-form ones."""
    if isinstance(value, dict):
        yield value
        for name, part in value.items():
            if name not in ("rubric_assessment", "permissions"):
                yield from objects(schema, part)
    elif isinstance(value, list):
        for part in value:
            yield from objects(schema, part)


@pytest.mark.parametrize("message", WITH_SCHEMA, ids=lambda message: message.name)
def test_message_objects_reject_additional_keys(message: Message) -> None:
    validator = jsonschema_rs.validator_for(message.value or {})
    value = EXAMPLES[message.name]["payload"]
    for node in objects(message.value, value):
        node["surprise"] = 1
        assert not validator.is_valid(value), node
        del node["surprise"]
    assert validator.is_valid(value)


@pytest.mark.parametrize("kind", DATA)
def test_command_with_every_field_set_matches_its_schema(kind: str) -> None:
    validator = jsonschema_rs.validator_for(generated_schemas()[f"generated/commands/{kind}.schema.json"])
    validator.validate(build_command(kind))
    for name in DATA[kind]:
        changed = build_command(kind, data={**DATA[kind], name: object})
        changed["data"][name] = {"no": "such thing"} if name != "rubric_assessment" else 7
        assert not validator.is_valid(changed), name


@pytest.mark.parametrize(
    "change",
    [
        {"http_status": 400}, {"reason": "unauthorized"}, {"message": "x"}, {"result": None}, {"result": {"id": 1}},
        {"status": "rejected"}, {"type": "upsert_course"}, {"root_account_id": 1}, {"type": "x y"},
    ],
)  # fmt: skip
def test_verdict_schema_rejects_contradictory_fields(change: Json) -> None:
    validator = jsonschema_rs.validator_for(generated_schemas()["generated/verdict.schema.json"])
    assert not validator.is_valid({**EXAMPLES["verdict"]["payload"], **change})


def test_asyncapi_topics_match_the_created_topics() -> None:
    channels = asyncapi_document()["channels"]
    assert set(channels) == set(TOPICS)
    for name, channel in channels.items():
        kafka = channel["bindings"]["kafka"]
        assert channel["address"] == kafka["topic"] == topics.full_topic_name("moderation", name)
        assert kafka["partitions"] == TOPICS[name].partition_count()
        said = {
            key: ",".join(part) if isinstance(part, list) else str(part)
            for key, part in kafka["topicConfiguration"].items()
        }
        assert said == dict(TOPICS[name].config)


def test_asyncapi_operations_match_the_faststream_specification() -> None:
    settings = HandlerSettings(database_url="postgresql://u@h/d", kafka_bootstrap="localhost:9092")
    installation = Installation(uuid.uuid4(), DEFAULT_SHARD_COUNT)
    application, _ = build_app(settings, installation, Health(), HandlerTelemetry(HandlerMetrics(), None), None)
    broker: Any = application.broker
    seen = AsyncAPI(broker, schema_version="3.0.0").to_specification().to_jsonable()
    document = asyncapi_document()
    ours = {channel["address"]: name for name, channel in document["channels"].items()}
    for operation in seen["operations"].values():
        channel = seen["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        matching = [
            ours_too
            for ours_too in document["operations"].values()
            if ours_too["action"] == operation["action"]
            and ours_too["channel"]["$ref"] == f"#/channels/{ours[channel['address']]}"
        ]
        assert len(matching) == 1
        groups = {subscriber.group_id for subscriber in broker.subscribers}
        assert groups == {matching[0]["bindings"]["kafka"]["groupId"]["const"]}


def test_asyncapi_documents_verdicts_as_command_replies() -> None:
    document = asyncapi_document()
    decide = document["operations"]["decideCommands"]
    assert decide["reply"]["channel"]["$ref"] == "#/channels/verdicts"
    assert len(decide["messages"]) == len(DATA)
    messages = document["components"]["messages"]
    correlations = {messages[name]["correlationId"]["$ref"] for name in [*DATA, "verdict"]}
    assert correlations == {"#/components/correlationIds/command"}


def test_every_field_of_every_message_is_described() -> None:
    found = [f"{path}{field}" for path, schema in generated_schemas().items() for field in find_undescribed(schema)]
    assert found == []


def test_every_field_of_the_asyncapi_document_is_described() -> None:
    assert sorted(set(find_undescribed(asyncapi_document()))) == []

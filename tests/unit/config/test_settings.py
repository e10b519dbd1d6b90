"""Errors of settings name the missing or invalid variable, and contain no secret."""

import pytest

from services.config.base import SettingsError
from services.config.cli import ModeratorSettings
from services.config.database import DatabaseSettings
from services.config.handler import HandlerSettings
from services.config.relay import RelaySettings

PASSWORD = "hunter2"
VALID_SETTINGS = {"KAFKA_BOOTSTRAP": "localhost:9092", "DATABASE_URL": f"postgresql://log:{PASSWORD}@localhost/log"}
OPTIONAL_SETTINGS = [
    "TOPIC_PREFIX", "EVENT_SOURCE", "LIVE_EVENTS_SHARD", "HANDLER_SUBSCRIBERS", "HANDLER_INSTANCE",
    "HANDLER_BATCH_RECORDS", "COMMAND_AUTH", "JWKS", "HEALTH_PORT", "HEALTH_HOST",
    "LOG_LEVEL",
]  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in OPTIONAL_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in VALID_SETTINGS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_only_kafka_and_database_settings_are_required() -> None:
    handler, relay = HandlerSettings(), RelaySettings()
    assert (handler.handler_subscribers, handler.handler_batch_records, handler.handler_instance) == (2, 1_000, None)
    assert (handler.topic_prefix, handler.log_level) == ("moderation", "INFO")
    assert (handler.health_host, handler.health_port) == ("127.0.0.1", 0)
    assert (relay.event_source, relay.live_events_shard) == ("urn:moderated-grading", None)
    assert handler.url() == VALID_SETTINGS["DATABASE_URL"]


def test_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    for name in OPTIONAL_SETTINGS:
        environment.setenv(name, "")
    assert RelaySettings().live_events_shard is None
    assert HandlerSettings().handler_instance is None


@pytest.mark.parametrize("name", VALID_SETTINGS)
def test_missing_variable_error_names_the_fix_and_prints_no_secret(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.delenv(name)
    with pytest.raises(SettingsError, match=f"^{name} is not set: set it to ") as caught:
        HandlerSettings()
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"mysql://log:{PASSWORD}@localhost/log"), ("DATABASE_URL", f"postgresql://log:{PASSWORD}@[/log"),
        ("KAFKA_BOOTSTRAP", "broker-1:9092,"), ("TOPIC_PREFIX", "a/b"),
        ("HANDLER_SUBSCRIBERS", "0"), ("HANDLER_SUBSCRIBERS", "two"),
        ("HANDLER_BATCH_RECORDS", "5001"), ("HANDLER_INSTANCE", "a b"), ("HEALTH_PORT", "65536"), ("LOG_LEVEL", "LOUD"),
        ("EVENT_SOURCE", "two words"), ("LIVE_EVENTS_SHARD", "0"), ("LIVE_EVENTS_SHARD", "900001"),
    ],
)  # fmt: skip
def test_invalid_variable_error_names_the_fix(name: str, value: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(name, value)
    settings = RelaySettings if name in ("EVENT_SOURCE", "LIVE_EVENTS_SHARD") else HandlerSettings
    with pytest.raises(SettingsError, match=f"^{name} cannot be used as it is: set it to ") as caught:
        settings()
    assert PASSWORD not in str(caught.value)


def test_settings_never_print_the_password() -> None:
    for settings in (DatabaseSettings(), HandlerSettings(), RelaySettings()):
        assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_base_url_with_a_password_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MODERATOR_TOKEN", "token")
    environment.setenv("GATEWAY_URL", f"https://moderator:{PASSWORD}@gateway.example")
    with pytest.raises(
        SettingsError, match="^GATEWAY_URL cannot be used as it is: .* without user and password$"
    ) as caught:
        ModeratorSettings()
    assert PASSWORD not in str(caught.value)


def test_command_auth_requires_jwks_from_a_file_or_over_tls(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("COMMAND_AUTH", "required")
    with pytest.raises(SettingsError, match="^JWKS is not set: with COMMAND_AUTH=required set it to the path"):
        HandlerSettings()
    for wrong in ("http://keys.example/jwks", "ftp://127.0.0.1/jwks", "https:///jwks"):
        environment.setenv("JWKS", wrong)
        with pytest.raises(SettingsError, match="^JWKS cannot be used"):
            HandlerSettings()
    for right in ("/run/keys/jwks.json", "https://keys.example/jwks", "http://127.0.0.1:8080/jwks"):
        environment.setenv("JWKS", right)
        assert HandlerSettings().jwks == right


def test_bootstrap_servers_are_parsed_as_a_list_ignoring_spaces(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_BOOTSTRAP", " broker-1:9092, broker-2:9092 ,broker-3:9092")
    settings = HandlerSettings()
    assert settings.bootstrap_servers() == ["broker-1:9092", "broker-2:9092", "broker-3:9092"]
    assert settings.kafka_bootstrap == "broker-1:9092,broker-2:9092,broker-3:9092"

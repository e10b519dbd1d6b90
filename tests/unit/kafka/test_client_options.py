"""The connection arguments of Kafka clients, which every client uses."""

import ast
import os
import ssl
from pathlib import Path

import pytest
from faststream.kafka.security import parse_security

from deploy.local.certificates import CertificateAuthority
from services.config.base import SettingsError
from services.config.handler import HandlerSettings
from services.config.kafka import KafkaSecuritySettings
from services.handler.faststream_adapter import faststream_security
from services.kafka.client_options import client_options, librdkafka_options

ROOT = Path(__file__).parents[3]
CLIENTS = {
    "AIOKafkaAdminClient",
    "AIOKafkaClient",
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "AdminClient",
    "Consumer",
    "Producer",
}
OPTIONS = {"client_options", "kafka_options", "librdkafka_options", "client_settings", "consumer_config", "settings_of"}
BOOTSTRAP_ARGUMENTS = {"bootstrap_servers", "bootstrap.servers"}
MENTIONS = (*(f"{name}(" for name in (*CLIENTS, "KafkaBroker")), *BOOTSTRAP_ARGUMENTS)
"""A source without any of these need not be parsed."""
OPTION_MODULES = {
    ROOT / "services/kafka/client_options.py",
    ROOT / "schemas/consumer-kit/kafka_options.py",
    ROOT / "schemas/producer-kit/kafka_options.py",
    ROOT / "deploy/local/kafka_security.py",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("KAFKA_"):
            monkeypatch.delenv(name)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("opensesame\n")
    return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Create an authority that has issued a certificate for the relay."""
    authority = CertificateAuthority(tmp_path_factory.mktemp("authority"))
    authority.create("relay")
    return authority


def test_clients_connect_without_tls_unless_a_protocol_is_set() -> None:
    assert client_options("broker:9092") == {"bootstrap_servers": "broker:9092", "security_protocol": "PLAINTEXT"}
    assert librdkafka_options("broker:9092") == {"bootstrap.servers": "broker:9092", "security.protocol": "PLAINTEXT"}
    assert parse_security(faststream_security())["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_every_kind_of_client_authenticates_with_the_settings(
    protocol: str, mechanism: str, password_file: Path, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", protocol)
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", mechanism)
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "relay")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(password_file))
    if protocol == "SASL_SSL":
        monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(authority.certificate))

    for options in (client_options("broker:9092"), parse_security(faststream_security())):
        assert options["security_protocol"] == protocol
        assert options["sasl_mechanism"] == mechanism
        assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("relay", "opensesame")
        assert isinstance(options.get("ssl_context"), ssl.SSLContext) == (protocol == "SASL_SSL")
    librdkafka = librdkafka_options("broker:9092")
    assert (librdkafka["security.protocol"], librdkafka["sasl.mechanism"]) == (protocol, mechanism)
    assert (librdkafka["sasl.username"], librdkafka["sasl.password"]) == ("relay", "opensesame")


def test_brokers_are_verified_by_host_name_and_the_configured_authorities_only(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(authority.certificate))
    monkeypatch.setenv("KAFKA_SSL_CERTIFICATE_FILE", str(authority.issued("relay").certificate))
    monkeypatch.setenv("KAFKA_SSL_KEY_FILE", str(authority.issued("relay").key))

    context = client_options("broker:9092")["ssl_context"]

    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert [dict(pair[0] for pair in ca["subject"]) for ca in context.get_ca_certs()] == [
        {"commonName": "moderated-grading local stack"}
    ]
    assert librdkafka_options("broker:9092")["ssl.key.location"] == str(authority.issued("relay").key)


def test_next_client_uses_a_rotated_password(password_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "relay")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(password_file))
    client_options("broker:9092")

    password_file.write_text("rotated")

    assert client_options("broker:9092")["sasl_plain_password"] == "rotated"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"KAFKA_SECURITY_PROTOCOL": "TLS"},
            "KAFKA_SECURITY_PROTOCOL cannot be used as it is: set it to PLAINTEXT, SSL",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_PASSWORD_FILE is not set: set it to the path"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_PASSWORD_FILE": "/password"},
            "KAFKA_SASL_USERNAME is not set: set it to the Kafka user",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERTIFICATE_FILE": "/c"}, "KAFKA_SSL_KEY_FILE is not set"),
        ({"KAFKA_SASL_USERNAME": "relay"}, "KAFKA_SASL_USERNAME is set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"KAFKA_SSL_CA_FILE": "/ca"}, "KAFKA_SSL_CA_FILE is set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
    ],
)
def test_processes_do_not_start_with_incomplete_security_settings(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"^{message}"):
        HandlerSettings()


@pytest.mark.parametrize("name", ["KAFKA_SSL_CA_FILE", "KAFKA_SSL_CERTIFICATE_FILE", "KAFKA_SASL_PASSWORD_FILE"])
def test_error_of_an_unusable_file_names_the_file_and_its_setting(
    name: str, password_file: Path, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "KAFKA_SSL_CA_FILE": str(authority.certificate),
        "KAFKA_SSL_CERTIFICATE_FILE": str(authority.issued("relay").certificate),
        "KAFKA_SSL_KEY_FILE": str(authority.issued("relay").key),
        "KAFKA_SASL_PASSWORD_FILE": str(password_file),
    }
    settings = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "relay", **files, name: "/missing.pem"}
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)

    for make in (lambda: client_options("broker:9092"), faststream_security, lambda: librdkafka_options("broker:9092")):
        with pytest.raises(SettingsError, match=rf"^{name}: /missing.pem cannot be used \(No such file .*: set it to "):
            make()


def test_no_setting_holds_the_password_itself() -> None:
    assert not [name for name in KafkaSecuritySettings.model_fields if name.endswith("password")]


def find_other_clients(path: Path) -> list[str]:
    """Return the calls in a source file that construct a client with other connection arguments than these."""
    findings: list[str] = []
    source = path.read_text()
    if not any(mention in source for mention in MENTIONS):
        return findings
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in CLIENTS:
                names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                if not names & OPTIONS:
                    findings.append(f"{path.relative_to(ROOT)}:{node.lineno} {name} without client_options")
            case ast.Call(func=ast.Name(id="KafkaBroker"), keywords=keywords):
                if "security" not in {keyword.arg for keyword in keywords} and "tests" not in path.parts:
                    findings.append(f"{path.relative_to(ROOT)}:{node.lineno} KafkaBroker without security")
            case ast.keyword(arg=argument) | ast.Constant(value=argument) if argument in BOOTSTRAP_ARGUMENTS:
                findings.append(f"{path.relative_to(ROOT)}:{node.lineno} sets {argument} itself")
    return findings


def test_every_kafka_client_is_created_with_the_security_settings() -> None:
    paths = [path for folder in ("services", "schemas", "deploy", "tests") for path in (ROOT / folder).rglob("*.py")]
    paths = [path for path in paths if path.resolve() not in OPTION_MODULES and path != Path(__file__)]

    assert len(paths) > 200
    assert [finding for path in paths for finding in find_other_clients(path)] == []

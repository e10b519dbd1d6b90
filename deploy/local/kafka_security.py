"""Secures a local broker: TLS, a SCRAM user for each client, and access control lists that deny by default.

Clients use the listener SASL_SSL. The broker itself, and :class:`KafkaSecurity` to create users, use the listener
INTERNAL, which accepts the broker's own certificate as a user: no password is needed before the first is stored.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from deploy.local.certificates import HOST_NAME, CertificateAuthority, write_secret

ADMINISTRATOR = "admin"
"""The superuser, for installation."""
SCRAM_ITERATIONS = 4_096
REQUEST_SECONDS_MAX = 60
MECHANISM = "SCRAM-SHA-512"
KEYSTORE = "broker.pem"
CERTIFICATE_USER = "User:CN=kafka"
"""What the broker's own certificate signs in as."""


@dataclass(frozen=True)
class KafkaSecurity:
    """The authority, and the folder with a password file for each user."""

    authority: CertificateAuthority
    passwords: Path

    def password_file(self, user: str) -> Path:
        """Return the file with a user's password."""
        return self.passwords / f"{user}.kafka"

    def client_environment(self, user: str) -> dict[str, str]:
        """Return the settings with which a process of ours connects as a user."""
        return {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD_FILE": str(self.password_file(user)),
            "KAFKA_SSL_CA_FILE": str(self.authority.certificate),
        }

    def broker_settings(self, port: int, controller_port: int, internal_port: int, folder: Path) -> dict[str, str]:
        """Return the settings that secure the broker. Writes its certificate and key into ``folder``."""
        self.write_keystore(folder / KEYSTORE)
        return {
            "listeners": (
                f"SASL_SSL://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal_port},"
                f"CONTROLLER://127.0.0.1:{controller_port}"
            ),
            "advertised.listeners": f"SASL_SSL://{HOST_NAME}:{port},INTERNAL://{HOST_NAME}:{internal_port}",
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "INTERNAL",
            "controller.quorum.voters": f"1@{HOST_NAME}:{controller_port}",
            "sasl.enabled.mechanisms": MECHANISM,
            f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / KEYSTORE),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.certificate),
            "listener.name.internal.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"{CERTIFICATE_USER};User:{ADMINISTRATOR}",
        }

    def write_keystore(self, path: Path) -> None:
        """Write the broker's key and certificate, and the authority's, into one PEM file, as Kafka reads them."""
        issued = self.authority.issued("kafka")
        certificates = issued.certificate.read_text() + self.authority.certificate.read_text()
        write_secret(path, issued.key.read_text() + certificates)

    def internal_client(self, address: str) -> AdminClient:
        """Create a client that connects as the broker itself, to its listener INTERNAL at ``address``: host:port."""
        issued = self.authority.issued("kafka")
        return AdminClient(
            {
                "bootstrap.servers": address,
                "security.protocol": "SSL",
                "ssl.ca.location": str(self.authority.certificate),
                "ssl.certificate.location": str(issued.certificate),
                "ssl.key.location": str(issued.key),
                "log_level": 0,
            }
        )

    def create_users(self, address: str, users: Collection[str]) -> None:
        """Create the users that have no password file: store a new password in the broker and in the user's file.

        ``address``: host:port of the broker's listener INTERNAL.
        """
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
        passwords = {user: secrets.token_urlsafe(24) for user in users if not self.password_file(user).exists()}
        if not passwords:
            return
        client = self.internal_client(address)  # Its requests end with it.
        stored = client.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, credential, passwords[user].encode()) for user in passwords],
            request_timeout=REQUEST_SECONDS_MAX,
        )
        for user, result in stored.items():
            result.result(REQUEST_SECONDS_MAX)
            write_secret(self.password_file(user), passwords[user])

"""A secured Kafka and PostgreSQL, as they should be everywhere except on a developer's own machine.

Kafka: TLS, SCRAM, access control lists that deny by default. PostgreSQL: TLS, SCRAM. One authority issues both
certificates. Each process has its own user and login; :meth:`Credentials.identity` returns the settings for them.
"""

from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient

from deploy.kafka.grant_acls import build_acls, grant
from deploy.local.certificates import CertificateAuthority
from deploy.local.kafka import KafkaServer
from deploy.local.kafka_security import ADMINISTRATOR, KafkaSecurity
from deploy.local.logins import LOGIN_ROLES, login_url
from deploy.local.paths import STATE, database_folder, remove_folder
from deploy.local.postgres import PostgresServer

OUTSIDE_ROLES = {"producer": "producer", "gradebook": "consumer:live-events"}
"""Kafka users of other teams, for trials and tests, with their roles in ``deploy/kafka/acls.yaml``."""
KAFKA_USERS = (ADMINISTRATOR, *LOGIN_ROLES, *OUTSIDE_ROLES)


@dataclass(frozen=True)
class Credentials:
    """The certificates and passwords of a pair of servers, in a folder."""

    folder: Path

    @property
    def authority(self) -> CertificateAuthority:
        """The authority that issued the servers' certificates."""
        return CertificateAuthority(self.folder / "certificates")

    @property
    def kafka(self) -> KafkaSecurity:
        """Kafka's users."""
        return KafkaSecurity(self.authority, self.folder)

    def identity(self, name: str, owner_url: str) -> dict[str, str]:
        """Return the settings with which a process connects as itself; ADMINISTRATOR owns the database."""
        url = login_url(owner_url, name, self.folder) if name in LOGIN_ROLES else owner_url
        return {"DATABASE_URL": url, **self.kafka.client_environment(name)}


class SecureServers:
    """Both servers, called ``name`` in this clone."""

    def __init__(self, name: str, heap: str = "512m") -> None:
        self.credentials = Credentials(STATE / name / "credentials")
        self.kafka = KafkaServer(STATE / name / "kafka", heap, security=self.credentials.kafka, users=KAFKA_USERS)
        self.postgres = PostgresServer(database_folder(name), self.credentials.authority)

    def create_certificates(self) -> None:
        """Create the authority and the servers' certificates, unless they exist."""
        if not self.credentials.authority.certificate.exists():
            self.credentials.authority.create("kafka", "postgres")

    def remove_credentials(self) -> None:
        """Delete the certificates and passwords of removed servers."""
        remove_folder(self.credentials.folder)


def grant_process_acls(admin: AdminClient, prefix: str) -> None:
    """Grant every process, operators and the outside users what they need on the topics of a prefix."""
    roles = {user: user for user in LOGIN_ROLES} | OUTSIDE_ROLES
    grant(admin, [binding for user, role in roles.items() for binding in build_acls(role, user, prefix)])

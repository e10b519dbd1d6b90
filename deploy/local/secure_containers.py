"""The jobs of the profile ``secure`` of ``deploy/compose.yaml``: ``python3 -m deploy.local.secure_containers JOB``.

``certificates``, before the servers start: an authority, and the files that each server reads. ``access``, on running
servers with a migrated database: Kafka's users, their access control lists, and PostgreSQL's logins. Both change
nothing when they run again.
"""

import os
import shutil
import sys
from pathlib import Path

from deploy.local.certificates import CertificateAuthority, write_secret
from deploy.local.kafka_security import KEYSTORE
from deploy.local.logins import create_logins
from deploy.local.secure_servers import KAFKA_USERS, Credentials, grant_process_acls
from services.config.cli import TopicSettings

CREDENTIALS, KAFKA_FILES, POSTGRES_FILES = Path("/credentials"), Path("/kafka"), Path("/postgres")
"""Where the volumes are mounted: of the processes, and of each server alone."""
INTERNAL_ADDRESS = "kafka:9095"
PROCESS_USER, KAFKA_USER = 10001, 1000


def create_certificates() -> None:
    """Create the authority and the servers' certificates, and give each file to the user that reads it.

    PostgreSQL's user has another id in each image, and copies its key with the right mode when it creates its data
    folder: see deploy/containers/postgres/secure.sh.
    """
    credentials = Credentials(CREDENTIALS)
    authority = credentials.authority
    if not authority.certificate.exists():
        authority.create("kafka", "postgres")
    credentials.kafka.write_keystore(KAFKA_FILES / KEYSTORE)
    shutil.copy(authority.certificate, KAFKA_FILES)
    _copy_for_postgres(authority)
    for folder, owner in ((CREDENTIALS, PROCESS_USER), (KAFKA_FILES, KAFKA_USER)):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, owner)


def _copy_for_postgres(authority: CertificateAuthority) -> None:
    issued = authority.issued("postgres")
    for source, name in ((issued.certificate, "server.crt"), (issued.key, "server.key")):
        write_secret(POSTGRES_FILES / name, source.read_text())
        (POSTGRES_FILES / name).chmod(0o444)


def give_access() -> None:
    """Create users and logins, and grant each what its role needs on the topics of TOPIC_PREFIX."""
    settings = TopicSettings()
    credentials = Credentials(CREDENTIALS)
    credentials.kafka.create_users(INTERNAL_ADDRESS, KAFKA_USERS)
    grant_process_acls(credentials.kafka.internal_client(INTERNAL_ADDRESS), settings.topic_prefix)
    create_logins(settings.url(), CREDENTIALS)


JOBS = {"certificates": create_certificates, "access": give_access}

if __name__ == "__main__":
    JOBS[sys.argv[1]]()

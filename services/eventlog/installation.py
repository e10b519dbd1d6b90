"""The installation: the properties of a log that the first migration sets once and for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.postgres import WRITER, Pool, close_quickly, connect

INSTALLATION = "select i.id, i.shards from installation i"


@dataclass(frozen=True, slots=True)
class Installation:
    """``id`` ties topics to this log; every topic has ``shard_count`` partitions, except the relay's progress."""

    id: UUID
    shard_count: int

    @property
    def shards(self) -> Sequence[int]:
        """The numbers of all shards, ascending."""
        return range(self.shard_count)


async def read_installation(connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> Installation:
    """Read the installation; it never changes, so that a process reads it once.

    Raises:
        POSTGRES_ERRORS: PostgreSQL does not answer, or the log is not installed (UndefinedTableError).
    """
    row = await connection.fetchrow(INSTALLATION)
    assert row is not None
    return Installation(UUID(str(row[0])), row[1])


async def fetch_installation(url: str, process: str, role: str) -> Installation:
    """Read the installation over a separate connection, and compare the master key with the log's.

    Raises:
        MasterKeyDiffers: the log's keys are wrapped, and ENCRYPTION_KEY_FILE is not set or holds another master key.
        POSTGRES_ERRORS: see ``connect`` and ``read_installation``.
    """
    connection = await connect(url, process, role)
    try:
        await EncryptionKeys(connection).verify_master_key(may_record=role == WRITER)
        return await read_installation(connection)
    finally:
        await close_quickly(connection)

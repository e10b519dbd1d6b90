"""Bring a database's schema up to date: ``python -m services.eventlog.migrate`` (reads DATABASE_URL).

yoyo applies ``schemas/eventlog/*.sql`` in order, once each, under its own lock.
"""

import importlib.resources
import sys

import psycopg
from yoyo import get_backend, read_migrations

from services.config import DatabaseSettings
from services.kafka.partitioning import SHARD_COUNT


class ShardCountMismatch(Exception):
    """The installation was made with another number of shards; it is fixed at installation."""


def migrate(database_url: str, shard_count: int = SHARD_COUNT) -> int:
    """Apply what is missing and return how many migrations were applied.

    Raises:
        WrongShards: the log was installed with another number of shards.
    """
    backend = get_backend(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with importlib.resources.as_file(importlib.resources.files("schemas") / "eventlog") as folder:
        migrations = read_migrations(str(folder))
        with backend.lock():
            missing = backend.to_apply(migrations)
            backend.apply_migrations(missing)
    backend.connection.close()
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into shard select generate_series(0, %s - 1) where not exists (select from shard)", (shard_count,)
        )
        installed_count = connection.execute("select count(*) from shard").fetchone()
    if installed_count is None or installed_count[0] != shard_count:
        raise ShardCountMismatch(
            f"the log has {installed_count and installed_count[0]} shards, not {shard_count}: they are fixed at "
            "installation"
        )
    return len(missing)


if __name__ == "__main__":
    print(f"{migrate(DatabaseSettings().url())} migrations applied", file=sys.stderr)

"""Create or upgrade the schema of the event log.

yoyo applies the files of ``schemas/eventlog/migrations`` in order, each once, in a transaction and under its own lock.
``schemas/eventlog/schema.sql`` shows the schema that results.
"""

import importlib.resources

import psycopg
from yoyo import get_backend, read_migrations

from services.kafka.partitioning import SHARD_COUNT


class LogExists(Exception):
    """The database holds a log that was not made by these migrations."""


class ShardCountMismatch(Exception):
    """The installation was made with another number of shards; it is fixed at installation."""


def migrate(database_url: str, shard_count: int = SHARD_COUNT) -> int:
    """Apply what is missing and return how many migrations were applied.

    Raises:
        LogExists: the database holds a log from before 0.1.0, or one made by other means; it was not changed.
        ShardCountMismatch: the log was installed with another number of shards.
    """
    backend = get_backend(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with importlib.resources.as_file(importlib.resources.files("schemas") / "eventlog" / "migrations") as folder:
        migrations = read_migrations(str(folder))
        try:
            with backend.lock():
                missing = backend.to_apply(migrations)
                backend.apply_migrations(missing)
        except (psycopg.errors.DuplicateFunction, psycopg.errors.DuplicateTable) as error:
            raise LogExists(
                f"the database holds a log that these migrations did not make ({error.diag.message_primary}); "
                "it was not changed: set DATABASE_URL to an empty database and migrate again"
            ) from error
        finally:
            backend.connection.close()
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into shard select generate_series(0, %s - 1) where not exists (select from shard)", (shard_count,)
        )
        installed_count = connection.execute("select count(*) from shard").fetchone()
    if installed_count is None or installed_count[0] != shard_count:
        raise ShardCountMismatch(
            f"the log has {installed_count and installed_count[0]} shards, not {shard_count}; their number is fixed at"
            " installation and was not changed: run the version that the log was installed with"
        )
    return len(missing)

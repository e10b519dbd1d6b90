"""An error of PostgreSQL is that of a row only if it would come again for that row, and for no other one."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from services.eventlog.append_batch import AppendBatch
from services.eventlog.store import EventStore, UnstorableRows


class RefusingConnection:
    """A connection whose server answers with this error; ``fields`` as in the protocol."""

    def __init__(self, **fields: str) -> None:
        self.error = asyncpg.PostgresError.new({"S": "ERROR", "M": "refused", **fields})

    async def fetchval(self, *_: Any) -> None:
        raise self.error


async def append(**fields: str) -> None:
    connection: Any = RefusingConnection(**fields)
    await EventStore(connection).append(AppendBatch(1, datetime.now(UTC), {}, {}))


@pytest.mark.parametrize(
    "fields",
    [
        {"C": "54000", "F": "nbtutils.c", "R": "_bt_check_third_page"},
        {"C": "54000"},
        {"C": "22P02", "F": "jsonfuncs.c"},
        {"C": "23514", "F": "execMain.c"},
    ],
    ids=["too large for an index", "too large", "no JSON", "against a constraint"],
)
async def test_row_that_is_refused_for_its_content_is_unstorable(fields: dict[str, str]) -> None:
    with pytest.raises(UnstorableRows):
        await append(**fields)


@pytest.mark.parametrize("source", ["varsup.c", "multixact.c"])
async def test_server_that_has_run_out_of_transaction_ids_refuses_every_row(source: str) -> None:
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await append(C="54000", F=source)

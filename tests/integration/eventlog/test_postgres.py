"""Connections: what PostgreSQL says when it is not the server that was asked for is an outage, not a bug."""

import pytest

from services.eventlog.postgres import READER, connect
from services.runtime.errors import POSTGRES_ERRORS, describe_error


async def test_connecting_to_a_primary_where_a_standby_is_wanted_counts_as_an_outage(database_url: str) -> None:
    with pytest.raises(POSTGRES_ERRORS) as refused:
        await connect(f"{database_url}?target_session_attrs=standby", "test", READER)

    assert describe_error(refused.value) == "PostgreSQL does not answer: TargetServerAttributeNotMatched"

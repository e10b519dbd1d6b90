"""Connections: a server in another role than the one wanted counts as an outage, not as a bug."""

import pytest

from services.eventlog.postgres import READER, connect
from services.runtime.errors import POSTGRES_ERRORS, describe_error


async def test_connecting_to_a_primary_where_a_standby_is_wanted_counts_as_an_outage(database_url: str) -> None:
    with pytest.raises(POSTGRES_ERRORS) as refused:
        await connect(f"{database_url}?target_session_attrs=standby", "test", READER)

    assert describe_error(refused.value) == "PostgreSQL does not answer: TargetServerAttributeNotMatched"

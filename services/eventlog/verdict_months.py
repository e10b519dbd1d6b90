"""For how many months after the present one the log has a partition for verdicts.

Only a migration and an archive add months. Verdicts of a month without a partition wait in the default one, and
appends wait while they are sorted later, so an operator must know in time.
"""

import asyncpg

MONTHS_AHEAD = """
select coalesce(min(n), 25) - 1
from generate_series(0, 24) n
where to_regclass(to_char(clock_timestamp() at time zone 'UTC' + make_interval(months => n),
                          '"verdict_body_"YYYY_MM')) is null
"""


async def read_months_ahead(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """Read the number of months without a gap, at most 24; -1: the present month has no partition, either."""
    months: int = await connection.fetchval(MONTHS_AHEAD)
    return months

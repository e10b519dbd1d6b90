"""Processes the records of a partition up to the first that cannot be processed."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import ConsumerRecord

from services.handler.position_checks import is_new

LOGGER = logging.getLogger("handler")
Records = Sequence[ConsumerRecord[Any, Any]]


async def process_up_to_failure(
    process: Callable[[Records], Awaitable[Records]],
    records: Records,
    watermarks: dict[int, int],
    errors_to_raise: tuple[type[BaseException], ...],
) -> tuple[Records, Records]:
    """Process records of one partition; return those from the first failing one on, and those left for later.

    ``process`` returns what it leaves for later, and moves the partition's watermark past what it has processed. The
    first record is tried alone: it is the failing one whenever a partition is tried again. Then the failing part is
    halved until it is one record, so that a thousand records are tried some twenty times.
    """
    pending, size = list(records), 1
    while pending:
        part = pending[:size]
        try:
            deferred = await process(part)
        except errors_to_raise:
            raise
        except Exception:
            pending = [record for record in pending if is_new(record.offset, watermarks[record.partition])]
            if len(part) == 1:
                LOGGER.exception(
                    "partition %s cannot be processed from offset %d on", part[0].partition, part[0].offset
                )
                return pending, ()
            size = len(part) // 2
        else:
            rest = pending[len(part) :]
            if deferred:
                return (), [*deferred, *rest]
            size = len(rest) if len(pending) == len(records) else size
            pending = rest
    return (), ()

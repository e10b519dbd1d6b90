"""Change an observed run as a faulty service would have left it, on topics and in the log."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.system.faults.checker.observations import LogVerdict, Run, TopicRecord


def change_on_topic(run: Run, output: str, change: Callable[[list[TopicRecord]], list[TopicRecord]]) -> None:
    """Change what is on a topic, and so what every reader received."""
    for topics in run.readers.values():
        topics[output] = change(topics[output])
    if output in run.uncommitted:
        run.uncommitted[output] = change(run.uncommitted[output])


def decide_otherwise(run: Run, row: LogVerdict, *, key: str | None = None, **changes: Any) -> None:
    """Let the handler have written another body, which the relay has published; ``key``: under another key."""
    body = {**row.body, **changes}
    run.verdicts[run.verdicts.index(row)] = replace(row, body=body)

    def publish(record: TopicRecord) -> TopicRecord:
        if record.ce_id != row.ce_id:
            return record
        return replace(record, value=json.dumps(body), key=key or record.key)

    change_on_topic(run, "verdicts", lambda records: [publish(record) for record in records])

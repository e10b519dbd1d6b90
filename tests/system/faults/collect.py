"""Collects the checker's input: history, topics, log, served states, logs and metrics."""

import contextlib
import dataclasses
import json
import time
from functools import partial
from typing import Any

import httpx

from tests.system.faults import log_reader, readers
from tests.system.faults.checker.observations import Run, TopicRecord
from tests.system.faults.course_load import SECRET, tenant_canary
from tests.system.faults.http_load import HTTP_ASSIGNMENT, HttpLoad
from tests.system.faults.installation import Installation, wait_until

STATES_MAX = 60
STATES_SECONDS_MAX = 30


def collect(installation: Installation, http: HttpLoad | None = None) -> Run:
    """Read everything of a settled installation."""
    assert installation.reader is not None
    bootstrap, prefix = installation.bootstrap, installation.prefix
    url = installation.database_url
    # Before the history, which notes what was served.
    states = {} if http is None else read_states(http)
    return Run(
        history=list(installation.history.lines),
        readers={
            "during": {topic: list(records) for topic, records in installation.reader.records.items()},
            "after": {topic: readers.read_topic(bootstrap, prefix, topic, committed=True) for topic in readers.OUTPUTS},
        },
        uncommitted={topic: readers.read_topic(bootstrap, prefix, topic, committed=False) for topic in readers.OUTPUTS},
        commands=read_commands(installation),
        events=log_reader.read_events(url),
        verdicts=log_reader.read_verdicts(url),
        dead_letters=log_reader.read_dead_letters(url),
        schedules=log_reader.read_schedules(url),
        snapshots=[*installation.snapshots, installation.take_snapshot("end")],
        states=states,
        texts=read_texts(installation),
        tenant_canaries={str(number): [tenant_canary(number)] for number in (1, 2)},
        secrets=[SECRET],
    )


def read_commands(installation: Installation) -> list[TopicRecord]:
    """Return the records of the commands topic's newest incarnation."""
    records = readers.read_topic(installation.bootstrap, installation.prefix, "commands", committed=False)
    (source,) = log_reader.fetch(installation.database_url, "select coalesce(max(number), 1) from source")[0]
    return [dataclasses.replace(record, source=source) for record in records]


def read_states(http: HttpLoad) -> dict[str, dict[str, Any] | None]:
    """Return state documents of all courses' newest assignments and of those that are graded over HTTP.

    They are named by root account and id; None: no gateway served it.

    They are asked again for a while: a gateway may still connect to the server that the last fault has changed.
    """
    states: dict[str, dict[str, Any] | None] = {}
    per_course = max(STATES_MAX // len(http.load.courses), 1)
    deadline = time.monotonic() + STATES_SECONDS_MAX
    with httpx.Client(timeout=30) as client:
        for course in http.load.courses:
            over_http = [course.base + HTTP_ASSIGNMENT] if course.base + HTTP_ASSIGNMENT in course.assignments else []
            for assignment in dict.fromkeys([*over_http, *course.assignments[-per_course:]]):
                read, seconds = partial(http.read_state, client, course, assignment), deadline - time.monotonic()
                key = f"{course.root_account}/{assignment}"
                states[key] = None
                with contextlib.suppress(TimeoutError):
                    states[key] = wait_until(read, "a gateway serves the state", seconds)
    return states


def read_texts(installation: Installation) -> dict[str, list[str]]:
    """Return logs and metrics of all processes."""
    texts = {}
    for process in installation.processes:
        if process.log.exists():
            texts[process.log.name] = process.log.read_text(errors="replace").splitlines()
        if process.popen is not None:
            with contextlib.suppress(OSError):
                samples = [json.dumps(s[:3], default=str) for f in process.get_metrics() for s in f.samples]
                texts[f"{process.log.stem} metrics"] = samples
    return texts

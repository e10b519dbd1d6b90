"""What stays of a run that was not clean: its records as far as they can be read, in a folder of their own."""

import http.client
import subprocess
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import KafkaException

from tests.system.faults import log_reader, readers
from tests.system.faults.checker.observations import Run, TopicRecord
from tests.system.faults.collect import read_commands, read_texts
from tests.system.faults.installation import Installation

FAILURES = (
    AssertionError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    http.client.HTTPException,
    subprocess.SubprocessError,
    psycopg.Error,
    KafkaException,
)
"""What a cell or a reader of the servers may raise, as long as its own code is right."""


def describe_error(error: Exception) -> str:
    """Return an exception's type and message."""
    return "".join(traceback.format_exception_only(error)).strip()


def new_folder(path: Path) -> Path:
    """Create a folder that does not exist yet: the path, or with a number after it. Earlier evidence stays."""
    number, folder = 1, path
    while folder.exists():
        number += 1
        folder = path.with_name(f"{path.name}-{number}")
    folder.mkdir(parents=True)
    return folder


def save_evidence(installation: Installation, folder: Path) -> list[str]:
    """Save each part of the records that can be read, as a run of the checker; return what could not be read."""
    url = installation.database_url
    parts: Mapping[str, Callable[[], Any]] = {
        "events": partial(log_reader.read_events, url),
        "verdicts": partial(log_reader.read_verdicts, url),
        "dead_letters": partial(log_reader.read_dead_letters, url),
        "schedules": partial(log_reader.read_schedules, url),
        "commands": partial(read_commands, installation),
        "uncommitted": partial(_read_outputs, installation),
        "texts": partial(read_texts, installation),
    }
    run = Run(history=list(installation.history.lines), snapshots=list(installation.snapshots))
    if installation.reader is not None:
        run.readers["during"] = {topic: list(records) for topic, records in installation.reader.records.items()}
    unread = []
    for name, read in parts.items():
        try:
            setattr(run, name, read())
        except FAILURES as error:
            unread.append(f"{name} ({error})")
    run.save(folder)
    return unread


def _read_outputs(installation: Installation) -> dict[str, list[TopicRecord]]:
    bootstrap, prefix = installation.bootstrap, installation.prefix
    return {topic: readers.read_topic(bootstrap, prefix, topic, committed=False) for topic in readers.OUTPUTS}

"""A handler hashes its code before it waits for anything, and leaves no connection open that it cannot use."""

import uuid
from typing import Any

import pytest

from schemas.topics import DEFAULT_SHARD_COUNT
from services.config.handler import HandlerSettings
from services.eventlog.installation import Installation
from services.handler import __main__ as handler
from services.handler import log_session
from services.handler.passed_markers import PassedMarkers
from services.runtime.health import Health


class Connection:
    is_terminated = False

    def terminate(self) -> None:
        self.is_terminated = True


class Log:
    encryption_keys: Any = None

    def __init__(self, *_: Any) -> None: ...

    async def current_incarnation(self, _: str) -> int:
        return 1


class LogIsAwayError(Exception): ...


def new_settings(**values: Any) -> HandlerSettings:
    return HandlerSettings(database_url="postgresql://u@h/d", kafka_bootstrap="localhost:9092", **values)


@pytest.mark.parametrize(("snapshot_events", "steps"), [(1, ["code", "log"]), (0, ["log"])])
async def test_handler_with_snapshots_hashes_its_code_before_it_waits_for_the_log(
    snapshot_events: int, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files may be replaced while it waits, or before the first command arrives."""
    seen: list[str] = []

    async def wait_for_postgres(_: Any) -> None:
        seen.append("log")
        raise LogIsAwayError

    monkeypatch.setattr(handler, "form_id", lambda: seen.append("code"))
    monkeypatch.setattr(handler, "wait_for_postgres", wait_for_postgres)

    with pytest.raises(LogIsAwayError):
        await handler.main(new_settings(handler_snapshot_events=snapshot_events))

    assert seen == steps


@pytest.mark.parametrize("part", ["EventStore", "CommandProcessor", "PositionTracker"])
async def test_connection_whose_session_cannot_be_built_is_closed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, installation = Connection(), Installation(uuid.uuid4(), DEFAULT_SHARD_COUNT)

    async def connect(*_: Any) -> Connection:
        return connection

    def fail(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(log_session, "connect", connect)
    monkeypatch.setattr(log_session, "EventStore", Log)
    monkeypatch.setattr(log_session, part, fail)

    with pytest.raises(FileNotFoundError):
        await log_session.open_log_session(new_settings(), installation, None, Health(), "commands-0", PassedMarkers())

    assert connection.is_terminated

"""A lane that fails for an unexpected reason is retried after a pause; the process, and so the other lanes, go on."""

import time
import uuid

import pytest

from services.config.relay import RelaySettings
from services.eventlog.encryption import decrypt, encrypt, generate_key
from services.eventlog.installation import Installation
from services.relay import lane as lane_module
from services.relay.lane import Lane
from services.relay.metrics import RelayTelemetry
from services.runtime.health import Health
from services.telemetry.metrics.relay import RelayMetrics


async def read_damaged_row(*_: object) -> None:
    decrypt(generate_key(), encrypt(generate_key(), b"a name"))


async def read_unmappable_row(*_: object) -> None:
    raise KeyError("a name")


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (read_damaged_row, "an encrypted value of the log does not belong to its key"),
        (read_unmappable_row, "KeyError. They wait"),
    ],
)
async def test_lane_with_a_row_that_cannot_be_published_steps_back_and_says_why(
    monkeypatch: pytest.MonkeyPatch, failure: object, cause: str
) -> None:
    settings = RelaySettings(
        database_url="postgresql://localhost/log", kafka_bootstrap="localhost:9092", lms_url="https://canvas.example"
    )
    health, telemetry = Health(), RelayTelemetry(RelayMetrics())
    health.problem = None
    telemetry.start([0, 1])
    installation = Installation(uuid.uuid4(), 12)
    failing, other = (Lane(number, installation, settings, health, telemetry) for number in range(2))
    other.stand_by()
    monkeypatch.setattr(lane_module, "connect", failure)

    failing.start()
    assert failing.task is not None
    await failing.task

    failing.check_ended()
    now = time.monotonic()
    assert not failing.may_start(now)
    assert failing.may_start(now + lane_module.RETRY_SECONDS[-1])
    assert failing.steps_back_until > now
    reason = health.not_ready_reason()
    assert reason is not None
    assert reason.startswith("lane 0 cannot publish its next records")
    assert cause in reason
    assert "a name" not in reason
    # With two relays the other one tries meanwhile, and perhaps fails in the same way.
    failing.stand_by()
    assert health.not_ready_reason() == reason
    monkeypatch.setattr(lane_module, "ROW_PROBLEM_SECONDS", 0.0)
    failing.steps_back_until = 0.0
    failing.start()
    await failing.task
    assert failing.steps_back_until == 0.0
    failing.stand_by()
    assert health.not_ready_reason() is None

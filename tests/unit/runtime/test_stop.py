"""A process that was asked to stop ends by itself, also while a client waits for a broker."""

import subprocess
import sys

import pytest

WAITS = """
import asyncio, sys
from services.runtime.main import limit_stop
from services.telemetry.json_logging import configure_logging

async def main():
    configure_logging("handler")
    limit_stop(0.05)
    await asyncio.sleep(float(sys.argv[1]))

asyncio.run(main())
"""


@pytest.mark.parametrize(("seconds", "is_ended"), [("60", True), ("0", False)])
def test_stop_that_takes_too_long_is_logged_and_ended(seconds: str, is_ended: bool) -> None:
    ended = subprocess.run([sys.executable, "-c", WAITS, seconds], capture_output=True, text=True, timeout=30)

    assert ended.returncode == 0
    assert ("not stopped within 0.05 s" in ended.stderr + ended.stdout) == is_ended

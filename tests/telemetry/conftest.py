"""The shared system, with a console, when each of its processes has done every kind of its work."""

import uuid

import pytest

from tests.cases.bad_inputs import DOCUMENT
from tests.cases.tokens import Issuer
from tests.conftest import System
from tests.processes.client import Client
from tests.processes.running import Process, until


@pytest.fixture(scope="session")
async def worked(seeded: System, gateway: Client, issuer: Issuer) -> dict[str, Process]:
    """The processes by name."""
    console = seeded.console(issuer)
    console.start()
    refused = {**DOCUMENT["bases"]["record_grade"], "command_id": str(uuid.uuid4()), "assignment_id": "999"}
    assert (await seeded.outside.verdict(refused))["reason"] == "not_found"
    seen = len(seeded.outside.records["dead-letters"])
    await seeded.outside.send_raw(b"nothing that can be read", b"1001")
    await until(lambda: len(seeded.outside.records["dead-letters"]) > seen, "a dead letter")
    path = "/api/v1/courses/1001/assignments/2001/provisional_grades/publish"
    assert (await gateway.ask("POST", path, 21)).status_code == 403
    await console.ready()
    processes = {process.name: process for process in seeded.processes}
    # Positions and lag are looked at once a second.
    await until(lambda: processes["relay"].told("moderation_log_position", topic="events"), "a look at the log")
    await until(lambda: processes["handler"].told("moderation_server_up") == 2, "a look at the topic")
    return processes

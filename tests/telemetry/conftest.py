"""A system of its own, known to hold only what its processes did here, when each has done every kind of its work."""

import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from tests.cases.bad_inputs import DOCUMENT
from tests.cases.tokens import Issuer
from tests.conftest import System, at_work, seed
from tests.processes.client import Client
from tests.processes.running import Process, until


@pytest.fixture(scope="session")
async def measured(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, issuer: Issuer
) -> AsyncIterator[System]:
    async for system in at_work(bootstrap, new_database(), tmp_path_factory.mktemp("measured")):
        for process in (system.gateway(issuer), system.console(issuer)):
            process.start()
        await seed(system)
        yield system


@pytest.fixture(scope="session")
async def worked(measured: System, issuer: Issuer) -> dict[str, Process]:
    """The processes by name."""
    processes, outside = {process.name: process for process in measured.processes}, measured.outside
    refused = {**DOCUMENT["bases"]["record_grade"], "command_id": str(uuid.uuid4()), "assignment_id": "999"}
    assert (await outside.verdict(refused))["reason"] == "not_found"
    await outside.send_raw(b"nothing that can be read", b"1001")
    await until(lambda: outside.records["dead-letters"], "a dead letter")
    for process in processes.values():
        await process.ready()
    gateway = Client(processes["gateway"].url, issuer)
    path = "/api/v1/courses/1001/assignments/2001/provisional_grades/publish"
    assert (await gateway.ask("POST", path, 21)).status_code == 403
    await gateway.http.aclose()
    # Positions and lag are looked at once a second.
    await until(lambda: processes["relay"].told("moderation_log_position", topic="events"), "a look at the log")
    await until(lambda: processes["handler"].told("moderation_server_up") == 2, "a look at the topic")
    return processes

"""A separate system whose processes have each done every kind of work once."""

import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import Process, wait_until
from tests.fixtures.system import System, create_running_system, seed_course
from tests.fixtures.token_issuer import TokenIssuer


@pytest.fixture(scope="session")
async def isolated_system(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, issuer: TokenIssuer
) -> AsyncIterator[System]:
    async for system in create_running_system(bootstrap, new_database(), tmp_path_factory.mktemp("measured")):
        scheduler = system.create_process("scheduler")
        for process in (system.create_gateway(issuer), system.create_console(issuer), scheduler):
            process.start()
        await seed_course(system)
        yield system


@pytest.fixture(scope="session")
async def worked(isolated_system: System, issuer: TokenIssuer) -> dict[str, Process]:
    """Return the processes by name, after their work."""
    processes, outside = {process.name: process for process in isolated_system.processes}, isolated_system.client
    refused = {**BAD_INPUTS["bases"]["record_grade"], "command_id": str(uuid.uuid4()), "assignment_id": "999"}
    assert (await outside.send_and_wait(refused))["reason"] == "not_found"
    await outside.send_raw(b"nothing that can be read", b"1001")
    await wait_until(lambda: outside.records["dead-letters"], "a dead letter")
    for process in processes.values():
        await process.wait_until_ready()
    gateway = GatewayClient(processes["gateway"].url, issuer)
    path = "/api/v1/courses/1001/assignments/2001/provisional_grades/publish"
    assert (await gateway.request("POST", path, 21)).status_code == 403
    await gateway.http.aclose()
    # Positions and lag are sampled once a second.
    await wait_until(
        lambda: processes["relay"].get_metric("moderation_log_position", topic="events"), "a look at the log"
    )
    await wait_until(
        lambda: processes["scheduler"].get_metric("moderation_schedule_next_due_seconds"), "a look at the schedules"
    )
    await wait_until(lambda: processes["handler"].get_metric("moderation_server_up") == 2, "a look at the topic")
    return processes

"""A console on a system of its own, for its tests leave dead letters that no handler made, and who looks at it."""

import json
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.cases.bad_inputs import BAD_INPUTS
from tests.cases.tokens import TokenIssuer
from tests.conftest import create_system
from tests.console.letters import append_dead_letters
from tests.console.looking import ASSIGNMENT, HOSTILE, ConsoleClient, Json, newest_dead_letter_id, send_command
from tests.processes.running import DEADLINE_SECONDS, wait_until

CHROMIUM_SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
OpenPage = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture
def report(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Tells a figure that was measured to whoever wants to hear more than points."""
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")

    def write_line(text: str) -> None:
        if pytestconfig.get_verbosity() > 0:
            with capsys.disabled():
                terminal.write_line(text)

    return write_line


@pytest.fixture(scope="session")
async def console(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, issuer: TokenIssuer
) -> AsyncIterator[ConsoleClient]:
    async for system in create_system(bootstrap, new_database(), tmp_path_factory.mktemp("console")):
        console = system.create_console(issuer)
        for process in (
            system.create_process("handler", HANDLER_INSTANCE="console"),
            system.create_process("relay"),
            console,
        ):
            process.start()
        for process in system.processes:
            await process.wait_until_ready()
        async with httpx.AsyncClient(base_url=console.url, timeout=90) as http:
            yield ConsoleClient(system, console, issuer, http)


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program is not None, "Chromium is missing: run deploy/setup tests"
    expect.set_options(timeout=DEADLINE_SECONDS * 1_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_SWITCHES)
        yield browser
        await browser.close()


@pytest.fixture
def open_page(chromium: Browser, console: ConsoleClient) -> OpenPage:
    """Opens a page as somebody who has signed in; what the browser complains of is a failure."""

    @asynccontextmanager
    async def open_signed_in_page(role: str = "operator", **options: Any) -> AsyncIterator[Page]:
        context = await chromium.new_context(base_url=console.url, **options)
        context.set_default_timeout(DEADLINE_SECONDS * 1_000)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        try:
            await page.goto("/sign-in")
            await page.fill("#token", console.token(role))
            await page.click("button.main")
            await page.wait_for_url(lambda url: "/sign-in" not in url)
            yield page
        finally:
            await context.close()
        expected = ("ERR_CONNECTION", "ERR_INCOMPLETE", "status of 404", "status of 409")
        assert [said for said in complaints if not any(part in said for part in expected)] == []

    return open_signed_in_page


@pytest.fixture(scope="session")
async def populated_console(console: ConsoleClient) -> ConsoleClient:
    """One assignment with names that mean no good, grades and a comment, published; letters of both kinds."""
    system = console.system
    graders = [{"user_id": user, "name": f"{HOSTILE} {user}"} for user in (11, 21)]
    people = [(11, "TeacherEnrollment"), (21, "TaEnrollment"), (31, "StudentEnrollment"), (32, "StudentEnrollment")]
    rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in people]
    of_assignment: Json = {"assignment_id": str(ASSIGNMENT)}
    settings = {**BAD_INPUTS["bases"]["assignment"]["data"], "name": HOSTILE}
    grade = {"student_id": "31", "posted_grade": "7", "comment": HOSTILE}
    verdicts = [
        await send_command(console, "upsert_course", data={"name": HOSTILE}),
        await send_command(console, "upsert_users", data={"users": graders}),
        await send_command(console, "upsert_users", type="upsert_enrollments", data={"enrollments": rows}),
        await send_command(console, "assignment", **of_assignment, data=settings),
        await send_command(console, "record_grade", **of_assignment, data=grade, actor={"user_id": "21"}),
        await send_command(
            console, "record_grade", **of_assignment, data={**grade, "posted_grade": "9"}, actor={"user_id": "11"}
        ),
        await send_command(console, "record_grade", **of_assignment, data=grade, actor={"user_id": "31"}),
    ]
    assert [verdict["status"] for verdict in verdicts] == ["accepted"] * 6 + ["rejected"], verdicts
    letters = len(system.client.records["dead-letters"])
    await system.client.send_raw(HOSTILE.encode(), HOSTILE.encode(), [(HOSTILE, HOSTILE.encode())], partition=2)
    await wait_until(lambda: len(system.client.records["dead-letters"]) > letters, "the dead letter")
    readable = json.dumps({**BAD_INPUTS["bases"]["upsert_course"], "command_id": str(uuid.uuid4())}).encode()
    await append_dead_letters(system, 2, [readable], reason="was_unreadable", message=HOSTILE)
    form = {
        "letter": await newest_dead_letter_id(console, "reason=was_unreadable"),
        "action": str(uuid.uuid4()),
        "why": HOSTILE,
    }
    kept = await console.request("POST", "/act/discard", "operator", data={**form, "why": HOSTILE})
    assert kept.status_code == 303
    await console.request("POST", "/topics/check", "operator")
    return console

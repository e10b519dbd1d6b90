"""One console on a system of its own, for its tests leave dead letters that no handler made."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx
import pytest

from tests.cases.tokens import Issuer
from tests.conftest import System, made_system
from tests.processes.running import Process


@dataclass
class Console:
    """``system``: what it looks at."""

    system: System
    process: Process
    issuer: Issuer
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return self.process.url

    def token(self, role: str, user_id: int = 77) -> str:
        return self.issuer.token(user_id, scope=f"moderation.{role}")

    async def ask(self, method: str, path: str, role: str = "viewer", **options: object) -> httpx.Response:
        """As a program with a bearer token."""
        headers = {"authorization": f"Bearer {self.token(role)}"}
        return await self.http.request(method, path, headers=headers, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def console(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, issuer: Issuer
) -> AsyncIterator[Console]:
    async for system in made_system(bootstrap, new_database(), tmp_path_factory.mktemp("console")):
        console = system.console(issuer)
        for process in (system.process("handler", HANDLER_INSTANCE="console"), system.process("relay"), console):
            process.start()
        for process in system.processes:
            await process.ready()
        async with httpx.AsyncClient(base_url=console.url, timeout=30) as http:
            yield Console(system, console, issuer, http)

"""A gateway stops cleanly."""

from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer


async def test_gateway_exits_with_0_after_sigterm(system: System, issuer: TokenIssuer) -> None:
    gateway = system.create_gateway(issuer)
    gateway.start()
    await gateway.wait_until_ready()
    assert gateway.stop() == 0

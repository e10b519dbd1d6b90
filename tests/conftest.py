"""Options of all tiers; fixtures with servers are registered only where a run goes beyond the unit tier."""

from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"
SERVER_PLUGINS = ("tests.fixtures.servers", "tests.fixtures.console_fixtures")
"""Fixtures that import server, container and browser clients: the unit tier starts without them."""


def pytest_configure(config: pytest.Config) -> None:
    chosen = [Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args]
    if not all(path.is_relative_to(UNIT) for path in chosen):
        for plugin in SERVER_PLUGINS:
            config.pluginmanager.import_plugin(plugin)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="how often relays are killed inside a transaction")
    parser.addoption("--seasons", type=int, default=2, help="how many random seasons the console's numbers are held to")
    parser.addoption("--histories", type=int, default=200, help="how many random histories the rules are held to")
    parser.addoption("--seed", type=int, default=0, help="the seed of the first history; each has the next one")
    parser.addoption("--minutes", type=float, default=0.03, help="how long the console is left open under load")


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often a fault test kills what it tests."""
    return int(pytestconfig.getoption("--kills"))

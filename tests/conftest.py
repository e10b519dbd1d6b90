"""Options of all tiers; fixtures with servers are registered only where a run goes beyond the unit tier."""

import gc
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import settings

from tests import COVERAGE_LINE

UNIT = Path(__file__).parent / "unit"
SERVER_PLUGINS = ("tests.fixtures.servers", "tests.fixtures.console_fixtures")
"""Fixtures that import server, container and browser clients: the unit tier starts without them."""


# How long an example takes says more about the machine than about the code.
settings.register_profile("project", deadline=None)
# The unit tier runs on each save; the slow tier tries the same properties with all examples.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    chosen = [Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args]
    if not all(path.is_relative_to(UNIT) for path in chosen):
        for plugin in SERVER_PLUGINS:
            config.pluginmanager.import_plugin(plugin)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep modules and tests out of garbage collection: they live as long as the run, and are a million objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often relays are killed inside a transaction")
    parser.addoption("--seasons", type=int, default=2, help="how many random seasons the console's numbers are held to")
    parser.addoption("--histories", type=int, default=200, help="how many random histories the rules are held to")
    parser.addoption("--seed", type=int, default=0, help="the seed of the first history; each has the next one")
    parser.addoption("--fuzz-seconds", type=float, default=5, help="how long each kind of random input is sent")
    parser.addoption("--schema-examples", type=int, default=8, help="examples of each operation for schemathesis")
    parser.addoption("--minutes", type=float, default=0.03, help="how long the console is left open under load")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note on each replayed case which collection it belongs to; a report carries that from a worker process too."""
    for item in items:
        if marker := item.get_closest_marker("cases"):
            item.user_properties.append(("cases", marker.args[0]))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print how many cases of each collection this run replayed, and how many held."""
    held: Counter[str] = Counter()
    replayed: Counter[str] = Counter()
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if getattr(report, "when", None) == "call":
                names = [name for property_, name in report.user_properties if property_ == "cases"]
                replayed.update(names)
                held.update(names if outcome == "passed" else ())
    for name in sorted(replayed):
        terminalreporter.write_line(f"{COVERAGE_LINE} {name}: {held[name]} of {replayed[name]} hold")


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often a fault test kills what it tests."""
    return int(pytestconfig.getoption("--kills"))

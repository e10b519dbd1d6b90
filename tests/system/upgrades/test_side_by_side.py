"""Two versions run side by side, as in a rolling upgrade: on one log and one Kafka, under load, in both orders."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deploy.benchmarks.service_tree import ServiceTree
from deploy.local.paths import ROOT
from deploy.local.postgres import create_database
from services.eventlog.migrate import migrate
from tests.fixtures.process_runner import Process
from tests.fixtures.system import RUN_NUMBERS, RUN_PREFIX
from tests.system.faults.installation import Installation, opened
from tests.system.upgrades import versions
from tests.system.upgrades.loaded_installation import LoadedInstallation

pytestmark = pytest.mark.timeout(1_200)
COUNTS = {"handler": 2, "relay": 2, "gateway": 1, "scheduler": 1}
ORDERS = {
    "new handlers with old relays": ("handler", "gateway", "scheduler", "relay"),
    "new relays with old handlers": ("relay", "scheduler", "gateway", "handler"),
}


class EarlierInstallation(Installation):
    """An installation that the previous version creates."""

    tree: ServiceTree

    def install(self) -> None:
        self.tree.migrate(self.database_url)
        self.tree.create_topics(self.environment)


@pytest.fixture(scope="module")
def previous() -> ServiceTree:
    """Return the previous version; skip the test if no release or no whole history is there to take it from."""
    try:
        return versions.checkout_previous_version()
    except versions.Unavailable as reason:
        if versions.VARIABLE in os.environ:
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture
def loaded(bootstrap: str, postgres: str, tmp_path: Path, previous: ServiceTree) -> Iterator[LoadedInstallation]:
    """Start an installation of the previous version, under load."""
    url = create_database(postgres, f"{RUN_PREFIX}-{next(RUN_NUMBERS)}")
    installation = EarlierInstallation("earlier", bootstrap, url, tmp_path)
    installation.tree = previous
    with opened(installation):
        started = LoadedInstallation(installation, COUNTS, previous)
        yield started
        started.close()


def sources_of(process: Process) -> Path:
    """Return the folder of the sources that a process runs."""
    assert process.popen is not None
    return Path(os.readlink(f"/proc/{process.popen.pid}/cwd"))


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_versions_work_side_by_side_and_no_verdict_is_lost_or_doubled(
    loaded: LoadedInstallation, order: Sequence[str], previous: ServiceTree
) -> None:
    migrate(loaded.installation.database_url)
    for name in order:
        for process in loaded.installation.of(name):
            assert sources_of(process) == previous.folder
            loaded.restart(process)
            assert sources_of(process) == ROOT
        loaded.load.probe()
    loaded.assert_faultless()

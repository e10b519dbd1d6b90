"""An installation under load, whose processes are replaced one after the other, and the checker's judgement of it."""

from collections.abc import Mapping

from deploy.benchmarks.service_tree import THIS_TREE, ServiceTree
from tests.fixtures.process_runner import Process
from tests.system.faults.checker import check
from tests.system.faults.collect import collect
from tests.system.faults.http_load import HttpLoad
from tests.system.faults.installation import Installation, wait_until
from tests.system.faults.load import Load

RATE = 20
READY_SECONDS_MAX = SETTLE_SECONDS_MAX = 240


def start_from(tree: ServiceTree, process: Process) -> None:
    """Start a process with the sources and packages of a tree."""
    process.tree, process.python = tree.folder, str(tree.python)
    process.start()


class LoadedInstallation:
    """Commands over Kafka and grades over HTTP, sent to processes of each kind until :meth:`assert_faultless`."""

    def __init__(self, installation: Installation, counts: Mapping[str, int], tree: ServiceTree = THIS_TREE) -> None:
        """Start so many processes of each kind from a tree of sources, then the load."""
        self.installation = installation
        for name, count in counts.items():
            for _ in range(count):
                process = installation.add(name)
                start_from(tree, process)
        installation.wait_until_ready(READY_SECONDS_MAX)
        self.load = Load(installation, 1, RATE)
        self.http = HttpLoad(self.load, 1)
        self.load.start()
        self.http.start()
        self.load.probe()

    def restart(self, *processes: Process) -> None:
        """Stop processes gracefully, start them from these sources, and wait until they are ready."""
        for process in processes:
            assert self.installation.stop(process) == 0, process.log
            start_from(THIS_TREE, process)
        self.installation.wait_until_ready(READY_SECONDS_MAX)

    def close(self) -> None:
        """End the load."""
        self.http.stop()
        self.load.abandon()

    def assert_faultless(self) -> None:
        """Stop the load, wait until all is decided and published, and let the checker look at everything."""
        self.http.stop()
        self.load.stop()
        wait_until(self.installation.is_settled, "all is decided and published", SETTLE_SECONDS_MAX)
        run = collect(self.installation, self.http)
        assert [str(violation) for violation in check(run)] == []
        assert list(run.lines("exit")) == [], "a process ended by itself"
        assert next(run.lines("http"), None) is not None, "nothing was graded over HTTP"

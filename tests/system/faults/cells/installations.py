"""Several installations on one Kafka: side by side, and one that was given another's topics by mistake."""

import time

from tests.fixtures.process_runner import Process
from tests.system.faults.cells import cell
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.installation import is_ready, wait_until

REFUSAL = "belong to another log"


@cell(shared=False)
def install_twice(run: FaultRun) -> None:
    """A second installation works on the same servers at the same time: neither notices the other."""
    with run.new_installation("second") as installation:
        installation.start(handlers=1, relays=1, gateways=0)
        run.injected("second installation")
        with run.loaded(installation, 30) as load:
            time.sleep(10)
            installation.keep_snapshot("beside the shared installation")
            load.probe()
            run.recovered()
        installation.keep_snapshot("after the fault")
        run.judge(installation, load)


@cell()
def use_topics_of_another(run: FaultRun) -> None:
    """Handler and relay of another database are given the shared installation's topics: they refuse to work on them."""
    with run.new_installation("stranger") as stranger:
        topics = {"TOPIC_PREFIX": run.installation.prefix}
        run.injected("topics of another installation")
        processes = [stranger.add("handler", HANDLER_INSTANCE="stranger", **topics), stranger.add("relay", **topics)]
        for process in processes:
            process.start()
        for process in processes:
            wait_until(lambda process=process: _has_refused(process), f"the {process.name} refuses, or is ready")  # type: ignore[misc]
            if is_ready(process):
                run.fail(f"a {process.name} works on the topics of another installation")
            stranger.kill(process)
    run.recovered()


def _has_refused(process: Process) -> bool:
    """Return whether it has ended with that reason; true also if it is ready, which is wrong."""
    return REFUSAL in process.log.read_text() or is_ready(process)

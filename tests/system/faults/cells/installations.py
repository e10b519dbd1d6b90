"""Several installations on one Kafka: side by side, and one that was given another's topics by mistake."""

import time

from tests.system.faults.cells import cell
from tests.system.faults.fault_run import FaultRun

WRONG_SECONDS = 15


@cell(shared=False)
def install_twice(run: FaultRun) -> None:
    """A second installation works on the same servers at the same time: neither notices the other."""
    with run.new_installation("second") as installation:
        installation.start(handlers=1, relays=1, gateways=0)
        run.injected("second installation")
        with run.loaded(installation, 30) as load:
            time.sleep(10)
            load.probe()
            run.recovered()
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
        time.sleep(WRONG_SECONDS)
        for process in processes:
            if process.popen is not None and process.get_readiness()[0] == 200:
                run.fail(f"a {process.name} works on the topics of another installation")
            stranger.kill(process)
    run.recovered()

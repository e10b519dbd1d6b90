"""A fault run: servers, one installation under load, faults with their recovery times, and the checker's judgement."""

import contextlib
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import KafkaException

from deploy.local.kafka import delete_topics
from tests.fixtures.process_runner import Process
from tests.system.faults.collect import collect
from tests.system.faults.evidence import FAILURES, describe_error, new_folder
from tests.system.faults.http_load import HttpLoad
from tests.system.faults.installation import Installation, opened
from tests.system.faults.judgement import check_records, keep_unchecked
from tests.system.faults.load import Load
from tests.system.faults.outcome import Outcome, Recovery, say
from tests.system.faults.sampler import watched
from tests.system.faults.servers import Servers

RATE = 30
"""Commands a second over Kafka, to the installation that most cells share."""
RETIRED = "retired"
"""Names a process that served one cell, and is not started again. Its log is read with the others'."""
READY_SECONDS_MAX = 90
"""For each process, after a cell: only what never recovers takes so long, also on a busy machine."""
ACTIVE_METRIC = "moderation_relay_active"


class Skipped(Exception):
    """The cell cannot run on this machine; the message names what is missing."""


class FaultRun:
    """The environment of a cell: servers, the installation under load, seeded random numbers, and a report.

    ``chance`` is another one for each cell, so that how often an earlier cell drew from it changes nothing.
    """

    def __init__(self, servers: Servers, folder: Path, seed: int) -> None:
        self.servers = servers
        self.folder = folder
        self.chance = random.Random(seed)
        self.outcome = Outcome(seed)
        self.cell = ""
        self._seed = seed
        self._cells = 0
        self._judged: set[str] = set()

    @contextlib.contextmanager
    def under_load(self, handlers: int = 3, relays: int = 2, gateways: int = 2, schedulers: int = 2) -> Iterator[None]:
        """Run the installation that most cells share; at the end, also of a failure, let it settle and check it."""
        started_at = time.monotonic()
        with self.new_installation("shared") as self.installation:
            self.installation.start(handlers, relays, gateways, schedulers)
            self.load = Load(self.installation, self._seed, RATE)
            self.http = HttpLoad(self.load, self._seed)
            self.load.start()
            self.http.start()
            try:
                with self.noting_failures():
                    self.load.probe()
                    yield
                self.ask_gateways()
            finally:
                self.http.stop()
                self.load.abandon()
            self.outcome.requests += self.http.answered
            self.judge(self.installation, self.load, self.http)
        self.outcome.seconds = time.monotonic() - started_at

    @contextlib.contextmanager
    def new_installation(self, name: str) -> Iterator[Installation]:
        """Create a separate installation on the same servers, without processes yet; delete its topics at the end."""
        url = self.servers.create_database(f"faults_{name}_{self.chance.randrange(10**6)}")
        with self.opened(name, url) as installation:
            yield installation

    @contextlib.contextmanager
    def opened(self, name: str, database_url: str) -> Iterator[Installation]:
        """Create an installation on a database, and sample it; delete its topics at the end.

        If it got commands and nobody judged it, its records are saved before, and the report says so.
        """
        folder = new_folder(self.folder / name)
        created = Installation(name, self.servers.kafka.address, database_url, folder)
        with opened(created) as installation, watched(installation):
            try:
                yield installation
                self._save_unless_judged(installation, "its cell did not check it")
            except FAILURES:
                self._save_unless_judged(installation, "its cell failed before the check")
                raise
            finally:
                # Brokers spend time on each partition: those that are left over would slow down the rest of the run.
                with contextlib.suppress(KafkaException):
                    delete_topics(self.servers.kafka.address, f"{installation.prefix}.")

    @contextlib.contextmanager
    def loaded(
        self, installation: Installation, rate: float = 60, *, source: int = 1, is_removed: bool = False
    ) -> Iterator[Load]:
        """Send commands to a cell's separate installation until the end of the block; the cell judges it."""
        load = Load(installation, self.chance.randrange(10**6), rate, source=source, is_removed=is_removed)
        load.start()
        try:
            yield load
        finally:
            load.abandon()

    def judge(
        self,
        installation: Installation,
        load: Load,
        http: HttpLoad | None = None,
        *,
        log_alone: bool = False,
    ) -> None:
        """Wait until an installation has settled and check it; what was observed is saved unless the run is clean.

        ``log_alone``: topics have records that the log has lost: neither they nor states are compared with it.
        """
        self._judged.add(installation.prefix)
        self.outcome.commands += load.sent
        with self.noting_failures():
            self.wait_until_ready(installation)
        with self.noting_failures():
            load.stop()
            installation.settle()
        if not log_alone and not installation.of("gateway"):
            # It serves only the states at the end.
            with self.noting_failures():
                installation.add("gateway").start()
                installation.wait_until_ready()
        self.outcome.note_exits(installation.history.lines)
        try:
            run = collect(installation, None if log_alone else http or HttpLoad(load, self._seed))
        except FAILURES as error:
            keep_unchecked(installation, self.outcome, self.cell, f"not all could be read: {describe_error(error)}")
            return
        if log_alone:
            run.readers, run.uncommitted = {}, {}
        if http is not None and not any(line["status"] == 200 for line in run.lines("http")):
            self.fail("no grade over HTTP was accepted: what gateways promise was not checked")
        for sender in (load, http):
            if sender is not None and sender.failure is not None:
                self.fail(f"the load ended before the run: {sender.failure}")
        check_records(run, installation, self.outcome, self.cell)

    def wait_until_ready(self, installation: Installation) -> None:
        """Wait until every process is ready that no cell has retired: commands that are decided show only its siblings.

        Raises TimeoutError, with what each process says, or RuntimeError if one was not started again.
        """
        ended = [p.log.stem for p in installation.processes if p.popen is None and p.name != RETIRED]
        if ended:
            raise RuntimeError(f"not started again: {', '.join(ended)}")
        installation.wait_until_ready(READY_SECONDS_MAX)

    def ask_gateways(self) -> None:
        """Let each gateway answer a grade: the load sends one that failed through another gateway."""
        for gateway in self.installation.of("gateway"):
            with self.noting_failures():
                self.http.probe(gateway)

    def _save_unless_judged(self, installation: Installation, reason: str) -> None:
        has_commands = any(line["kind"] == "sent" for line in installation.history.lines)
        if has_commands and installation.prefix not in self._judged:
            keep_unchecked(installation, self.outcome, self.cell, reason)

    def injected(self, fault: str, count: int = 1) -> None:
        """Note a fault in the history and count it."""
        self.installation.history.add("fault", cell=self.cell, fault=fault)
        self.outcome.faults[fault] = self.outcome.faults.get(fault, 0) + count

    def count_commands(self) -> int:
        """Return how many commands were sent over Kafka, plus requests answered over HTTP."""
        return self.load.sent + self.http.answered

    def recovered(
        self,
        server_seconds: float | None = None,
        probe: Callable[[], float] | None = None,
        *,
        until_acknowledged: bool = False,
    ) -> None:
        """Measure and note the time from the end of the fault until each shard, or else the probe, gives a verdict.

        ``until_acknowledged``: the server's own time ended when brokers had acknowledged the probe.
        """
        seconds = (probe or self.load.probe)()
        if until_acknowledged:
            server_seconds = self.load.acknowledged_seconds
        self.installation.history.add("recovery", cell=self.cell, seconds=seconds, server_seconds=server_seconds)
        self.outcome.recoveries.append(Recovery(self.cell, seconds, server_seconds))

    def fail(self, error: str) -> None:
        """Note a failure other than a violation."""
        self.outcome.errors.append(f"{self.cell}: {error}" if self.cell else error)
        say(f"  {error}")

    def note(self, text: str) -> None:
        """Note a measurement for the report."""
        self.outcome.notes.append(f"{self.cell}: {text}")
        say(f"  {text}")

    def hold(self, shortest: float, longest: float) -> None:
        """Let a fault last for a random time (seconds)."""
        time.sleep(self.chance.uniform(shortest, longest))

    def choose(self, name: str) -> Process:
        """Return a random process of a kind."""
        return self.chance.choice(self.installation.of(name))

    def active_relay(self) -> Process:
        """Return the relay that publishes; a random one if none reports that it does."""
        relays = self.installation.of("relay")
        for relay in relays:
            with contextlib.suppress(OSError):
                if relay.popen is not None and relay.get_metric(ACTIVE_METRIC) >= 1:
                    return relay
        return self.chance.choice(relays)

    def pause(self, process: Process, seconds: float) -> None:
        """Stop a process with SIGSTOP for some seconds."""
        process.signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            process.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def noting_failures(self) -> Iterator[None]:
        """Note a failure of the block, and let the run go on after it."""
        try:
            yield
        except FAILURES as error:
            self.fail(describe_error(error))
            with (self.folder / "errors.txt").open("a") as file:
                file.write(f"{self.cell}\n{traceback.format_exc()}\n")

    def inject(self, name: str, cell: Callable[["FaultRun"], None]) -> None:
        """Run one cell, until every shared process is ready; note a failure, if any, and continue the run."""
        self.cell = name
        self._cells += 1
        self.chance = random.Random(f"{self._seed} cell {self._cells}")
        started_at, errors_before = time.monotonic(), len(self.outcome.errors)
        try:
            with self.noting_failures():
                cell(self)
        except Skipped as reason:
            if f"{name}: {reason}" not in self.outcome.skipped:
                self.outcome.skipped.append(f"{name}: {reason}")
            say(f"- {name:<32} SKIPPED: {reason}")
        else:
            if len(self.outcome.errors) > errors_before:
                self._heal()
            with self.noting_failures():
                self.wait_until_ready(self.installation)
            has_failed = len(self.outcome.errors) > errors_before
            say(f"{'✗' if has_failed else '✓'} {name:<32} {time.monotonic() - started_at:.0f} s")
        self.cell = ""

    def _heal(self) -> None:
        """Restart everything that a failed cell has left stopped."""
        for start in (
            self.servers.kafka.start,
            self.servers.postgres.primary.start,
            self.servers.postgres.standby.start,
        ):
            with contextlib.suppress(*FAILURES):
                start()
        for process in self.installation.processes:
            if process.popen is None and process.name != RETIRED:
                process.start()

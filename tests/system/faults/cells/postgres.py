"""PostgreSQL: killed, failed over, read-only, without connections, with locks held and backends terminated.

To kill it is SIGKILL of the postmaster: sessions go on until they notice. In a failover the primary ends with its
sessions at once (``pg_ctl -m immediate``), because it never starts again.
"""

import contextlib
import time

import psycopg

from deploy.local.postgres import database_name
from deploy.local.postgres import is_ready as is_answering
from tests.system.faults import log_reader
from tests.system.faults.cells import cell
from tests.system.faults.cells.brokers import choose_broker, start_brokers
from tests.system.faults.cells.processes import kill_and_start
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.installation import is_ready, single_host_url, wait_until

TERMINATE = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name like 'moderation-%' and random() < {share}
"""

OF_OURS = "from pg_stat_activity where datname = %s and application_name like 'moderation-%%'"
COUNT_OF, TERMINATE_OF = f"select count(*) {OF_OURS}".encode(), f"select pg_terminate_backend(pid) {OF_OURS}".encode()
WAITING = "select exists (select from pg_stat_activity where %s = any(pg_blocking_pids(pid)))"
STATE = "select state from pg_stat_activity where pid = %s"


def terminate_backends(run: FaultRun, share: float = 1) -> int:
    """End the sessions of our processes; return how many."""
    return len(log_reader.fetch(run.installation.database_url, TERMINATE.format(share=share)))


@cell(weight=4)
def kill_postgres(run: FaultRun) -> None:
    """The primary is killed, recovers from its write-ahead log, and serves again."""
    run.injected("PostgreSQL killed")
    run.servers.postgres.primary.crash()
    run.recovered(run.servers.start_postgres())


@cell(weight=3)
def fail_over(run: FaultRun) -> None:
    """The primary ends at once and the synchronous standby is promoted; a new standby follows."""
    run.injected("PostgreSQL failover")
    run.recovered(run.servers.postgres.fail_over())
    run.servers.postgres.rebuild_standby()


@cell()
def lose_standby(run: FaultRun) -> None:
    """The standby is away for some seconds: commits wait for it, nothing is published before it has them."""
    run.injected("standby lost")
    run.servers.postgres.standby.kill()
    run.hold(3, 8)
    run.servers.postgres.standby.start()
    run.recovered()


@cell(weight=2)
def terminate_sessions(run: FaultRun) -> None:
    """Sessions of our processes are terminated at random, for some seconds."""
    deadline = time.monotonic() + run.chance.uniform(2, 5)
    while time.monotonic() < deadline:
        run.injected("session terminated", terminate_backends(run, 0.4))
        run.hold(0.1, 0.6)
    run.recovered()


@cell()
def hold_locks(run: FaultRun) -> None:
    """Another session holds the rows of all shards, or the log's tables, for longer than lock_timeout."""
    lock = run.chance.choice(
        ["select 1 from shard for update", "lock table event, decided_command in access exclusive mode"]
    )
    run.injected("locks held")
    with psycopg.connect(single_host_url(run.installation.database_url)) as connection:
        connection.execute(lock.encode())
        run.hold(11, 14)
    run.recovered()


@cell()
def make_read_only(run: FaultRun) -> None:
    """The database is read-only for some seconds, as a demoted primary is."""
    name = database_name(run.installation.database_url)
    # Found before the fault: a connection by both hosts accepts only one that can be written.
    primary_url = single_host_url(run.installation.database_url)
    with psycopg.connect(run.servers.postgres.primary.address, autocommit=True) as connection:
        run.injected("read-only")
        connection.execute(f"alter database {name} set default_transaction_read_only = on".encode())
        try:
            with psycopg.connect(primary_url, autocommit=True) as own:
                own.execute(TERMINATE.format(share=1).encode())
            run.hold(3, 8)
        finally:
            connection.execute(f"alter database {name} reset default_transaction_read_only".encode())
    terminate_backends(run)
    run.recovered()


@cell()
def exhaust_connections(run: FaultRun) -> None:
    """Others take every connection that PostgreSQL has, so that our processes have none: handlers say so."""
    address, name = run.servers.postgres.primary.address, database_name(run.installation.database_url)
    handlers = run.installation.of("handler")
    # Opened first: what observes and terminates must not need a connection that the fault takes.
    with psycopg.connect(address, autocommit=True) as own, contextlib.ExitStack() as taken:

        def have_none() -> bool:
            _take_all(taken, address)
            own.execute(TERMINATE_OF, (name,))
            _take_all(taken, address)
            return own.execute(COUNT_OF, (name,)).fetchone() == (0,)

        wait_until(have_none, "our processes have no session")
        run.injected("connections exhausted")
        wait_until(lambda: not any(map(is_ready, handlers)), "every handler says that it is not ready")
        run.hold(1, 4)
        if own.execute(COUNT_OF, (name,)).fetchone() != (0,):
            run.fail("our processes had sessions although every connection was taken")
    run.recovered()


def _take_all(taken: contextlib.ExitStack, address: str) -> None:
    """Open sessions until the server has no connection left."""
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            taken.enter_context(psycopg.connect(address, autocommit=True, connect_timeout=5))


@cell(weight=2)
def kill_postgres_and_process(run: FaultRun) -> None:
    """The primary and the active relay or a handler are killed at the same time."""
    run.injected("PostgreSQL killed")
    run.servers.postgres.primary.crash()
    process = run.chance.choice([*run.installation.of("relay"), run.choose("handler")])
    run.injected(f"{process.name} killed")
    run.installation.kill(process)
    server_seconds = run.servers.start_postgres()
    process.start()
    run.recovered(server_seconds)


@cell()
def fail_over_and_kill_broker(run: FaultRun) -> None:
    """The standby is promoted while a broker is killed."""
    number = choose_broker(run)
    run.injected("broker killed")
    run.injected("PostgreSQL failover")
    run.servers.kafka.brokers[number].kill()
    run.recovered(run.servers.postgres.fail_over())
    start_brokers(run, number)
    run.servers.postgres.rebuild_standby()


@cell()
def fail_over_and_kill_relay(run: FaultRun) -> None:
    """The active relay is killed while the standby is promoted."""
    run.injected("PostgreSQL failover")
    relay = run.active_relay()
    run.servers.postgres.fail_over()
    kill_and_start(run, relay)
    run.servers.postgres.rebuild_standby()
    wait_until(lambda: log_reader.count_rows(run.installation.database_url), "the new primary answers")


@cell(weight=2)
def kill_three(run: FaultRun) -> None:
    """A handler, the active relay and the primary are killed at the same time, and start again together."""
    processes = [run.choose("handler"), run.active_relay()]
    server = run.servers.postgres.primary
    for process in processes:
        run.injected(f"{process.name} killed")
        run.installation.kill(process)
    run.injected("PostgreSQL killed")
    server.crash()
    if is_answering(server.address) or any(process.popen is not None for process in processes):
        run.fail("one of the three was not killed")
    for process in processes:
        process.start()
    run.recovered(run.servers.start_postgres())


@cell()
def idle_in_transaction(run: FaultRun) -> None:
    """Another session idles in a transaction: its snapshot holds up nothing, and its lock only until it ends."""
    with (
        psycopg.connect(single_host_url(run.installation.database_url)) as idle,
        psycopg.connect(run.servers.postgres.primary.address, autocommit=True) as observer,
    ):
        idle.execute("set transaction isolation level repeatable read")
        idle.execute("select (select count(*) from event), (select count(*) from decided_command)")
        run.injected("session idle in a transaction")
        run.load.probe()
        idle.rollback()
        idle.execute("select from shard where shard = 0 for update")
        run.injected("session idle with a lock")
        waiting = (idle.info.backend_pid,)
        wait_until(lambda: observer.execute(WAITING, waiting).fetchone() == (True,), "our sessions wait for it")
        run.hold(3, 8)
        if observer.execute(STATE, waiting).fetchone() != ("idle in transaction",):
            run.fail("the session did not idle in its transaction")
    run.recovered()

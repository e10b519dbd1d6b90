"""Commands per second of a handler, compared with plain inserts of its rows and with the eventsourcing library."""

import os
from functools import partial

from deploy.benchmarks import insert_baseline, peers
from deploy.benchmarks.backlog import create_backlog, create_token_factory, require_token_settings, run_handlers
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses, decide
from deploy.benchmarks.results import Case, Measurement, Rounds, Scale, Target, interleave_rounds, measurement, ratio
from deploy.benchmarks.workload import mixed_records

STUDENTS = 50
BATCH_RECORDS = 1_000
DEFAULT_HANDLER = "handler, 2 subscribers"
CORES = len(os.sched_getaffinity(0))
HANDLER_PER_CORE = f"handlers, one per core ({CORES})"
ONE_TOKEN, OWN_TOKENS = "handler, COMMAND_AUTH=required", "handler, a token for each command"
PLAIN_INSERTS, APPEND = "ceiling: plain inserts of the same rows", "append alone"
CONSUMER, EVENTSOURCING_LIBRARY = "aiokafka consumer, nothing decided", "eventsourcing library"


async def handler(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure mixed commands through one handler, plain inserts of the same rows, the append alone, and peers."""
    url = bench_servers.new_database()
    courses = await create_graded_courses(url, courses_per_shard(scale.choose(2, 1)), scale.choose(STUDENTS, 10))
    build_records = partial(mixed_records, courses)
    warm_up_records, count = build_records(10 * len(courses)), scale.choose(60_000, 3_000)
    records, signed_records = (
        build_records(count, first_number=len(warm_up_records)),
        build_records(count, create_token_factory(one_per_command=False), len(warm_up_records)),
    )
    individually_signed_records = build_records(
        scale.choose(20_000, 3_000), create_token_factory(one_per_command=True), len(warm_up_records)
    )
    backlog = await create_backlog(bench_servers, url, records)
    decide_records = partial(decide, records=records, batch_records=BATCH_RECORDS)
    batches = await backlog.run_on_copy(decide_records)

    handlers = {"handler, 1 subscriber": "1", DEFAULT_HANDLER: "2", "handler, 3 subscribers": "3"}
    if scale.short:
        handlers = {DEFAULT_HANDLER: "2"}
    run_unsigned = partial(run_handlers, bench_servers, url, warm_up_records=warm_up_records)
    signed_warm_up_records = build_records(len(warm_up_records), create_token_factory(one_per_command=False))
    run_signed = partial(
        run_handlers, bench_servers, url, warm_up_records=signed_warm_up_records, settings=require_token_settings()
    )
    cases: dict[str, Case] = {
        **{
            case: partial(run_unsigned, records, settings={"HANDLER_SUBSCRIBERS": subscribers})
            for case, subscribers in handlers.items()
        },
        HANDLER_PER_CORE: partial(run_unsigned, records, CORES),
        ONE_TOKEN: partial(run_signed, signed_records),
        OWN_TOKENS: partial(run_signed, individually_signed_records),
        PLAIN_INSERTS: partial(backlog.run_on_copy, partial(insert_baseline.measure_plain_inserts, batches=batches)),
        APPEND: partial(backlog.run_on_copy, partial(insert_baseline.measure_appends, batches=batches)),
        EVENTSOURCING_LIBRARY: partial(
            backlog.run_on_copy, partial(peers.eventsourcing, commands=scale.choose(1_000, 20))
        ),
        CONSUMER: partial(peers.bare_consumer, backlog.installation, len(records)),
    }
    return _measurements(await interleave_rounds(cases, scale.choose(5, 1)), list(cases))


def _measurements(rounds: Rounds, cases: list[str]) -> list[Measurement]:
    processor = [
        measurement(f"{case}: processor time, {component}", "µs", rounds.values(case, name))
        for case in (DEFAULT_HANDLER, HANDLER_PER_CORE, ONE_TOKEN)
        for component, name in (("handler", "handler_us"), ("PostgreSQL", "backend_us"))
    ]
    default_rate, all_cores_rate = rounds.values(DEFAULT_HANDLER), rounds.values(HANDLER_PER_CORE)
    return [
        *(measurement(case, "/s", rounds.values(case)) for case in cases),
        *processor,
        ratio("append alone, of the ceiling", "%", rounds.values(APPEND), rounds.values(PLAIN_INSERTS), Target(85)),
        ratio(f"{DEFAULT_HANDLER}, of the ceiling", "%", default_rate, rounds.values(PLAIN_INSERTS), Target(46)),
        ratio(f"{HANDLER_PER_CORE}, of the ceiling", "%", all_cores_rate, rounds.values(PLAIN_INSERTS), Target(62)),
        ratio(
            f"{DEFAULT_HANDLER}, to the eventsourcing library",
            "times",
            default_rate,
            rounds.values(EVENTSOURCING_LIBRARY),
            Target(25),
        ),
        ratio(
            f"{HANDLER_PER_CORE}, to the eventsourcing library",
            "times",
            all_cores_rate,
            rounds.values(EVENTSOURCING_LIBRARY),
        ),
    ]

"""How many commands a handler decides a second, beside the ceiling and the peers."""

import os
from functools import partial

from deploy.benchmarks import insert_baseline, peers
from deploy.benchmarks.backlog import joined, require_tokens, tokens, waiting
from deploy.benchmarks.environment import Site
from deploy.benchmarks.in_process import courses_in_every_shard, decide, set_up
from deploy.benchmarks.results import Case, Figure, Rounds, Scale, Target, alternating, figure, ratio
from deploy.benchmarks.workload import mixed_records

STUDENTS = 50
BATCH_RECORDS = 1_000
DEFAULT = "handler, 2 subscribers"
CORES = len(os.sched_getaffinity(0))
ONE_A_CORE = f"handlers, one a core ({CORES})"
ONE_TOKEN, OWN_TOKENS = "handler, COMMAND_AUTH=required", "… and a token of its own for each command"
PLAIN, APPEND = "ceiling: plain inserts of its rows", "append alone"
CONSUMER = "aiokafka's consumer, nothing decided"
PER_MESSAGE, LIBRARY = "FastStream handler, message by message", "eventsourcing library"


async def handler(site: Site, scale: Scale) -> list[Figure]:
    """Mixed commands through one handler; plain inserts of the same rows; the append alone; peers."""
    url = site.database()
    courses = await set_up(url, courses_in_every_shard(scale.of(2, 1)), scale.of(STUDENTS, 10))
    mix = partial(mixed_records, courses)
    first, count = mix(10 * len(courses)), scale.of(60_000, 3_000)
    records, signed = mix(count, first=len(first)), mix(count, tokens(each_its_own=False), len(first))
    own = mix(scale.of(20_000, 3_000), tokens(each_its_own=True), len(first))
    plain = await waiting(site, url, records)
    some = partial(decide, records=records, batch_records=BATCH_RECORDS)
    batches = await plain.on_a_copy(some)

    handlers = {"handler, 1 subscriber": "1", DEFAULT: "2", "handler, 3 subscribers": "3"}
    if scale.short:
        handlers = {DEFAULT: "2"}
    decided = partial(joined, site, url, first=first)
    believed = mix(len(first), tokens(each_its_own=False))
    required = partial(joined, site, url, first=believed, settings=require_tokens())
    cases: dict[str, Case] = {
        **{case: partial(decided, records, settings={"HANDLER_SUBSCRIBERS": k}) for case, k in handlers.items()},
        ONE_A_CORE: partial(decided, records, CORES),
        ONE_TOKEN: partial(required, signed),
        OWN_TOKENS: partial(required, own),
        PLAIN: partial(plain.on_a_copy, partial(insert_baseline.plain_inserts, batches=batches)),
        APPEND: partial(plain.on_a_copy, partial(insert_baseline.appends, batches=batches)),
        LIBRARY: partial(plain.on_a_copy, partial(peers.eventsourcing, commands=scale.of(1_000, 20))),
        PER_MESSAGE: partial(peers.faststream_per_message, plain.installation, scale.of(1_000, 20)),
        CONSUMER: partial(peers.bare_consumer, plain.installation, len(records)),
    }
    return _figures(await alternating(cases, scale.of(5, 1)), list(cases))


def _figures(seen: Rounds, cases: list[str]) -> list[Figure]:
    targets = {DEFAULT: Target(20_000)}
    processor = [
        figure(f"{case}: processor time, {of}", "µs", seen.of(case, name), target)
        for case in (DEFAULT, ONE_A_CORE, ONE_TOKEN)
        for of, name, target in (
            ("handler", "handler_us", Target(40, at_most=True)),
            ("PostgreSQL", "backend_us", None),
        )
    ]
    own, all_cores = seen.of(DEFAULT), seen.of(ONE_A_CORE)
    return [
        *(figure(case, "/s", seen.of(case), targets.get(case)) for case in cases),
        *processor,
        ratio("append alone, of the ceiling", "%", seen.of(APPEND), seen.of(PLAIN), Target(85)),
        ratio(f"{DEFAULT}, of the ceiling", "%", own, seen.of(PLAIN)),
        ratio(f"{ONE_A_CORE}, of the ceiling", "%", all_cores, seen.of(PLAIN), Target(40)),
        ratio(f"{DEFAULT}, to the eventsourcing library", "times", own, seen.of(LIBRARY)),
        ratio(f"{ONE_A_CORE}, to the eventsourcing library", "times", all_cores, seen.of(LIBRARY), Target(20)),
        ratio(f"{DEFAULT}, to message by message", "times", own, seen.of(PER_MESSAGE), Target(100)),
    ]

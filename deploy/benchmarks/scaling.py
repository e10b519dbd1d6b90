"""Throughput as batches, classes, the log and the number of handlers grow."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import psycopg

from deploy.benchmarks import insert_baseline, throughput_probe
from deploy.benchmarks.backlog import create_backlog, no_concurrent_work, run_handlers
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses, decide
from deploy.benchmarks.log_seeder import create_course_template
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.results import Case, Measurement, Scale, Target, interleave_rounds, measurement, ratio
from deploy.benchmarks.workload import (
    FIRST_STUDENT,
    SECOND_GRADER,
    Course,
    Json,
    build_record,
    grade_command,
    mixed_records,
)

RoundValues = dict[str, float]


async def batch_size(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure a handler by its batch size, and the ceiling for transactions of the same size."""
    sizes = (50, 100, 250, 500, 1_000, 2_000, 5_000)[:: scale.choose(1, 7)]
    url = bench_servers.new_database()
    courses = await create_graded_courses(url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10))
    warm_up_records = mixed_records(courses, 10 * len(courses))
    records = mixed_records(courses, scale.choose(60_000, 3_000), first_number=len(warm_up_records))
    backlog = await create_backlog(bench_servers, url, records)
    cases: dict[str, Case] = {}
    for size in sizes:
        batches = await backlog.run_on_copy(partial(decide, records=records, batch_records=size))
        settings = {"HANDLER_BATCH_RECORDS": str(size)}
        cases[f"handler, {size}"] = partial(
            run_handlers, bench_servers, url, records, warm_up_records=warm_up_records, settings=settings
        )
        if len(batches) > 1:
            insert_batches = partial(insert_baseline.measure_plain_inserts, batches=batches)
            cases[f"ceiling, {size}"] = partial(backlog.run_on_copy, insert_batches)
    rounds = await interleave_rounds(cases, scale.choose(3, 1))
    return [
        measurement(f"{series}, batches of {size}", "/s", rounds.values(case), plot_position=size, series=series)
        for series in ("handler", "ceiling")
        for size in sizes
        if (case := f"{series}, {size}") in cases
    ]


async def class_size(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure the same commands in classes of 10 to 10,000: the cost of one must not depend on the class size.

    Students occur in random order, so that a large class fits the processor's caches less.
    """
    sizes = (10, 100, 1_000, 10_000)[: scale.choose(4, 1)]
    cases: dict[str, Case] = {}
    for students in sizes:
        url = bench_servers.new_database()
        courses = await create_graded_courses(url, courses_per_shard(1), students)
        # A first grade costs more than a changed one, and would otherwise be rarer in small classes.
        await decide(url, (build_record(made) for course in courses for made in _second_grade_commands(course)))
        # Ten commands of each course load its state before the measurement (cold-start measures loading).
        warm_up_records = mixed_records(courses, 10 * len(courses))
        records = mixed_records(courses, scale.choose(60_000, 3_000), first_number=len(warm_up_records))
        cases[f"classes of {students:,}"] = partial(run_handlers, bench_servers, url, records, 1, warm_up_records)
    rounds = await interleave_rounds(cases, scale.choose(5, 1))
    smallest, largest = (f"classes of {sizes[end]:,}" for end in (0, -1))
    return [
        *(
            measurement(case, "/s", rounds.values(case), plot_position=students)
            for case, students in zip(cases, sizes, strict=True)
        ),
        *(measurement(f"{case}: processor time, handler", "µs", rounds.values(case, "handler_us")) for case in cases),
        ratio(
            "processor time, largest class to smallest",
            "%",
            rounds.values(largest, "handler_us"),
            rounds.values(smallest, "handler_us"),
            Target(125, at_most=True),
        ),
    ]


def _second_grade_commands(course: Course) -> Iterator[Json]:
    for assignment in course.stream_numbers:
        for student in range(course.students):
            yield grade_command(course.course_id, assignment, FIRST_STUDENT + student, 50, SECOND_GRADER)


async def log_size(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure a handler with 10⁵, 10⁶ and 5·10⁶ events, and as many verdicts, already in the log."""
    sizes = (100_000, 1_000_000, 5_000_000) if not scale.short else (2_000,)
    course_template = await create_course_template(bench_servers, scale.choose(300, 30))
    cases: dict[str, Case] = {}
    for size in sizes:
        url = bench_servers.new_database()
        courses = await course_template.copy_to_log(url, size // len(course_template.events))
        cases[f"{size:,} events"] = partial(
            _run_on_same_log, await bench_servers.new_installation(url), courses[:24], scale.choose(20_000, 3_000)
        )
    rounds = await interleave_rounds(cases, scale.choose(5, 1))
    smallest, largest = (f"{sizes[end]:,} events" for end in (0, -1))
    return [
        *(
            measurement(case, "/s", rounds.values(case), plot_position=size)
            for case, size in zip(cases, sizes, strict=True)
        ),
        *(measurement(f"{case}: processor time, handler", "µs", rounds.values(case, "handler_us")) for case in cases),
        *(
            measurement(f"{case}: processor time, PostgreSQL", "µs", rounds.values(case, "backend_us"))
            for case in cases
        ),
        ratio("largest log, to smallest", "%", rounds.values(largest), rounds.values(smallest), Target(90)),
    ]


async def _run_on_same_log(installation: BenchInstallation, courses: Sequence[Course], count: int) -> RoundValues:
    """Run on the log itself, which grows with each round: a copy would take longer than the measurement."""
    verdicts_before = await throughput_probe.count_verdicts(installation.url)
    records = mixed_records(courses, count)
    installation.send(records)
    with RunningProcess("services.handler", installation.environment) as handler:
        rate = await throughput_probe.measure_rate(
            installation.url, [handler], verdicts_before, count, warm_up_count=count // 10
        )
    return rate.round_values()


async def handlers(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure one, two and three handlers on one topic; all have joined before the commands are sent."""
    url = bench_servers.new_database()
    courses = await create_graded_courses(url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10))
    warm_up_records = mixed_records(courses, 10 * len(courses))
    records = mixed_records(courses, scale.choose(60_000, 3_000), first_number=len(warm_up_records))
    counts = (1, 2, 3)[: scale.choose(3, 1)]
    cases: dict[str, Case] = {
        f"{count} handler{'s' * (count > 1)}": partial(
            run_handlers, bench_servers, url, records, count, warm_up_records
        )
        for count in counts
    }
    rounds = await interleave_rounds(cases, scale.choose(5, 1))
    one_handler = rounds.values("1 handler")
    return [
        *(measurement(case, "/s", rounds.values(case)) for case in cases),
        *(
            ratio(f"{case}, to 1 handler", "%", rounds.values(case), one_handler, Target(100))
            for case in list(cases)[1:]
        ),
    ]


async def never_analyzed(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Fill a new database that is never analyzed: the last tenth of the commands must cost as much as the first."""
    return await _measure_sustained(bench_servers, scale, {"never analyzed": False}, {})


async def old_snapshot(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Append small batches while a transaction holds an old snapshot: the last tenth may cost twice the first."""
    names = {"an old snapshot": True} if scale.short else {"no old snapshot": False, "an old snapshot": True}
    return await _measure_sustained(bench_servers, scale, names, {"HANDLER_BATCH_RECORDS": "50"})


async def _measure_sustained(
    bench_servers: BenchServers, scale: Scale, names: Mapping[str, bool], settings: Mapping[str, str]
) -> list[Measurement]:
    url = bench_servers.new_database()
    courses = await create_graded_courses(url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10))
    backlog = await create_backlog(bench_servers, url, mixed_records(courses, scale.choose(200_000, 4_000)))
    measurements = []
    for name, has_old_snapshot in names.items():
        rate = await backlog.run_handler(settings, _old_snapshot if has_old_snapshot else no_concurrent_work)
        measurements.append(measurement(name, "/s", [rate.per_second]))
        if not scale.short:
            cost_ratios = [rate.last_to_first]
            measurements.append(
                measurement(f"{name}: cost of the last tenth, to the first", "times", cost_ratios, Target(2, True))
            )
    return measurements


@contextlib.contextmanager
def _old_snapshot(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select count(*) from event")
        yield

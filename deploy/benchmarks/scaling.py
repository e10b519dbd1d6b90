"""What a command costs as batches, classes, the log and the number of handlers grow."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import psycopg

from deploy.benchmarks import insert_baseline, throughput_probe
from deploy.benchmarks.backlog import joined, nothing_beside, waiting
from deploy.benchmarks.environment import Installation, Site
from deploy.benchmarks.in_process import courses_in_every_shard, decide, set_up
from deploy.benchmarks.log_seeder import original
from deploy.benchmarks.processes import Running
from deploy.benchmarks.results import Case, Figure, Scale, Target, alternating, figure, ratio
from deploy.benchmarks.workload import FIRST_STUDENT, SECOND_GRADER, Course, Json, grade, mixed_records, record

Numbers = dict[str, float]


async def batch_size(site: Site, scale: Scale) -> list[Figure]:
    """A handler's throughput by the records it takes at once, and the ceiling of as many a transaction."""
    sizes = (50, 100, 250, 500, 1_000, 2_000, 5_000)[:: scale.of(1, 7)]
    url = site.database()
    courses = await set_up(url, courses_in_every_shard(scale.of(2, 1)), scale.of(50, 10))
    first = mixed_records(courses, 10 * len(courses))
    records = mixed_records(courses, scale.of(60_000, 3_000), first=len(first))
    commands = await waiting(site, url, records)
    cases: dict[str, Case] = {}
    for size in sizes:
        batches = await commands.on_a_copy(partial(decide, records=records, batch_records=size))
        settings = {"HANDLER_BATCH_RECORDS": str(size)}
        cases[f"handler, {size}"] = partial(joined, site, url, records, first=first, settings=settings)
        if len(batches) > 1:
            plain = partial(insert_baseline.plain_inserts, batches=batches)
            cases[f"ceiling, {size}"] = partial(commands.on_a_copy, plain)
    seen = await alternating(cases, scale.of(3, 1))
    return [
        figure(f"{what}, batches of {size}", "/s", seen.of(case), at=size, series=what)
        for what in ("handler", "ceiling")
        for size in sizes
        if (case := f"{what}, {size}") in cases
    ]


async def class_size(site: Site, scale: Scale) -> list[Figure]:
    """The same commands in classes of 10 to 10,000: the cost of one must not depend on the class.

    Students are met in no order: of large classes fewer are in the processor's caches.
    """
    sizes = (10, 100, 1_000, 10_000)[: scale.of(4, 1)]
    cases: dict[str, Case] = {}
    for students in sizes:
        url = site.database()
        courses = await set_up(url, courses_in_every_shard(1), students)
        # Or a first grade, which is more than a change of one, would be the rarer the smaller the class.
        await decide(url, (record(made) for course in courses for made in _second_grades(course)))
        # Ten of each course: what its commands need is read before anything counts (how long: see cold-start).
        first = mixed_records(courses, 10 * len(courses))
        records = mixed_records(courses, scale.of(60_000, 3_000), first=len(first))
        cases[f"classes of {students:,}"] = partial(joined, site, url, records, 1, first)
    seen = await alternating(cases, scale.of(5, 1))
    smallest, largest = (f"classes of {sizes[end]:,}" for end in (0, -1))
    return [
        *(figure(case, "/s", seen.of(case), at=students) for case, students in zip(cases, sizes, strict=True)),
        *(figure(f"{case}: processor time, handler", "µs", seen.of(case, "handler_us")) for case in cases),
        ratio(
            "largest class's processor time, of the smallest's",
            "%",
            seen.of(largest, "handler_us"),
            seen.of(smallest, "handler_us"),
            Target(125, at_most=True),
        ),
    ]


def _second_grades(course: Course) -> Iterator[Json]:
    for assignment in course.numbers:
        for student in range(course.students):
            yield grade(course.course_id, assignment, FIRST_STUDENT + student, 50, SECOND_GRADER)


async def log_size(site: Site, scale: Scale) -> list[Figure]:
    """A handler's throughput with 10⁵, 10⁶ and 5·10⁶ events, and as many verdicts, already in the log."""
    sizes = (100_000, 1_000_000, 5_000_000) if not scale.short else (2_000,)
    course = await original(site, scale.of(300, 30))
    cases: dict[str, Case] = {}
    for size in sizes:
        url = site.database()
        courses = await course.copied(url, size // len(course.events))
        cases[f"{size:,} events"] = partial(
            _on_the_same_log, await site.installation(url), courses[:24], scale.of(20_000, 3_000)
        )
    seen = await alternating(cases, scale.of(5, 1))
    smallest, largest = (f"{sizes[end]:,} events" for end in (0, -1))
    return [
        *(figure(case, "/s", seen.of(case), at=size) for case, size in zip(cases, sizes, strict=True)),
        *(figure(f"{case}: processor time, handler", "µs", seen.of(case, "handler_us")) for case in cases),
        *(figure(f"{case}: processor time, PostgreSQL", "µs", seen.of(case, "backend_us")) for case in cases),
        ratio("largest log, of the smallest's", "%", seen.of(largest), seen.of(smallest), Target(90)),
    ]


async def _on_the_same_log(installation: Installation, courses: Sequence[Course], count: int) -> Numbers:
    """Copies of a large log would take longer than what is measured: each round adds to it."""
    before = await throughput_probe.verdicts(installation.url)
    records = mixed_records(courses, count)
    installation.send(records)
    with Running("services.handler", installation.environment) as handler:
        rate = await throughput_probe.rate(installation.url, [handler], before, count, skipped=count // 10)
    return rate.numbers()


async def handlers(site: Site, scale: Scale) -> list[Figure]:
    """One, two and three handler processes on one topic; they have joined before the commands come."""
    url = site.database()
    courses = await set_up(url, courses_in_every_shard(scale.of(2, 1)), scale.of(50, 10))
    first = mixed_records(courses, 10 * len(courses))
    records = mixed_records(courses, scale.of(60_000, 3_000), first=len(first))
    counts = (1, 2, 3)[: scale.of(3, 1)]
    cases: dict[str, Case] = {
        f"{count} handler{'s' * (count > 1)}": partial(joined, site, url, records, count, first) for count in counts
    }
    seen = await alternating(cases, scale.of(5, 1))
    one = seen.of("1 handler")
    return [
        *(figure(case, "/s", seen.of(case)) for case in cases),
        *(ratio(f"{case}, of one's", "%", seen.of(case), one, Target(100)) for case in list(cases)[1:]),
    ]


async def never_analyzed(site: Site, scale: Scale) -> list[Figure]:
    """A fresh database fills: the last tenth of the commands must cost what the first did."""
    return await _lasting(site, scale, {"never analyzed": False}, {})


async def old_snapshot(site: Site, scale: Scale) -> list[Figure]:
    """Thousands of small batches beside a transaction as old as the log: the last must not take twice the first."""
    names = {"an old snapshot": True} if scale.short else {"no old snapshot": False, "an old snapshot": True}
    return await _lasting(site, scale, names, {"HANDLER_BATCH_RECORDS": "50"})


async def _lasting(site: Site, scale: Scale, names: Mapping[str, bool], settings: Mapping[str, str]) -> list[Figure]:
    url = site.database()
    courses = await set_up(url, courses_in_every_shard(scale.of(2, 1)), scale.of(50, 10))
    commands = await waiting(site, url, mixed_records(courses, scale.of(200_000, 4_000)))
    figures = []
    for name, old in names.items():
        rate = await commands.decided(settings, _old_snapshot if old else nothing_beside)
        figures.append(figure(name, "/s", [rate.per_second]))
        if not scale.short:
            of_first = [rate.last_to_first]
            figures.append(figure(f"{name}: last tenth's cost, to the first's", "times", of_first, Target(2, True)))
    return figures


@contextlib.contextmanager
def _old_snapshot(url: str) -> Iterator[None]:
    with psycopg.connect(url) as beside:
        beside.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        beside.execute("select count(*) from event")
        yield

"""How long a command takes to its verdict and to its live event, and a publication to its last one.

Open loop: commands are sent when they are due whatever became of the earlier ones, and time runs from when they were
due. So a stall counts for every command that fell into it.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence

from deploy.benchmarks.end_to_end_latency_probe import Arrivals
from deploy.benchmarks.environment import Installation, Site
from deploy.benchmarks.in_process import courses_in_every_shard, decide, set_up
from deploy.benchmarks.open_loop_sender import Sender
from deploy.benchmarks.processes import Running
from deploy.benchmarks.results import Figure, Scale, Target, figure, percentile
from deploy.benchmarks.workload import FINAL_GRADER, FIRST_STUDENT, Course, Json, command, mixed, record
from services.eventlog.feeds import Tail
from services.eventlog.postgres import READER, connect
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import OUTPUTS, SERIES, Progress
from services.kafka.topics import write_progress

PERCENTILES = (0.5, 0.99)
# One command in so many makes a live event: a published grade is posted, or hidden again.
LIVE_EVERY = 4
TARGETS = {
    (500, "verdicts"): Target(100, at_most=True),
    (500, "live-events"): Target(150, at_most=True),
    (2_000, "verdicts"): Target(150, at_most=True),
}


@contextlib.asynccontextmanager
async def working(site: Site, url: str, **settings: str) -> AsyncIterator[Installation]:
    """A handler and a relay on new topics; the relay goes on from where the log stands."""
    installation = await site.installation(url)
    await relayed(installation)
    environment = {**installation.environment, **settings}
    with Running("services.handler", environment) as handler, Running("services.relay", environment) as relay:
        await handler.ready()
        await relay.ready()
        yield installation


async def relayed(installation: Installation) -> Progress:
    """Take what is in the log for relayed, and return how far that is."""
    connection = await connect(installation.url, "bench", READER)
    try:
        heads = await Tail(connection).heads(range(SHARDS))
    finally:
        await connection.close()
    sequences = {output: tuple(heads[SERIES[output]]) for output in OUTPUTS}
    # Topics that are being filled again are not held against the progress: these are empty.
    replays = {output: tuple(number + 1 for number in numbers) for output, numbers in sequences.items()}
    progress = Progress(sequences, replays)
    await write_progress(installation.bootstrap, installation.prefix, progress)
    return progress


async def latency(site: Site, scale: Scale) -> list[Figure]:
    """Command to verdict and to live event, at 10 to 2,000 commands a second."""
    url = site.database()
    courses = await set_up(url, courses_in_every_shard(scale.of(2, 1)), scale.of(50, 10), assignments_each=2)
    await decide(url, [record(_publication(course.course_id, _published(course))) for course in courses])
    rates = (10, 100, 500, 2_000) if not scale.short else (100,)
    figures: list[Figure] = []
    async with working(site, url) as installation:
        sender = Sender(installation)
        with Arrivals(installation, ("verdicts", "live-events")) as arrivals:
            await _sent(sender, arrivals, [_command(courses, -1 - n) for n in range(200)], 200)
            number = 0
            for per_second in rates:
                found: dict[str, list[list[float]]] = {"verdicts": [], "live-events": []}
                for _ in range(scale.of(3, 1)):
                    count = max(per_second * scale.of(10, 1), scale.of(200, 1))
                    commands = [_command(courses, number + n) for n in range(count)]
                    number += count
                    for name, waits in (await _sent(sender, arrivals, commands, per_second)).items():
                        found[name].append(waits)
                figures += _figures(per_second, found)
    return figures


def _figures(per_second: int, found: dict[str, list[list[float]]]) -> list[Figure]:
    return [
        figure(
            f"{per_second:,}/s: command to {name.rstrip('s').replace('-', ' ')}, p{share * 100:.0f}",
            "ms",
            [percentile(waits, share) * 1_000 for waits in rounds],
            TARGETS.get((per_second, name)) if share == PERCENTILES[-1] else None,
        )
        for name, rounds in found.items()
        for share in PERCENTILES
    ]


async def _sent(
    sender: Sender, arrivals: Arrivals, commands: Sequence[Json], per_second: float
) -> dict[str, list[float]]:
    due = await sender.send(commands, per_second)
    live = [made["command_id"] for made in commands if made["type"] in ("post_grades", "hide_grades")]
    return {
        name: [seen - due[each] for each, seen in zip(ids, await arrivals.of(name, ids), strict=True)]
        for name, ids in (("verdicts", list(due)), ("live-events", live))
    }


def _published(course: Course) -> int:
    """The second assignment of a course."""
    return course.course_id * 100 + 1


def _publication(course: int, assignment: int) -> Json:
    return command(course, "publish_provisional_grades", {}, assignment, FINAL_GRADER)


def _command(courses: Sequence[Course], number: int) -> Json:
    """Mixed, and every fourth a grade posted or hidden again: each student's in turn."""
    turn, place = divmod(number, LIVE_EVERY)
    if place or number < 0:
        marking = [Course(c.course_id, c.students, dict(list(c.numbers.items())[:1])) for c in courses]
        return mixed(marking, abs(number))
    round_, of_course = divmod(turn, len(courses))
    course = courses[of_course]
    times, student = divmod(round_, course.students)
    kind = "hide_grades" if times % 2 else "post_grades"
    data = {"student_ids": [FIRST_STUDENT + student]}
    return command(course.course_id, kind, data, _published(course))


async def publication(site: Site, scale: Scale) -> list[Figure]:
    """From the command that publishes to when its last grade_change can be read."""
    figures = []
    targets = {10_000: Target(1_500, at_most=True)}
    for students in (100, 1_000, 10_000) if not scale.short else (20,):
        rounds = scale.of(5, 1)
        url = site.database()
        (course,) = await set_up(url, [1_001], students, assignments_each=rounds + 1)
        first, *others = course.numbers
        async with working(site, url) as installation:
            sender = Sender(installation)
            with Arrivals(installation, ("verdicts", "live-events")) as arrivals:
                # Of another course: nothing of the one that is measured is in the handler's memory yet.
                await _sent(sender, arrivals, [command(course.course_id + 1, "upsert_course", {"name": "Other"})], 1)
                cold = await _publish(sender, arrivals, course, first)
                values = []
                for assignment in others:
                    data = {"student_id": FIRST_STUDENT, "comment": "Ready."}
                    remark = command(course.course_id, "record_provisional_comment", data, assignment, FINAL_GRADER)
                    await _sent(sender, arrivals, [remark], 1)
                    values.append(await _publish(sender, arrivals, course, assignment))
        figures += [
            figure(f"{students:,} students", "ms", values, targets.get(students)),
            figure(f"{students:,} students, by a handler that just started", "ms", [cold]),
        ]
        site.drop(url)
    return figures


async def _publish(sender: Sender, arrivals: Arrivals, course: Course, assignment: int) -> float:
    made = _publication(course.course_id, assignment)
    due = await sender.send([made], 1)
    (last,) = await arrivals.of("live-events", [made["command_id"]], course.students)
    return (last - due[made["command_id"]]) * 1_000

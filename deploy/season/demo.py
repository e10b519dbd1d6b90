"""Plays a season through the public topics of the running stack, shows it, and checks it: as an outsider would."""

import asyncio
import os
import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from deploy.season.client import DEADLINE_SECONDS, DemoClient
from deploy.season.sample_data import Assignment, Course, Json, SampleData, encode_command

UNREADABLE_RECORD = b'{"command_id": "this is not'


async def play_sample_data(console: Console, sample_data: SampleData, client: DemoClient) -> None:
    """The season, act by act."""
    facts, grading = list(sample_data.lms_facts()), list(sample_data.grading_commands())
    columns = (SpinnerColumn(), TextColumn("{task.description:<28}"), BarColumn(40), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("rosters and submissions", total=len(facts))
        for fact in facts:
            await client.send(encode_command(fact), int(fact["course_id"]), fact["command_id"])
            progress.update(task, completed=client.verdict_count())
        await client.wait_for_verdicts()
        progress.update(task, completed=len(facts))
        task = progress.add_task("provisional grades", total=len(grading))
        verdicts_before = client.verdict_count()
        for course, _, _, command in grading:
            await client.send(encode_command(command), course.course_id, command["command_id"])
            progress.update(task, completed=client.verdict_count() - verdicts_before)
            await asyncio.sleep(0.002)
        await client.wait_for_verdicts()
        progress.update(task, completed=len(grading))
    for course, assignment, student, command in grading:
        result = client.verdicts[command["command_id"]][0]["result"]
        grade_ids = course.grades.setdefault((assignment, student), [])
        if result and result["provisional_grade_id"] not in grade_ids and result["graded_at"]:
            grade_ids.append(result["provisional_grade_id"])
    course = sample_data.courses[0]
    repeated_command = grading[0][3]
    await client.send(encode_command(repeated_command), course.course_id, repeated_command["command_id"])
    await client.wait_for_verdicts()
    print_verdict(console, "the same command sent again", client.verdicts[repeated_command["command_id"]][-1])
    await client.send(UNREADABLE_RECORD, course.course_id, None)
    reason = await client.wait_for_dead_letter()
    console.print(f"  [yellow]✗[/] an unreadable record [dim]· to the dead letters: {reason}[/]")
    verdict = await client.send_and_wait(
        course, sample_data.publish_command(course, course.assignments[0], course.graders[0])
    )
    print_verdict(console, "a grader tries to publish", verdict)
    console.print("\n[dim]Each[/] [cyan]→[/] [dim]is a grade_change, as it arrives on the live-events topic.[/]")
    for course in sample_data.courses:
        for taught in course.assignments:
            await moderate(console, sample_data, client, course, taught)


async def moderate(
    console: Console, sample_data: SampleData, client: DemoClient, course: Course, assignment: Assignment
) -> None:
    """Publish too early, choose where there are two grades, publish."""

    async def send_and_print(title: str, type_: str, data: Json) -> Json:
        command = sample_data.build_command(course, type_, data, assignment.number, course.final_grader)
        verdict = await client.send_and_wait(course, command)
        print_verdict(console, title, verdict)
        return verdict

    kind = assignment.grading_type.replace("_", " ")
    console.print(f"\n[bold]{course.name}: {assignment.name}[/] [dim]· {kind}, {assignment.points} points[/]")
    verdict = await send_and_print("publish", "publish_provisional_grades", {})
    if verdict["reason"] != "selection_required":
        return
    contested = [
        grade_ids
        for (number, _), grade_ids in course.grades.items()
        if number == assignment.number and len(grade_ids) > 1
    ]
    await send_and_print(
        "choose a grade for one student", "select_provisional_grade", {"provisional_grade_id": contested[0][0]}
    )
    chosen = {"provisional_grade_ids": [sample_data.rng.choice(grade_ids) for grade_ids in contested[1:]]}
    await send_and_print(f"choose for {len(contested) - 1} more in one go", "bulk_select_provisional_grades", chosen)
    await send_and_print("publish", "publish_provisional_grades", {})


def print_verdict(console: Console, title: str, verdict: Json) -> None:
    """One line for one verdict."""
    if verdict["status"] == "accepted":
        tail = "the first verdict again" if verdict["duplicate"] else f"{verdict['events']} events"
        console.print(f"  [green]✓[/] {title} [dim]· accepted, {tail}[/]")
    else:
        console.print(f"  [yellow]✗[/] {title} [dim]· {verdict['reason']}\n    {verdict['message']}[/]")


def percentile(values: list[float], share: float) -> str:
    """In milliseconds."""
    return f"{sorted(values)[int(len(values) * share)] * 1000:.0f} ms" if values else "-"


def print_summary(console: Console, client: DemoClient) -> None:
    """All numbers counted from the topics."""
    verdicts = [verdict for verdicts_of_command in client.verdicts.values() for verdict in verdicts_of_command]
    first = [verdict for verdict in verdicts if not verdict["duplicate"]]
    table = Table(title="The season, counted from the topics", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("commands", str(client.command_count))
    table.add_row("accepted", str(sum(v["status"] == "accepted" for v in first)))
    for reason, count in sorted(Counter(v["reason"] for v in first if v["reason"]).items()):
        table.add_row(f"refused: {reason}", str(count))
    table.add_row("duplicates answered again", str(len(verdicts) - len(first)))
    table.add_row("dead letters", str(len(client.dead_letters)))
    table.add_row("provisional grades", str(client.event_counts["provisional_grade_created"]))
    table.add_row("published grades", str(client.event_counts["grade_published"]))
    table.add_row("grade_change events", str(len(client.live_events)))
    table.add_row("the same as Caliper GradeEvents", str(client.caliper_count))
    table.add_row(
        "command → verdict p50 / p99",
        f"{percentile(client.verdict_seconds, 0.5)} / {percentile(client.verdict_seconds, 0.99)}",
    )
    live = f"{percentile(client.live_event_seconds, 0.5)} / {percentile(client.live_event_seconds, 0.99)}"
    table.add_row("command → live event p50 / p99", live)
    console.print(table)


def find_problems(sample_data: SampleData, client: DemoClient) -> list[str]:
    """What is wrong: nothing, if the service keeps its promises."""
    problems = []
    if {command: len(verdicts) for command, verdicts in client.verdicts.items()} != dict(client.sent_counts):
        problems.append("a record has no verdict, or more than one")
    published = Counter(event["body"]["submission_id"] for event in client.live_events)
    if any(count > 1 for count in published.values()):
        problems.append("a published grade came more than once")
    graded = sum(bool(numbers) for course in sample_data.courses for numbers in course.grades.values())
    if graded != len(published):
        problems.append(f"{graded} students were graded, the grades of {len(published)} were published")
    if client.event_counts["grade_published"] != len(client.live_events):
        problems.append(
            f"{client.event_counts['grade_published']} grades published, {len(client.live_events)} grade_change events"
        )
    if client.caliper_count != len(client.live_events):
        problems.append(f"{len(client.live_events)} grade_change events, {client.caliper_count} Caliper events")
    if client.command_count != client.sent_counts.total() + 1:
        problems.append(f"{client.sent_counts.total() + 1} records sent, {client.command_count} on the topic")
    if len(client.dead_letters) != 1:
        problems.append(f"{len(client.dead_letters)} dead letters instead of 1")
    return problems


def print_next_steps(console: Console, sample_data: SampleData) -> None:
    """How to ask the stack that stays."""
    course = sample_data.courses[0]
    assignment, student = sample_data.base_id + course.assignments[0].number, course.students[0]
    path = f"/api/v1/courses/{course.course_id}/assignments/{assignment}/submissions/{student}"
    console.print("\n[bold]The stack is up.[/] [dim]What its final grader sees of the first student:[/]")
    console.print(f"  token=$(deploy/stack token {course.final_grader})", soft_wrap=True)
    url = f"{os.environ['GATEWAY_URL']}{path}?include[]=provisional_grades"
    console.print(f'  curl -gsH "Authorization: Bearer $token" "{url}"', soft_wrap=True, markup=False)
    console.print("[dim]The console shows how it all stands, and this season; the second line makes a token for it:[/]")
    console.print(f"  {os.environ['CONSOLE_URL']}/assignments?id={course.course_id}", soft_wrap=True)
    console.print("  deploy/stack token 1 --scope moderation.operator")
    console.print("  deploy/stack down")


async def main(keep_running: bool) -> int:
    """Play, show, check; 0 if everything holds. ``keep_running``: the stack does, so that more can be asked."""
    console = Console(highlight=False)
    started = time.time()
    sample_data = SampleData(base_id=int(started) % 1_000_000 * 10_000, seed=7)
    client = DemoClient(os.environ["KAFKA_BOOTSTRAP"], os.environ["TOPIC_PREFIX"], console)
    await client.producer.start()
    await client.consumer.start()
    await client.consumer.getmany(timeout_ms=500)
    reader_task = asyncio.create_task(client.read())
    try:
        await play_sample_data(console, sample_data, client)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while find_problems(sample_data, client) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        print_summary(console, client)
        problems = find_problems(sample_data, client)
    finally:
        reader_task.cancel()
        await asyncio.gather(reader_task, return_exceptions=True)
        await client.consumer.stop()
        await client.producer.stop()
    for problem in problems:
        console.print(f"[red]✗ {problem}[/]")
    if not problems:
        console.print(
            "[green]✓ every verdict is there, no grade is missing or doubled[/]"
            f" [dim]· {time.time() - started:.0f} s[/]"
        )
        if keep_running:
            print_next_steps(console, sample_data)
    return len(problems)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:] == ["--stays"])))
    except KeyboardInterrupt:
        sys.exit(130)

"""Plays a grading season through the public topics of a running stack, shows it, and checks the outcome."""

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
from services.console.pipeline_status import pluralize

UNREADABLE_RECORD = b'{"command_id": "this is not'


async def play_sample_data(console: Console, sample_data: SampleData, client: DemoClient) -> None:
    """Send the season's commands step by step, and print the results."""
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
    print_verdict(console, "send the same command again", client.verdicts[repeated_command["command_id"]][-1])
    await client.send(UNREADABLE_RECORD, course.course_id, None)
    reason = await client.wait_for_dead_letter()
    console.print(f"  [yellow]✗[/] send an unreadable record [dim]· dead letter: {reason}[/]")
    verdict = await client.send_and_wait(
        course, sample_data.publish_command(course, course.assignments[0], course.graders[0])
    )
    print_verdict(console, "publish as a grader", verdict)
    console.print("\n[dim]Each[/] [cyan]→[/] [dim]is a grade_change that arrived on the live-events topic.[/]")
    for course in sample_data.courses:
        for taught in course.assignments:
            await moderate(console, sample_data, client, course, taught)


async def moderate(
    console: Console, sample_data: SampleData, client: DemoClient, course: Course, assignment: Assignment
) -> None:
    """Publish too early, select a grade for students with two, publish."""

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
        "select a grade of one student", "select_provisional_grade", {"provisional_grade_id": contested[0][0]}
    )
    selections = {"provisional_grade_ids": [sample_data.rng.choice(grade_ids) for grade_ids in contested[1:]]}
    await send_and_print(
        f"select grades of {len(contested) - 1} more students at once", "bulk_select_provisional_grades", selections
    )
    await send_and_print("publish", "publish_provisional_grades", {})


def print_verdict(console: Console, title: str, verdict: Json) -> None:
    """Print a verdict in one line."""
    if verdict["status"] == "accepted":
        tail = "duplicate: first verdict repeated" if verdict["duplicate"] else pluralize(verdict["events"], "event")
        console.print(f"  [green]✓[/] {title} [dim]· accepted, {tail}[/]")
    else:
        console.print(f"  [yellow]✗[/] {title} [dim]· rejected, {verdict['reason']}\n    {verdict['message']}[/]")


def percentile(values: list[float], share: float) -> str:
    """Return the percentile of seconds, as text in milliseconds."""
    return f"{sorted(values)[int(len(values) * share)] * 1000:.0f} ms" if values else "-"


def print_summary(console: Console, client: DemoClient) -> None:
    """Print the counts of the records on the topics, and the latencies."""
    verdicts = [verdict for verdicts_of_command in client.verdicts.values() for verdict in verdicts_of_command]
    first = [verdict for verdict in verdicts if not verdict["duplicate"]]
    table = Table(title="Counted from the topics", title_justify="left")
    table.add_column("records")
    table.add_column("count", justify="right")
    table.add_row("commands", str(client.command_count))
    table.add_row("accepted", str(sum(v["status"] == "accepted" for v in first)))
    for reason, count in sorted(Counter(v["reason"] for v in first if v["reason"]).items()):
        table.add_row(f"rejected: {reason}", str(count))
    table.add_row("duplicates", str(len(verdicts) - len(first)))
    table.add_row("dead letters", str(len(client.dead_letters)))
    table.add_row("provisional grades", str(client.event_counts["provisional_grade_created"]))
    table.add_row("published grades", str(client.event_counts["grade_published"]))
    table.add_row("grade_change events", str(len(client.live_events)))
    table.add_row("Caliper GradeEvents", str(client.caliper_count))
    table.add_row(
        "command → verdict p50 / p99",
        f"{percentile(client.verdict_seconds, 0.5)} / {percentile(client.verdict_seconds, 0.99)}",
    )
    live = f"{percentile(client.live_event_seconds, 0.5)} / {percentile(client.live_event_seconds, 0.99)}"
    table.add_row("command → live event p50 / p99", live)
    console.print(table)


def find_problems(sample_data: SampleData, client: DemoClient) -> list[str]:
    """Compare the records on the topics with the commands sent; describe each difference."""
    problems = []
    if {command: len(verdicts) for command, verdicts in client.verdicts.items()} != dict(client.sent_counts):
        problems.append("a record has no verdict or more than one")
    published = Counter(event["body"]["submission_id"] for event in client.live_events)
    if any(count > 1 for count in published.values()):
        problems.append("a published grade arrived more than once")
    graded = sum(bool(numbers) for course in sample_data.courses for numbers in course.grades.values())
    if graded != len(published):
        problems.append(f"{graded} students were graded, but {len(published)} grades were published")
    if client.event_counts["grade_published"] != len(client.live_events):
        problems.append(
            f"{client.event_counts['grade_published']} grades were published, but {len(client.live_events)}"
            " grade_change events arrived"
        )
    if client.caliper_count != len(client.live_events):
        problems.append(
            f"{len(client.live_events)} grade_change events, but {client.caliper_count} Caliper events arrived"
        )
    if client.command_count != client.sent_counts.total() + 1:
        problems.append(
            f"{client.sent_counts.total() + 1} records were sent, but {client.command_count} are on the topic"
        )
    if len(client.dead_letters) != 1:
        problems.append(f"{len(client.dead_letters)} dead letters arrived instead of 1")
    return problems


def print_next_steps(console: Console, sample_data: SampleData) -> None:
    """Print commands to try on the running stack."""
    course = sample_data.courses[0]
    assignment, student = sample_data.assignment_id(course.assignments[0].number), course.students[0]
    path = f"/api/v1/courses/{course.course_id}/assignments/{assignment}/submissions/{student}"
    console.print(
        "\n[bold]The stack is running.[/] [dim]Read the first student's submission as the final grader:[/]",
        soft_wrap=True,
    )
    console.print(f"  token=$(deploy/stack token {course.final_grader})", soft_wrap=True)
    url = f"{os.environ['GATEWAY_URL']}{path}?include[]=provisional_grades"
    console.print(f'  curl -gsH "Authorization: Bearer $token" "{url}"', soft_wrap=True, markup=False)
    console.print(
        "[dim]Open this season in the console; the second line prints the token to sign in with:[/]", soft_wrap=True
    )
    console.print(f"  {os.environ['CONSOLE_URL']}/assignments?id={course.course_id}", soft_wrap=True)
    console.print("  deploy/stack token 1 --scope moderation.operator")
    console.print("[dim]Stop it:[/]")
    console.print("  deploy/stack down")


async def main(keep_running: bool) -> int:
    """Play the season and return the number of problems. ``keep_running``: also print commands to try."""
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
            f"[green]✓ one verdict per command, every grade published once[/] [dim]· {time.time() - started:.0f} s[/]"
        )
        if keep_running:
            print_next_steps(console, sample_data)
    return len(problems)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:] == ["--keep"])))
    except KeyboardInterrupt:
        sys.exit(130)

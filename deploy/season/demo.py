"""Plays a grading season through the public topics of a running stack, shows it, and checks the outcome."""

import asyncio
import os
import sys
import time
from collections import Counter
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table

from deploy.season.client import DEADLINE_SECONDS, GRADE_EVENTS, DemoClient
from deploy.season.explanations import ExplanationReader, find_differences
from deploy.season.moderation import Moderation
from deploy.season.sample_data import Json, SampleData
from deploy.season.stories import print_verdict

UNREADABLE_RECORD = b'{"command_id": "this is not'


async def play_sample_data(
    console: Console, sample_data: SampleData, client: DemoClient, explanations: ExplanationReader | None, *, all_: bool
) -> None:
    """Send the season's commands step by step, and print the results."""
    grading = list(sample_data.grading_commands())
    with open_progress(console) as progress:
        for title, commands in (
            ("rosters and submissions", list(sample_data.lms_facts())),
            ("provisional grades", [command for _, _, _, command in grading]),
        ):
            task = progress.add_task(title, total=len(commands))
            await client.send_all(commands, partial(set_progress, progress, task))
    for course, assignment, student, command in grading:
        result = client.records(command["command_id"]).verdicts[0]["result"]
        grade_ids = course.grades.setdefault((assignment, student), [])
        if result and result["provisional_grade_id"] not in grade_ids and result["graded_at"]:
            grade_ids.append(result["provisional_grade_id"])
    console.print("\n[bold]What goes wrong is answered, and changes nothing[/]")
    course, repeated_command = sample_data.courses[0], grading[0][3]
    records = await client.send_and_wait(repeated_command)
    print_verdict(console, "send a command again", records.verdicts[-1])
    await client.send(UNREADABLE_RECORD, course.course_id, None)
    reason = await client.wait_for_dead_letter()
    console.print(f"  [yellow]✗ send an unreadable record[/] · dead letter, [yellow]{reason}[/]")
    command = sample_data.publish_command(course, course.assignments[0], course.graders[0])
    records = await client.send_and_wait(command)
    print_verdict(console, "publish as a grader", records.verdicts[-1])
    for course in sample_data.courses:
        for taught in course.assignments:
            await Moderation(console, sample_data, client, explanations, course, taught, all_).play()
    console.print(
        "\n[dim]Published grades are on the topic live-events with muted: true: hidden from students until they are"
        " posted.[/]",
        soft_wrap=True,
    )


def open_progress(console: Console) -> Progress:
    """Open a display of progress: a line for each task, with a bar and the number of its steps."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<28}"), BarColumn(30), MofNCompleteColumn())
    return Progress(*columns, console=console)


def set_progress(progress: Progress, task: TaskID, completed: int) -> None:
    """Show how much of a task is done."""
    progress.update(task, completed=completed)


async def compare_explanations(
    console: Console, sample_data: SampleData, client: DemoClient, explanations: ExplanationReader
) -> list[str]:
    """Read the explanation of every published grade; describe each difference from the records on the topics."""
    events: dict[tuple[str, str], list[Json]] = {}
    for event in client.all_events():
        events.setdefault((event["assignment_id"], event["student_id"]), []).append(event)
    grade_changes: dict[tuple[str, str], list[Json]] = {}
    for change in client.all_grade_changes():
        grade_changes.setdefault((change["body"]["assignment_id"], change["body"]["student_id"]), []).append(change)
    final_graders = {
        str(sample_data.assignment_id(assignment.number)): course.final_grader
        for course in sample_data.courses
        for assignment in course.assignments
    }
    with open_progress(console) as progress:
        task = progress.add_task("explanations compared", total=len(grade_changes))
        rows = [(final_graders[assignment], assignment, student) for assignment, student in grade_changes]
        found = await explanations.read_all(rows, partial(set_progress, progress, task))
    return [
        f"explanation of assignment {key[0]}, student {key[1]}: {difference}"
        for key, changes in grade_changes.items()
        for difference in find_differences(found[key], events[key], changes)
    ]


def print_summary(console: Console, client: DemoClient) -> None:
    """Print the counts of the records on the topics, and how long one command takes."""
    verdicts = [verdict for records in client.by_command.values() for verdict in records.verdicts]
    first = [verdict for verdict in verdicts if not verdict["duplicate"]]
    event_counts = Counter(event["type"] for event in client.all_events())
    table = Table(title="Counted from the topics", title_justify="left")
    table.add_column("records")
    table.add_column("count", justify="right")
    table.add_row("commands", str(client.command_counts.total() + client.unreadable_count))
    table.add_row("  of them sent by the scheduler", str(len(client.scheduled_commands)))
    table.add_row("accepted", str(sum(v["status"] == "accepted" for v in first)))
    for reason, count in sorted(Counter(v["reason"] for v in first if v["reason"]).items()):
        table.add_row(f"rejected: {reason}", str(count))
    table.add_row("duplicates", str(len(verdicts) - len(first)))
    table.add_row("dead letters", str(len(client.dead_letters)))
    table.add_row("provisional grades", str(event_counts["provisional_grade_created"]))
    table.add_row("published grades", str(event_counts["grade_published"]))
    table.add_row("revised grades", str(event_counts["grade_revised"]))
    table.add_row("grade_change events", str(len(client.all_grade_changes())))
    table.add_row("Caliper GradeEvents", str(client.caliper_count))
    console.print(table)
    console.print(
        f"[dim]From sending one command to reading its verdict: median {median(client.verdict_seconds) * 1000:.0f} ms"
        f" of the {len(client.verdict_seconds)} commands that were sent alone.[/]",
        soft_wrap=True,
    )


def find_problems(sample_data: SampleData, client: DemoClient) -> list[str]:
    """Compare the records on the topics with the commands sent; describe each difference."""
    problems = []
    verdict_counts = {command: len(records.verdicts) for command, records in client.by_command.items()}
    if verdict_counts != dict(client.sent_counts):
        problems.append("a record has no verdict or more than one")
    events, grade_changes = client.all_events(), client.all_grade_changes()
    published = Counter(event["submission_id"] for event in events if event["type"] == "grade_published")
    if any(count > 1 for count in published.values()):
        problems.append("a grade was published more than once")
    graded = sum(bool(numbers) for course in sample_data.courses for numbers in course.grades.values())
    graded += sum(
        len(course.students) for course in sample_data.courses for each in course.assignments if each.policy is not None
    )
    if graded != len(published):
        problems.append(f"{graded} students were graded, but {len(published)} grades were published")
    expected = Counter(event["submission_id"] for event in events if event["type"] in GRADE_EVENTS)
    arrived = Counter(change["body"]["submission_id"] for change in grade_changes)
    if expected != arrived:
        problems.append(
            f"{expected.total()} grades were published or revised, but {arrived.total()} grade_change events arrived"
        )
    if client.caliper_count != len(grade_changes):
        problems.append(f"{len(grade_changes)} grade_change events, but {client.caliper_count} Caliper events arrived")
    if client.command_counts != client.sent_counts:
        problems.append("the records on the commands topic are not those that were sent")
    if len(client.dead_letters) != 1:
        problems.append(f"{len(client.dead_letters)} dead letters arrived instead of 1")
    for schedule_id, command_id in client.scheduled_commands.items():
        payload = next(e["payload"] for e in client.records(schedule_id).events if e["type"] == "publication_scheduled")
        decided_at = client.records(command_id).verdicts[0]["decided_at"]
        if datetime.fromisoformat(decided_at) < datetime.fromisoformat(payload["publish_at"]):
            problems.append(f"the publication scheduled for {payload['publish_at']} was decided at {decided_at}")
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
    agreed = next(each for each in course.assignments if each.policy is not None)
    agreed_id = sample_data.assignment_id(agreed.number)
    console.print(f"[dim]Why the first student's {agreed.name.lower()} has its grade:[/]")
    console.print(f"  MODERATOR_TOKEN=$token deploy/operate explain {agreed_id} {student}", soft_wrap=True)
    console.print("[dim]The API, and the season in the console; the last line prints a token for it:[/]")
    console.print(f"  {os.environ['GATEWAY_URL']}/docs", soft_wrap=True)
    console.print(f"  {os.environ['CONSOLE_URL']}/assignments?id={course.course_id}", soft_wrap=True)
    console.print("  deploy/stack token 1 --scope moderation.operator")
    console.print(
        "[dim]The unreadable record stays in the log as an open dead letter, so the status shows one. Look at it:[/]",
        soft_wrap=True,
    )
    console.print("  deploy/operate dead-letters list")
    console.print("[dim]Stop it:[/]")
    console.print("  deploy/stack down")


async def main(*, keep_running: bool, show_all: bool) -> int:
    """Play the season and return the number of problems. ``keep_running``: also print commands to try."""
    console = Console(highlight=False)
    started = time.time()
    sample_data = SampleData(base_id=int(started) % 1_000_000 * 10_000, seed=7)
    client = DemoClient(os.environ["KAFKA_BOOTSTRAP"], os.environ["TOPIC_PREFIX"])
    issuer_key = os.environ.get("ISSUER_KEY")
    explanations = ExplanationReader(os.environ["GATEWAY_URL"], Path(issuer_key)) if issuer_key else None
    await client.producer.start()
    await client.consumer.start()
    await client.consumer.getmany(timeout_ms=500)
    reader_task = asyncio.create_task(client.read())
    try:
        await play_sample_data(console, sample_data, client, explanations, all_=show_all)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while find_problems(sample_data, client) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        problems = find_problems(sample_data, client)
        if explanations is None:
            console.print("[dim]Explanations are not compared: ISSUER_KEY names no key to sign tokens with.[/]")
        else:
            problems += await compare_explanations(console, sample_data, client, explanations)
        print_summary(console, client)
    finally:
        reader_task.cancel()
        await asyncio.gather(reader_task, return_exceptions=True)
        await client.consumer.stop()
        await client.producer.stop()
        if explanations is not None:
            await explanations.close()
    for problem in problems:
        console.print(f"[red]✗ {problem}[/]", soft_wrap=True)
    if not problems:
        console.print(
            f"[green]✓ one verdict per command, every grade published once[/] [dim]· {time.time() - started:.0f} s[/]"
        )
        if keep_running:
            print_next_steps(console, sample_data)
    return len(problems)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(keep_running="--keep" in sys.argv[1:], show_all="--all" in sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)

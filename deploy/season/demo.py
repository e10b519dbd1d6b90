"""Plays a season through the public topics of the running stack, shows it, and checks it: as an outsider would."""

import asyncio
import os
import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from deploy.season.client import DEADLINE_SECONDS, Theatre
from deploy.season.sample_data import Assignment, Course, Json, Season, encode

UNREADABLE = b'{"command_id": "this is not'


async def play(console: Console, season: Season, theatre: Theatre) -> None:
    """The season, act by act."""
    facts, grading = list(season.facts()), list(season.grading())
    columns = (SpinnerColumn(), TextColumn("{task.description:<28}"), BarColumn(40), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("rosters and submissions", total=len(facts))
        for fact in facts:
            await theatre.send(encode(fact), int(fact["course_id"]), fact["command_id"])
            progress.update(task, completed=theatre.answered())
        await theatre.settle()
        progress.update(task, completed=len(facts))
        task = progress.add_task("provisional grades", total=len(grading))
        before = theatre.answered()
        for course, _, _, command in grading:
            await theatre.send(encode(command), course.course_id, command["command_id"])
            progress.update(task, completed=theatre.answered() - before)
            await asyncio.sleep(0.002)
        await theatre.settle()
        progress.update(task, completed=len(grading))
    for course, assignment, student, command in grading:
        result = theatre.verdicts[command["command_id"]][0]["result"]
        numbers = course.grades.setdefault((assignment, student), [])
        if result and result["provisional_grade_id"] not in numbers and result["graded_at"]:
            numbers.append(result["provisional_grade_id"])
    course = season.courses[0]
    again = grading[0][3]
    await theatre.send(encode(again), course.course_id, again["command_id"])
    await theatre.settle()
    said(console, "the same command sent again", theatre.verdicts[again["command_id"]][-1])
    await theatre.send(UNREADABLE, course.course_id, None)
    reason = await theatre.refused()
    console.print(f"  [yellow]✗[/] an unreadable record [dim]· to the dead letters: {reason}[/]")
    verdict = await theatre.ask(course, season.publication(course, course.assignments[0], course.graders[0]))
    said(console, "a grader tries to publish", verdict)
    console.print("\n[dim]Each[/] [cyan]→[/] [dim]is a grade_change, as it arrives on the live-events topic.[/]")
    for course in season.courses:
        for taught in course.assignments:
            await moderate(console, season, theatre, course, taught)


async def moderate(console: Console, season: Season, theatre: Theatre, course: Course, assignment: Assignment) -> None:
    """Publish too early, choose where there are two grades, publish."""

    async def ask(what: str, type_: str, data: Json) -> Json:
        command = season.command(course, type_, data, assignment.number, course.final_grader)
        verdict = await theatre.ask(course, command)
        said(console, what, verdict)
        return verdict

    kind = assignment.grading_type.replace("_", " ")
    console.print(f"\n[bold]{course.name}: {assignment.name}[/] [dim]· {kind}, {assignment.points} points[/]")
    verdict = await ask("publish", "publish_provisional_grades", {})
    if verdict["reason"] != "selection_required":
        return
    torn = [
        numbers for (number, _), numbers in course.grades.items() if number == assignment.number and len(numbers) > 1
    ]
    await ask("choose a grade for one student", "select_provisional_grade", {"provisional_grade_id": torn[0][0]})
    chosen = {"provisional_grade_ids": [season.chance.choice(numbers) for numbers in torn[1:]]}
    await ask(f"choose for {len(torn) - 1} more in one go", "bulk_select_provisional_grades", chosen)
    await ask("publish", "publish_provisional_grades", {})


def said(console: Console, what: str, verdict: Json) -> None:
    """One line for one verdict."""
    if verdict["status"] == "accepted":
        tail = "the first verdict again" if verdict["duplicate"] else f"{verdict['events']} events"
        console.print(f"  [green]✓[/] {what} [dim]· accepted, {tail}[/]")
    else:
        console.print(f"  [yellow]✗[/] {what} [dim]· {verdict['reason']}\n    {verdict['message']}[/]")


def percentile(values: list[float], share: float) -> str:
    """In milliseconds."""
    return f"{sorted(values)[int(len(values) * share)] * 1000:.0f} ms" if values else "-"


def summary(console: Console, theatre: Theatre) -> None:
    """All numbers counted from the topics."""
    verdicts = [verdict for seen in theatre.verdicts.values() for verdict in seen]
    first = [verdict for verdict in verdicts if not verdict["duplicate"]]
    table = Table(title="The season, counted from the topics", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("commands", str(theatre.commands))
    table.add_row("accepted", str(sum(v["status"] == "accepted" for v in first)))
    for reason, count in sorted(Counter(v["reason"] for v in first if v["reason"]).items()):
        table.add_row(f"refused: {reason}", str(count))
    table.add_row("duplicates answered again", str(len(verdicts) - len(first)))
    table.add_row("dead letters", str(len(theatre.dead_letters)))
    table.add_row("provisional grades", str(theatre.events["provisional_grade_created"]))
    table.add_row("published grades", str(theatre.events["grade_published"]))
    table.add_row("grade_change events", str(len(theatre.live)))
    table.add_row("the same as Caliper GradeEvents", str(theatre.caliper))
    table.add_row(
        "command → verdict p50 / p99", f"{percentile(theatre.seconds, 0.5)} / {percentile(theatre.seconds, 0.99)}"
    )
    live = f"{percentile(theatre.live_seconds, 0.5)} / {percentile(theatre.live_seconds, 0.99)}"
    table.add_row("command → live event p50 / p99", live)
    console.print(table)


def findings(season: Season, theatre: Theatre) -> list[str]:
    """What is wrong: nothing, if the service keeps its promises."""
    wrong = []
    if {command: len(seen) for command, seen in theatre.verdicts.items()} != dict(theatre.sent):
        wrong.append("a record has no verdict, or more than one")
    published = Counter(event["body"]["submission_id"] for event in theatre.live)
    if any(count > 1 for count in published.values()):
        wrong.append("a published grade came more than once")
    graded = sum(bool(numbers) for course in season.courses for numbers in course.grades.values())
    if graded != len(published):
        wrong.append(f"{graded} students were graded, the grades of {len(published)} were published")
    if theatre.events["grade_published"] != len(theatre.live):
        wrong.append(f"{theatre.events['grade_published']} grades published, {len(theatre.live)} grade_change events")
    if theatre.caliper != len(theatre.live):
        wrong.append(f"{len(theatre.live)} grade_change events, {theatre.caliper} Caliper events")
    if theatre.commands != theatre.sent.total() + 1:
        wrong.append(f"{theatre.sent.total() + 1} records sent, {theatre.commands} on the topic")
    if len(theatre.dead_letters) != 1:
        wrong.append(f"{len(theatre.dead_letters)} dead letters instead of 1")
    return wrong


def what_next(console: Console, season: Season) -> None:
    """How to ask the stack that stays."""
    course = season.courses[0]
    assignment, student = season.base + course.assignments[0].number, course.students[0]
    path = f"/api/v1/courses/{course.course_id}/assignments/{assignment}/submissions/{student}"
    console.print("\n[bold]The stack is up.[/] [dim]What its final grader sees of the first student:[/]")
    console.print(f"  token=$(deploy/stack token {course.final_grader})", soft_wrap=True)
    url = f"{os.environ['GATEWAY_URL']}{path}?include[]=provisional_grades"
    console.print(f'  curl -gsH "Authorization: Bearer $token" "{url}"', soft_wrap=True, markup=False)
    console.print("[dim]The console shows how it all stands, and this season; the second line makes a token for it:[/]")
    console.print(f"  {os.environ['CONSOLE_URL']}/assignments?id={course.course_id}", soft_wrap=True)
    console.print("  deploy/stack token 1 --scope moderation.operator")
    console.print("  deploy/stack down")


async def main(stays: bool) -> int:
    """Play, show, check; 0 if everything holds. ``stays``: the stack does, so that more can be asked."""
    console = Console(highlight=False)
    started = time.time()
    season = Season(base=int(started) % 1_000_000 * 10_000, seed=7)
    theatre = Theatre(os.environ["KAFKA_BOOTSTRAP"], os.environ["TOPIC_PREFIX"], console)
    await theatre.producer.start()
    await theatre.consumer.start()
    await theatre.consumer.getmany(timeout_ms=500)
    reading = asyncio.create_task(theatre.read())
    try:
        await play(console, season, theatre)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while findings(season, theatre) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        summary(console, theatre)
        wrong = findings(season, theatre)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await theatre.consumer.stop()
        await theatre.producer.stop()
    for finding in wrong:
        console.print(f"[red]✗ {finding}[/]")
    if not wrong:
        console.print(
            "[green]✓ every verdict is there, no grade is missing or doubled[/]"
            f" [dim]· {time.time() - started:.0f} s[/]"
        )
        if stays:
            what_next(console, season)
    return len(wrong)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:] == ["--stays"])))
    except KeyboardInterrupt:
        sys.exit(130)

"""Plays the moderation of one assignment: as in Canvas, or by a sample, a policy, a plan and a schedule."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from deploy.season.client import CommandRecords, DemoClient
from deploy.season.explanations import ExplanationReader
from deploy.season.sample_data import Assignment, Course, Json, SampleData
from deploy.season.stories import (
    StudentStory,
    group_by_student,
    join_counts,
    print_bar,
    print_grade_line,
    print_story,
    print_verdict,
)

SCHEDULE_SECONDS = 5
SAMPLE: Json = {"percent": 20, "include": ["failing", "borderline"], "borderline_within": 1}
APPEAL = "Appeal: the appendix was not marked."
APPEAL_POINTS = 3
OUTCOMES = {"agreed": "agreed", "needs_third_mark": "need a third mark", "kept": "kept", "waiting": "lack marks"}


@dataclass
class Moderation:
    """One assignment and everything needed to play and show it. ``shows_all``: print each grade_change."""

    console: Console
    sample_data: SampleData
    client: DemoClient
    explanations: ExplanationReader | None
    course: Course
    assignment: Assignment
    shows_all: bool

    async def play(self) -> None:
        """Moderate and publish, then print one or two students' stories and a bar for the others."""
        kind = self.assignment.grading_type.replace("_", " ")
        self.console.print(
            f"\n[bold]{self.course.name}: {self.assignment.name}[/] [dim]· {kind}, {self.assignment.points} points[/]"
        )
        if self.assignment.policy is None:
            await self._select_and_publish()
        else:
            await self._agree_and_schedule()

    async def _send(self, type_: str, data: Json) -> CommandRecords:
        moderator = self.course.final_grader
        command = self.sample_data.build_command(self.course, type_, data, self.assignment.number, moderator)
        return await self.client.send_and_wait(command)

    async def _send_accepted(self, type_: str, data: Json) -> Json:
        """Send a command and return its verdict. SystemExit if it is rejected."""
        verdict: Json = (await self._send(type_, data)).verdicts[-1]
        if verdict["status"] != "accepted":
            sys.exit(f"deploy/demo: {type_} was rejected, {verdict['reason']}: {verdict['message']}")
        return verdict

    async def _send_and_print(self, title: str, type_: str, data: Json, outcome: str = "") -> CommandRecords:
        records = await self._send(type_, data)
        print_verdict(self.console, title, records.verdicts[-1], outcome)
        return records

    async def _select_and_publish(self) -> None:
        """As in Canvas: publish too early, select a grade for each student with two, publish."""
        await self._send_and_print("publish", "publish_provisional_grades", {})
        contested = [
            (student, grade_ids)
            for (number, student), grade_ids in self.course.grades.items()
            if number == self.assignment.number and len(grade_ids) > 1
        ]
        student, grade_ids = contested[0]
        name = self.course.names[student]
        title = f"select one of {name}'s {len(grade_ids)} grades"
        await self._send_and_print(title, "select_provisional_grade", {"provisional_grade_id": grade_ids[-1]})
        chosen = [self.sample_data.rng.choice(grade_ids) for _, grade_ids in contested[1:]]
        title = f"select a grade for each of {len(chosen)} other students"
        await self._send_and_print(title, "bulk_select_provisional_grades", {"provisional_grade_ids": chosen})
        publication = await self._send("publish_provisional_grades", {})
        self._print_publication("publish", publication)
        await self._show([(str(student), "")], publication)

    async def _agree_and_schedule(self) -> None:
        """Mark twice what a sample draws, agree by the policy, plan, schedule, publish, revise."""
        first, second, third = self.course.graders
        await self._mark("first marks", first, self.course.students, lambda _: self.sample_data.rng.gauss(58, 11))
        sample = await self._send_accepted("draw_moderation_sample", SAMPLE)
        drawn = [int(row["student_id"]) for row in sample["result"]["students"]]
        what = f"{len(drawn)} of {len(self.course.students)} students: 20 %, all failing, all within 1 % of a boundary"
        print_verdict(self.console, "draw a sample for second marks", sample, what)
        marks = dict(self._scores())
        await self._mark(
            "second marks", second, drawn, lambda s: marks[s] + self.sample_data.rng.choice((-4, -2, 2, 3))
        )
        verdict = await self._adjudicate("adjudicate: same class, then the mean")
        open_students = [
            int(row["student_id"]) for row in verdict["result"]["students"] if row["outcome"] == "needs_third_mark"
        ]
        await self._mark("third marks", third, open_students, lambda s: marks[s] + self.sample_data.rng.choice((-1, 1)))
        await self._adjudicate("adjudicate: mean of the nearest two")
        plan = await self._send_accepted("plan_publication", {})
        result = plan["result"]
        planned = f"{result['counts']['published']} grades, {result['counts']['blocked']} blocked, nothing changed yet"
        print_verdict(self.console, "plan the publication", plan, planned)
        await self._schedule_and_wait(result["digest"], str(open_students[0]))

    async def _mark(self, title: str, grader: int, students: list[int], draw: Callable[[int], float]) -> None:
        """Send a mark of one grader for each student."""
        commands = []
        for student in students:
            score = min(max(round(draw(student)), 0), self.assignment.points)
            data = {"student_id": student, "score": score}
            command = self.sample_data.build_command(
                self.course, "record_provisional_grade", data, self.assignment.number, grader
            )
            commands.append(command)
        await self.client.send_all(commands, lambda _: None)
        for command in commands:
            records = self.client.records(command["command_id"])
            await self.client.wait_until(records.is_complete, "events of a mark are missing")
        self.console.print(f"  [green]✓[/] {title} [dim]·[/] {len(commands)} by {self.course.names[grader]}")

    async def _adjudicate(self, title: str) -> Json:
        verdict = await self._send_accepted("adjudicate_provisional_grades", {})
        print_verdict(self.console, title, verdict, join_counts(verdict["result"]["counts"], OUTCOMES))
        return verdict

    async def _schedule_and_wait(self, digest: str, appellant: str) -> None:
        publish_at = datetime.fromtimestamp(math.ceil(datetime.now(UTC).timestamp()) + SCHEDULE_SECONDS, UTC)
        data = {"publish_at": publish_at.isoformat(), "plan_digest": digest}
        scheduled = await self._send_and_print(
            f"schedule exactly this plan for {publish_at:%H:%M:%S} UTC", "schedule_publication", data, digest[:18] + "…"
        )
        with self.console.status(f"waiting for {publish_at:%H:%M:%S} UTC"):
            schedule_id = scheduled.verdicts[0]["command_id"]
            publication = await self.client.wait_for_scheduled(schedule_id, SCHEDULE_SECONDS)
        verdict = publication.verdicts[0]
        late = (datetime.fromisoformat(verdict["decided_at"]) - publish_at).total_seconds()
        self._print_publication("published by the scheduler", publication, f", {late * 1000:.0f} ms after the time")
        before = self._story(appellant)
        revision = {
            "student_id": appellant,
            "score": before.published["payload"]["score"][1] + APPEAL_POINTS,
            "reason": APPEAL,
        }
        await self._send_and_print(
            f"revise {self.course.names[int(appellant)]}'s grade after an appeal", "revise_published_grade", revision
        )
        agreed = next(student for student, story in self._stories().items() if story.choice == "agreed")
        await self._show([(agreed, " (two marks)"), (appellant, " (three marks, then an appeal)")], publication)

    def _print_publication(self, title: str, publication: CommandRecords, tail: str = "") -> None:
        changes = publication.grade_changes
        print_verdict(self.console, title, publication.verdicts[0], f"{len(changes)} grade_changes arrived{tail}")

    async def _show(self, shown: list[tuple[str, str]], publication: CommandRecords) -> None:
        """Print the story of the ``shown`` students, (id, title), and a bar of the others."""
        stories = self._stories()
        for student, title in shown:
            explanation = None
            if self.explanations is not None:
                assignment_id = str(self.sample_data.assignment_id(self.assignment.number))
                explanation = await self.explanations.read(self.course.final_grader, assignment_id, student)
            print_story(self.console, stories.pop(student), explanation, title)
        print_bar(self.console, list(stories.values()))
        if self.shows_all:
            for change in publication.grade_changes:
                print_grade_line(self.console, change["body"], self.course.names[int(change["body"]["student_id"])])

    def _events(self) -> list[Json]:
        assignment_id = str(self.sample_data.assignment_id(self.assignment.number))
        return [event for event in self.client.all_events() if event["assignment_id"] == assignment_id]

    def _stories(self) -> dict[str, StudentStory]:
        groups = group_by_student(self._events())
        return {student: StudentStory(self.course, self.assignment, events) for student, events in groups.items()}

    def _story(self, student: str) -> StudentStory:
        return self._stories()[student]

    def _scores(self) -> list[tuple[int, Any]]:
        created = (event for event in self._events() if event["type"] == "provisional_grade_created")
        return [(int(event["student_id"]), event["payload"]["score"]) for event in created]

"""Prints what happens: verdicts, the story of one student per assignment, and a bar for the other students."""

from collections import Counter
from typing import Any

from rich.console import Console

from deploy.season.sample_data import Assignment, Course, Json
from services.console.wording import pluralize

BAR_CELLS = 24
CHOICES = {
    "only": "the only grade",
    "selected": "selected",
    "agreed": "agreed by two marks",
    "third": "by a third mark",
}
BLOCKS = dict(zip(CHOICES, "█▓▒░", strict=True))


class StudentStory:
    """What the records say about one student of an assignment, in words."""

    def __init__(self, course: Course, assignment: Assignment, events: list[Json]) -> None:
        self.course = course
        self.assignment = assignment
        self.events = sorted(events, key=lambda event: int(event["stream_version"]))
        self.marks = {
            event["payload"]["id"]: event
            for event in self._of_type("provisional_grade_created")
            if event["payload"]["graded_at"] is not None
        }
        self.published = self._of_type("grade_published")[-1]
        adjudicated = [e["payload"] for e in self._of_type("provisional_grade_adjudicated")]
        self.agreed = next((p for p in reversed(adjudicated) if p["outcome"] == "agreed"), None)
        self.selections = self._of_type("provisional_grade_selected")

    def _of_type(self, event_type: str) -> list[Json]:
        return [event for event in self.events if event["type"] == event_type]

    @property
    def choice(self) -> str:
        """The key in CHOICES: how the published grade was chosen."""
        if self.agreed is not None:
            return "third" if self.agreed["failed"] else "agreed"
        return "selected" if self.selections else "only"

    def describe_marks(self) -> str:
        """List the graders' marks, without the result that an adjudication recorded."""
        computed = self.agreed["provisional_grade_id"] if self.agreed and self.agreed["records_final"] else None
        return ", ".join(f"{self._mark(key)} by {self._scorer(key)}" for key in self.marks if key != computed)

    def describe_choice(self) -> str:
        """Describe how the published grade was chosen."""
        chosen = self.published["payload"]["provisional_grade_id"]
        if self.agreed is None:
            if not self.selections:
                return f"{self._mark(chosen)}, the only grade"
            moderator = self.course.names[int(self.selections[-1]["user_id"])]
            return f"{self._mark(chosen)} by {self._scorer(chosen)}, selected by {moderator}"
        marks = [f"{mark['score']:g}" for mark in self.agreed["marks"]]
        score = f"{self.agreed['score']:g}"
        if not self.agreed["failed"]:
            return f"{score}, the mean: {' and '.join(marks)} are in the same class"
        first_two = " and ".join(marks[:2])
        return f"{score}, the mean of the nearest two: {first_two} are in different classes, so {marks[2]} decides"

    def describe_grade(self, score: float | None, grade: str | None) -> str:
        """Format a gradebook grade with its points."""
        points = f"{score:g} of {self.assignment.points} points"
        return points if self.assignment.grading_type == "points" else f"{grade}, {points}"

    def _mark(self, provisional_grade_id: str) -> str:
        return str(self.marks[provisional_grade_id]["payload"]["grade"])

    def _scorer(self, provisional_grade_id: str) -> str:
        return self.course.names[int(self.marks[provisional_grade_id]["payload"]["scorer_id"])]


def group_by_student(events: list[Json]) -> dict[str, list[Json]]:
    """Return the domain events by student."""
    groups: dict[str, list[Json]] = {}
    for event in events:
        if event["student_id"] is not None:
            groups.setdefault(event["student_id"], []).append(event)
    return groups


def print_story(console: Console, story: StudentStory, explanation: Json | None, title: str = "") -> None:
    """Print one student's marks, choice and published grade, and the gateway's explanation if there is one."""
    student_id = story.published["student_id"]
    console.print(f"  [bold]{story.course.names[int(student_id)]}[/][dim]{title}[/]")
    payload = story.published["payload"]
    lines = {
        "marks": story.describe_marks(),
        "choice": story.describe_choice(),
        "published": story.describe_grade(payload["score"][1], payload["grade"][1]),
    }
    for event in story.events:
        if event["type"] == "grade_revised":
            new = story.describe_grade(event["payload"]["score"][1], event["payload"]["grade"][1])
            lines["revised"] = f"{new}. {event['payload']['reason']}"
    if explanation is not None:
        lines["explained"] = explanation["sentence"]
    for name, text in lines.items():
        console.print(f"    [cyan]{name:<10}[/] {text}", soft_wrap=True)


def print_bar(console: Console, stories: list[StudentStory]) -> None:
    """Print a bar of the other students' published grades, divided by how they were chosen."""
    counts = Counter(story.choice for story in stories)
    bar, printed = "", 0
    for choice in CHOICES:
        printed += counts[choice]
        bar += BLOCKS[choice] * (round(printed * BAR_CELLS / len(stories)) - len(bar))
    legend = " · ".join(f"{BLOCKS[choice]} {counts[choice]} {CHOICES[choice]}" for choice in CHOICES if counts[choice])
    console.print(f"  {len(stories)} other students' published grades:\n    [green]{bar}[/] {legend}", soft_wrap=True)


def print_grade_line(console: Console, body: Json, name: str) -> None:
    """Print a grade_change in one line."""
    points = f"{body['score']:g} of {body['points_possible']:g}"
    visible = "hidden from the student" if body["muted"] else "visible to the student"
    console.print(f"    [cyan]→[/] {name:<16} [bold]{body['grade']:<10}[/] {points:<11} [dim]{visible}[/]")


def print_verdict(console: Console, title: str, verdict: Json, outcome: str = "") -> None:
    """Print a verdict; ``outcome``: what an accepted command did, by default the number of its events."""
    if verdict["status"] == "rejected":
        console.print(
            f"  [yellow]✗ {title}[/] · rejected, [yellow]{verdict['reason']}[/]: {verdict['message']}", soft_wrap=True
        )
        return
    if verdict["duplicate"]:
        outcome = "duplicate: the first verdict again, nothing changed"
    elif not outcome:
        outcome = pluralize(verdict["events"], "event") if verdict["events"] else "nothing changed"
    console.print(f"  [green]✓[/] {title} [dim]·[/] {outcome}", soft_wrap=True)


def join_counts(counts: dict[str, Any], names: dict[str, str]) -> str:
    """Return the counts that are not 0, in words."""
    return ", ".join(f"{counts[key]} {name}" for key, name in names.items() if counts[key])

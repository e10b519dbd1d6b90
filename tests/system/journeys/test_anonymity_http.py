"""A curious grader calls every operation of the gateway, and cannot identify the student of an anonymous submission."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import CourseClient
from tests.fixtures.canvas.http_adapter import assignment_path
from tests.fixtures.curious_grader import collect_numbers, find_ties, find_words, mask, render
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.openapi_requests import PERSON_NAMES, Operation, Request, build_requests, load_operations
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System

Json = dict[str, Any]
STUDENTS = [f"s{number}" for number in range(9)]
STAFF = {"fg": "teacher", "ta1": "ta", "ta2": "ta"}
OPEN, SHOWN, PICKED = "open", "all in the set", "picked by hand"
HIDDEN = (SHOWN, PICKED)
LISTS = ("submissions", "gradeable_students")
ALL_INCLUDES = ["submission_comments", "html_url", "user", "provisional_grades"]
ASKED_FOR = ("s0", "s1", "s2", "s8")
IN_FLIGHT_MAX = 8


@dataclass
class Course:
    """The course, with the words that name each student and the student of each anonymous id."""

    client: CourseClient
    words: dict[str, list[str]]
    students: dict[str, dict[str, str]]

    def anonymous_ids(self, assignment: str) -> list[str]:
        return list(self.students[assignment])

    def all_anonymous_ids(self) -> list[str]:
        return [anonymous_id for assignment in HIDDEN for anonymous_id in self.students[assignment]]

    def all_words(self) -> list[str]:
        return [word for words in self.words.values() for word in words]


async def create_course(system: System, gateway: GatewayClient) -> Course:
    """Create nine students, graded in an assignment with names and by anonymous id in two others."""
    world = World()
    client = CourseClient(world, system, gateway)
    people = {**STAFF, **dict.fromkeys(STUDENTS, "student")}
    steps: list[Json] = [{"do": "enroll", "user": name, "role": role} for name, role in people.items()]
    moderated = {"moderated_grading": True, "grader_count": 2, "final_grader": "fg", "anonymous_grading": True}
    points = {"points_possible": 10, "grading_type": "points"}
    steps += [
        {"do": "assignment", "id": OPEN, "moderated_grading": False, **points},
        *({"do": "assignment", "id": name, **moderated, **points} for name in HIDDEN),
    ]
    users = [
        {"user_id": world.user_id(name), "name": f"Named {name}", "sis_user_id": f"SIS-{name}-{world.base}",
         "login_id": f"{name}@{world.base}.example"}
        for name in people
    ]  # fmt: skip
    # Ids like Canvas's: ascending in the order of the roster.
    submissions = [
        world.command("record_submission", {"student_id": world.user_id(name), "submission_id": base + number}, title)
        for title, base in ((OPEN, world.base + 30_000), (PICKED, world.base + 40_000))
        for number, name in enumerate(STUDENTS)
    ]
    await client.send_accepted(
        *(command for step in steps for command in world.given(step)),
        world.command("upsert_users", {"users": users}),
        world.command("configure_assignment", {"moderation_set": "selected"}, PICKED),
        *submissions,
    )
    enrolment = {"user_id": world.user_id("s8"), "type": "StudentEnrollment", "state": "inactive"}
    await client.send_accepted(world.command("upsert_enrollments", {"enrollments": [enrolment]}))
    words = {
        name: [world.user_id(name), f"Named {name}", f"SIS-{name}-{world.base}", f"{name}@{world.base}.example"]
        for name in STUDENTS
    }
    return Course(client, words, {})


async def learn_anonymous_ids(course: Course) -> None:
    """Read the anonymous ids as an auditor, who then loses the permission."""
    world = course.client.world
    admin: Json = {"user_id": world.user_id("auditor"), "permissions": ["view_audit_trail"]}
    await course.client.send_accepted(world.command("upsert_admins", {"admins": [admin]}))
    names = {world.user_id(name): name for name in STUDENTS}
    for assignment in HIDDEN:
        path = f"/api/moderation/v1/assignments/{world.assignment_id(assignment)}/state"
        document = await course.client.request("GET", path, "auditor")
        course.students[assignment] = {
            row["anonymous_id"]: names[str(row["student_id"])] for row in document["submissions"]
        }
        assert set(course.students[assignment].values()) == set(STUDENTS)


async def grade_anonymously(course: Course, grader: str, assignment: str) -> list[int]:
    """Grade every submission in the order of the list, like a grader who sees nothing else."""
    path, graded_ids = assignment_path(course.client.world, assignment), []
    for number, anonymous_id in enumerate(sorted(course.anonymous_ids(assignment))):
        form = {"submission[posted_grade]": str(number), "submission[provisional]": "1", "comment[text_comment]": "ok"}
        graded = await course.client.request("PUT", f"{path}/anonymous_submissions/{anonymous_id}", grader, data=form)
        graded_ids += [grade["provisional_grade_id"] for grade in graded["provisional_grades"]]
    return sorted(set(graded_ids))


@pytest.fixture(scope="module")
async def course(running_system: System, gateway: GatewayClient) -> Course:
    created = await create_course(running_system, gateway)
    await learn_anonymous_ids(created)
    return created


def names_person(operation: Operation) -> bool:
    return bool(operation.names & PERSON_NAMES)


async def send(course: Course, caller: str, requests: list[Request]) -> list[tuple[Request, httpx.Response]]:
    """Send requests: reads concurrently, writes one after the other."""
    gateway, user_id = course.client.gateway, int(course.client.world.user_id(caller))
    slots = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def send_one(request: Request) -> tuple[Request, httpx.Response]:
        async with slots:
            options: Json = {"params": request.params} | ({} if request.body is None else {"json": request.body})
            return request, await gateway.request(request.method, request.path, user_id, **options)

    if all(request.operation.is_read for request in requests):
        return await asyncio.gather(*map(send_one, requests))
    return [await send_one(request) for request in requests]


def build_all(course: Course, assignment: str, grade_ids: list[int], *, by_name: bool, reads: bool) -> list[Request]:
    """Build all requests to operations that name a student, by name or by anonymous id, or that name none."""
    world = course.client.world
    ids = [world.user_id(name) for name in ASKED_FOR]
    persons = [*ids, f"sis_login_id:{course.words['s1'][3]}", f"sis_user_id:{course.words['s2'][2]}"]
    body = {"provisional": True, "posted_grade": "3"}
    values: Json = {
        "course_id": [world.course_id],
        "assignment_id": [world.assignment_id(assignment)],
        "provisional_grade_id": grade_ids,
        "provisional_grade_ids": [[grade_id] for grade_id in grade_ids],
        "submission": [body],
        "comment": [{"text_comment": "why?"}],
        "reason": ["why?"],
    }
    if by_name:
        values |= {"user_id": persons, "student_id": ids, "search_term": [f"Named {name}" for name in ASKED_FOR]}
        values |= {"user_ids[]": ids, "student_ids": [[person] for person in ids]}
    else:
        anonymous_ids = course.anonymous_ids(assignment)[:4]
        values |= {"anonymous_id": anonymous_ids, "student_ids": [[anonymous_id] for anonymous_id in anonymous_ids]}
        values |= {"student_id": anonymous_ids, "user_id": anonymous_ids}
    return [
        request
        for operation in load_operations()
        if operation.is_read == reads and operation.operation_id != "publish_provisional_grades"
        for request in build_requests(operation, values)
    ]


async def look(course: Course, caller: str, *, by_name: bool) -> dict[str, str]:
    """Read everything that the caller can read, by name or by anonymous id, of the hidden assignments."""
    requests = [
        request
        for assignment in HIDDEN
        for request in build_all(course, assignment, [], by_name=by_name, reads=True)
        if names_person(request.operation) == by_name
    ]
    answers = await send(course, caller, requests)
    return {f"{request.path} {request.params} {request.asked}": render(answer) for request, answer in answers}


@pytest.mark.parametrize("caller", ["ta1", "fg"])
async def test_no_answer_contains_both_a_name_and_an_anonymous_id(course: Course, caller: str) -> None:
    await grade_anonymously(course, caller, SHOWN)
    for assignment in HIDDEN:
        for by_name in (True, False):
            requests = build_all(course, assignment, [], by_name=by_name, reads=True)
            for request, answer in await send(course, caller, requests):
                text = render(answer)
                assert answer.status_code < 500, text
                named = find_words(course.all_words(), f"{text} {request.path} {request.params} {request.asked}")
                asked = find_words(course.all_anonymous_ids(), f"{text} {request.path} {request.params}")
                assert not (named and asked), (request, text)


@pytest.mark.parametrize("caller", ["ta1", "fg"])
async def test_asking_for_different_students_by_name_makes_no_difference(course: Course, caller: str) -> None:
    for assignment in HIDDEN:
        requests = build_all(course, assignment, [], by_name=True, reads=True)
        requests = [r for r in requests if names_person(r.operation) and "assignment_id" in r.operation.names]
        assert requests
        by_operation: dict[str, set[str]] = {}
        for request, answer in await send(course, caller, requests):
            # Permitted callers name a student by anonymous id there: a user id is an unknown one.
            is_explained = request.operation.operation_id == "explain_grade" and caller == "fg"
            expected = 404 if is_explained else 403
            assert answer.status_code == expected, render(answer)
            words = next(words for words in course.words.values() if find_words(words, request.asked))
            by_operation.setdefault(request.operation.operation_id, set()).add(mask(words, render(answer)))
        assert all(len(answers) == 1 for answers in by_operation.values()), by_operation


@pytest.mark.parametrize("caller", ["ta1", "fg"])
async def test_no_order_or_number_of_a_list_matches_one_with_names(course: Course, caller: str) -> None:
    client, world = course.client, course.client.world
    # Only a moderator may request provisional grades in a list.
    plain: Json = {"include[]": ALL_INCLUDES[:-1], "per_page": 100}
    params = {**plain, "include[]": ALL_INCLUDES} if caller == "fg" else plain
    for assignment in HIDDEN:
        await grade_anonymously(course, caller, assignment)
    roster = await client.request("GET", f"/api/v1/courses/{world.course_id}/users?per_page=100", caller)
    known = collect_numbers([row for row in roster if str(row["id"]) in {w[0] for w in course.words.values()}], "id")
    for name, key in (("submissions", "user_id"), ("gradeable_students", "id")):
        rows = await client.request("GET", f"{assignment_path(world, OPEN)}/{name}", caller, params=plain)
        known |= {f"{name}{place}": numbers for place, numbers in collect_numbers(rows, key).items()}
    active = {anonymous_id: int(world.user_id(student)) for assignment in HIDDEN
              for anonymous_id, student in course.students[assignment].items() if student != "s8"}  # fmt: skip
    for assignment in HIDDEN:
        truth = {a: student for a, student in active.items() if a in course.students[assignment]}
        for name in LISTS:
            path = f"{assignment_path(world, assignment)}/{name}"
            rows = await client.request("GET", path, caller, params=params)
            assert [row["anonymous_id"] for row in rows] == sorted(course.students[assignment])
            assert find_ties(collect_numbers(rows, "anonymous_id"), known, truth) == []


def build_by_anonymous_id(course: Course, assignment: str, anonymous_ids: list[str]) -> list[Request]:
    """Build all requests that name students by anonymous id, one for each id."""
    world = course.client.world
    values: Json = {
        "course_id": [world.course_id],
        "assignment_id": [world.assignment_id(assignment)],
        "submission": [{"posted_grade": "3"}, {"provisional": True, "posted_grade": "3"}],
        "anonymous_id": anonymous_ids,
        "student_id": anonymous_ids,
        "student_ids": [[anonymous_id] for anonymous_id in anonymous_ids],
        "allocations": [[{"grader_id": world.user_id("ta1"), "student_ids": [asked]}] for asked in anonymous_ids],
    }
    return [
        request
        for operation in load_operations()
        if operation.names & {"anonymous_id", "student_id", "student_ids", "allocations"}
        for request in build_requests(operation, values)
    ]


@pytest.mark.parametrize("caller", ["s0", "designer"])
async def test_only_graders_find_out_which_anonymous_ids_exist(course: Course, caller: str) -> None:
    world = course.client.world
    enrolment = {"user_id": world.user_id("designer"), "type": "DesignerEnrollment", "state": "active"}
    await course.client.send_accepted(world.command("upsert_enrollments", {"enrollments": [enrolment]}))
    for assignment in HIDDEN:
        known = [anonymous_id for anonymous_id, name in course.students[assignment].items() if name != caller][:2]
        answers: dict[tuple[str, str], set[str]] = {}
        by_anonymous_id = build_by_anonymous_id(course, assignment, [*known, "zzzzz"])
        for request in by_anonymous_id:
            ((_, answer),) = await send(course, caller, [request])
            body = {**(request.body or {}), "student_ids": None, "allocations": None, "student_id": None}
            key = (request.operation.operation_id, str(body))
            answers.setdefault(key, set()).add(mask([*known, "zzzzz"], render(answer)))
        operations = {operation for operation, _ in answers}
        assert {"allocate_submissions", "adjudicate_provisional_grades", "select_students_for_moderation",
                "get_submission_by_anonymous_id", "grade_or_comment_submission_by_anonymous_id",
                "show_provisional_grade_status_for_anonymous_student", "explain_grade"} <= operations  # fmt: skip
        assert {key: told for key, told in answers.items() if len(told) > 1} == {}


async def test_writes_by_name_change_nothing_shown_by_anonymous_id(course: Course) -> None:
    for caller in ("ta1", "fg"):
        before = await look(course, caller, by_name=False)
        for assignment in HIDDEN:
            requests = build_all(course, assignment, [], by_name=True, reads=False)
            written = await send(course, caller, [r for r in requests if names_person(r.operation)])
            assert all(answer.status_code < 500 for _, answer in written)
        assert await look(course, caller, by_name=False) == before


async def test_writes_by_anonymous_id_change_nothing_shown_by_name(course: Course) -> None:
    grade_ids = await grade_anonymously(course, "fg", PICKED)
    before = await look(course, "fg", by_name=True)
    requests = build_all(course, PICKED, grade_ids, by_name=False, reads=False)
    written = await send(course, "fg", requests)
    accepted = {request.operation.operation_id for request, answer in written if answer.status_code == 200}
    assert {"select_students_for_moderation", "grade_or_comment_submission_by_anonymous_id",
            "select_provisional_grade"} <= accepted  # fmt: skip
    for _, answer in written:
        assert not find_words(course.all_words(), render(answer)), render(answer)
    assert await look(course, "fg", by_name=True) == before


async def test_verdict_of_a_write_by_anonymous_id_names_no_student(course: Course) -> None:
    world, system = course.client.world, course.client.system
    path = assignment_path(world, PICKED)
    await course.client.request(
        "POST", f"{path}/moderated_students", "fg", json={"student_ids": [course.anonymous_ids(PICKED)[0]]}
    )
    await course.client.request(
        "POST", f"{path}/moderated_students", "fg", 400, json={"student_ids": [world.user_id("s1")]}
    )

    def find_command_ids() -> list[str]:
        verdicts = (verdict for all_of_one in system.client.verdicts.values() for verdict in all_of_one)
        in_picked = [verdict for verdict in verdicts if verdict["assignment_id"] == world.assignment_id(PICKED)]
        types = {verdict["type"] for verdict in in_picked}
        return [v["command_id"] for v in in_picked] if "select_students_for_moderation" in types else []

    command_ids = await wait_until(find_command_ids, "the verdict of the selection")
    reader = int(world.user_id("fg"))
    shown = [
        await course.client.gateway.request("GET", f"/api/moderation/v1/commands/{command_id}", reader)
        for command_id in command_ids
    ]
    own = [answer for answer in shown if answer.status_code == 200]
    assert "select_students_for_moderation" in {answer.json()["type"] for answer in own}
    for answer in own:
        assert not find_words(course.all_words(), render(answer)), render(answer)

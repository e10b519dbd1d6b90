"""The gateway's answers: SIS ids, names and comments by viewer, writes visible in every gateway."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import STUDENTS, CourseClient, moderated_course_commands
from tests.fixtures.canvas.http_adapter import AUDITOR, assignment_path
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer

Json = dict[str, Any]
WRITES = 25


@pytest.fixture
async def course_client(running_system: System, gateway: GatewayClient) -> CourseClient:
    client = CourseClient(World(), running_system, gateway)
    await client.send_accepted(*moderated_course_commands(client.world))
    return client


def course_id_forms(world: World) -> list[str]:
    sis = f"HIST {world.course_id}"
    return [f"sis_course_id:{sis}", f"hex:sis_course_id:{sis.encode().hex()}"]


async def test_courses_and_students_resolve_by_sis_id(course_client: CourseClient) -> None:
    world = course_client.world
    assignment = world.assignment_id("a1")
    for course, student in itertools.product(
        course_id_forms(world), ["sis_user_id:SIS s1", "sis_login_id:S1@X.org", f"hex:sis_user_id:{b'SIS s1'.hex()}"]
    ):
        path = f"/api/v1/courses/{course}/assignments/{assignment}"
        graded = await course_client.request(
            "PUT",
            f"{path}/submissions/{student}",
            "ta1",
            json={"submission": {"posted_grade": "7", "provisional": True}},
        )
        assert graded["user_id"] == int(world.user_id("s1"))
        assert (await course_client.request("GET", f"{path}/submissions/{student}", "ta1"))["user_id"] == int(
            world.user_id("s1")
        )
    listed = await course_client.request(
        "GET", f"/api/v1/courses/{course_id_forms(world)[0]}/assignments/{assignment}/moderated_students", "fg"
    )
    assert [user["sis_user_id"] for user in listed] == [f"SIS {name}" for name in STUDENTS]
    own = await course_client.request("GET", "submissions/self", "s2")
    assert own["user_id"] == int(world.user_id("s2"))


async def test_unresolvable_id_forms_return_404(course_client: CourseClient) -> None:
    world = course_client.world
    assignment = world.assignment_id("a1")
    forms = ["sis_course_id:", "sis_course_id:nobody", "sis_integration_id:1", "lti_context_id:x", "uuid:x",
             "hex:sis_course_id:zz", "hex:sis_course_id:ff", "sis_user_id:SIS s1", "1 or 1=1"]  # fmt: skip
    paths = [f"/api/v1/courses/{form}/assignments/{assignment}/moderated_students" for form in forms]
    paths += [f"{assignment_path(world, 'a1')}/submissions/{form}" for form in ("sis_user_id:x", "uuid:y", "%00", "x")]
    paths.append(f"/api/v1/courses/{world.course_id}/assignments/sis_assignment_id:1/moderated_students")
    for path in paths:
        assert await course_client.request("GET", path, "fg", 404) == {
            "errors": [{"message": "The specified resource does not exist."}]
        }
    was = course_id_forms(world)[0]
    await course_client.send_accepted(world.command("upsert_course", {"sis_source_id": f"NEW {world.course_id}"}))
    await course_client.request("GET", f"/api/v1/courses/{was}/assignments/{assignment}/moderated_students", "fg", 404)


async def test_invalid_idempotency_key_is_rejected_even_without_a_command(course_client: CourseClient) -> None:
    path = f"submissions/{course_client.world.user_id('s1')}"
    for body in ({}, {"submission": {"posted_grade": "7", "provisional": True}}):
        refused = await course_client.request(
            "PUT", path, "ta1", 400, json=body, headers={"Idempotency-Key": "é".encode()}
        )
        assert "Idempotency-Key" in refused["error"]
    await course_client.request("PUT", path, "ta1", json={}, headers={"Idempotency-Key": "a key"})


async def test_comment_with_files_is_rejected_together_with_its_grade(course_client: CourseClient) -> None:
    path = f"submissions/{course_client.world.user_id('s1')}"
    said = {"submission": {"posted_grade": "7"}, "comment": {"text_comment": "see there", "file_ids": [5]}}
    assert (await course_client.request("PUT", path, "ta1", 403, json=said))["status"] == "unauthorized"
    provisional = {**said, "submission": {"grade": "7", "provisional": True}}
    refused = await course_client.request("PUT", path, "ta1", 400, json=provisional)
    assert "comment[text_comment]" in refused["error"]
    media = {"submission": {"provisional": True}, "comment": {"media_comment_id": "m-1"}}
    await course_client.request("PUT", path, "ta1", 400, json=media)
    graded = await course_client.request("PUT", path, "ta1", json={**provisional, "comment": {"text_comment": "well"}})
    assert [grade["score"] for grade in graded["provisional_grades"]] == [7]


async def test_student_may_not_send_a_grade_or_a_rubric(course_client: CourseClient) -> None:
    path = f"submissions/{course_client.world.user_id('s1')}"
    for sent in (
        {"submission": {"posted_grade": "10", "provisional": True}},
        {"submission": {"late_policy_status": "none"}},
        {"rubric_assessment": {"_1": {"points": 3}}},
    ):
        await course_client.request("PUT", path, "s1", 403, json=sent)
    refused = await course_client.request("PUT", path, "s1", 400, json={"comment": {"text_comment": "sorry"}})
    assert "submission[provisional]" in refused["error"]
    own = await course_client.request("PUT", path, "s1", json={})
    assert "provisional_grades" not in own


async def test_includes_add_what_is_known_of_a_submission(course_client: CourseClient) -> None:
    world, path = course_client.world, f"submissions/{course_client.world.user_id('s1')}"
    include = {"include[]": ["visibility", "user", "html_url", "group", "submission_history"]}
    for shown in (
        await course_client.request("GET", path, "ta1", params=include),
        (await course_client.request("GET", "submissions", "ta1", params=include))[1],
    ):
        assert (shown["assignment_visible"], shown["group"]) == (True, {"id": None, "name": None})
        assert (shown["user"]["name"], shown["user"]["sis_user_id"]) == ("Named s1", "SIS s1")
        assignment_url = f"/courses/{world.course_id}/assignments/{world.assignment_id('a1')}"
        assert shown["html_url"].endswith(f"{assignment_url}/submissions/{shown['user_id']}")
    form = {"submission[posted_grade]": "5", "submission[provisional]": "1", "include[]": "visibility"}
    assert (await course_client.request("PUT", path, "ta1", data=form))["assignment_visible"] is True
    await course_client.configure(anonymous_grading=True)
    rows = await course_client.request("GET", "submissions", "ta1", params=include)
    assert all("user" not in row and f"anonymous_id={row['anonymous_id']}" in row["html_url"] for row in rows)


async def test_grades_names_and_comments_are_visible_only_as_permitted(course_client: CourseClient) -> None:
    world = course_client.world
    await course_client.configure(graders_anonymous_to_graders=True, grader_names_visible_to_final_grader=False)
    await course_client.send_accepted(
        world.command(
            "record_submission_comment",
            {"student_id": world.user_id("s1"), "author_id": world.user_id("s1"), "comment": "sorry"},
            "a1",
        )
    )
    mine = await course_client.grade("ta1", "s1", "5", "by ta1", **{"rubric_assessment[_1][points]": "3"})
    await course_client.grade("ta2", "s1", "6", "by ta2")
    assert [c["comment"] for c in mine["submission_comments"]] == ["sorry"]
    assert [c["comment"] for c in mine["provisional_grades"][0]["submission_comments"]] == ["sorry", "by ta1"]
    assert "submission_comments" not in mine["all_submissions"][0]
    include = {"include[]": ["provisional_grades", "submission_comments", "rubric_assessment"]}
    path = f"submissions/{world.user_id('s1')}"

    seen = await course_client.request("GET", path, "fg", params=include)
    holders = {g["user_id"]: g["anonymous_id"] for g in (await read_state(course_client))["moderation_graders"]}
    names = ("ta1", "ta2")
    assert [g["anonymous_grader_id"] for g in seen["provisional_grades"]] == [
        holders[int(world.user_id(name))] for name in names
    ]
    assert all(text not in json.dumps(seen) for text in ("scorer_id", "rubric_assessments", "Named ta"))
    (_, remark) = seen["provisional_grades"][0]["submission_comments"]
    assert (remark["comment"], remark["anonymous_id"]) == ("by ta1", holders[int(world.user_id("ta1"))])
    assert [(c["comment"], c["author_name"]) for c in seen["submission_comments"]] == [("sorry", "Named s1")]

    await course_client.configure(grader_names_visible_to_final_grader=True)
    seen = await course_client.request("GET", path, "fg", params=include)
    assert [g["scorer_id"] for g in seen["provisional_grades"]] == [int(world.user_id(name)) for name in names]
    assert seen["provisional_grades"][0]["rubric_assessments"][0]["data"] == [{"criterion_id": "_1", "points": 3}]

    others = await course_client.request("GET", path, "ta3", params=include)
    assert others["provisional_grades"] == []
    assert [c["comment"] for c in others["submission_comments"]] == ["sorry"]
    await course_client.request("GET", path, "s2", 403)
    student = await course_client.request("GET", path, "s1", params=include)
    assert [c["comment"] for c in student["submission_comments"]] == ["sorry"]
    assert "provisional_grades" not in student
    await course_client.request("GET", "gradeable_students", "ta1", 403, params=include)
    for row in await course_client.request("GET", "gradeable_students", "fg", params=include):
        assert (row["in_moderation_set"], row["selected_provisional_grade_id"]) == (False, None)


async def read_state(course_client: CourseClient) -> Json:
    path = f"/api/moderation/v1/assignments/{course_client.world.assignment_id('a1')}/state"
    found: Json = await course_client.request("GET", path, AUDITOR)
    return found


async def test_anonymous_assignment_hides_student_identities_in_every_response(course_client: CourseClient) -> None:
    world = course_client.world
    await course_client.configure(anonymous_grading=True)
    author = {"student_id": world.user_id("s1"), "author_id": world.user_id("s1"), "comment": "sorry"}
    await course_client.send_accepted(world.command("record_submission_comment", author, "a1"))
    rows_by_student = {row["student_id"]: row for row in (await read_state(course_client))["submissions"]}
    anonymous_id = rows_by_student[int(world.user_id("s1"))]["anonymous_id"]
    path = f"anonymous_submissions/{anonymous_id}"
    include = {"include[]": ["provisional_grades", "submission_comments", "rubric_assessment"]}
    status = {"anonymous_id": anonymous_id, "last_updated_at": "2001-01-01T00:00:00Z"}
    form = {"submission[posted_grade]": "5", "submission[provisional]": "1", "comment[text_comment]": "well"}
    graded = await course_client.request("PUT", path, "ta1", data=form)
    assert [grade["score"] for grade in graded["provisional_grades"]] == [5]
    number = graded["provisional_grades"][0]["provisional_grade_id"]
    picked = await course_client.request("PUT", f"provisional_grades/{number}/select", "fg")
    assert picked["anonymous_id"] == anonymous_id
    shown = await course_client.request("GET", "anonymous_provisional_grades/status", "fg", params=status)
    assert shown["provisional_grades"][0]["speedgrader_url"].endswith(f"anonymous_id={anonymous_id}")
    answers = [graded, picked, shown, await course_client.request("GET", path, "fg", params=include)]
    for listing in ("submissions", "gradeable_students"):
        rows = await course_client.request("GET", listing, "fg", params=include)
        assert [row["anonymous_id"] for row in rows] == sorted(row["anonymous_id"] for row in rows_by_student.values())
        answers.append(rows)
    students = [world.user_id(name) for name in STUDENTS]
    for answer in answers:
        assert not any(
            student in text for student in students for text in find_texts(answer, {"id", "provisional_grade_id"})
        )
        assert "Named s" not in json.dumps(answer)
    assert [row["id"] for row in answers[-2]] != sorted(row["id"] for row in answers[-2])
    await course_client.request("POST", "provisional_grades/publish", "fg")
    rows = await course_client.request("GET", "submissions", "ta1")
    assert [row["user_id"] for row in rows] == sorted(rows_by_student)


def find_texts(value: Any, left_out: set[str], name: str = "") -> list[str]:
    """Return all scalars of a JSON value as text, except those of some fields."""
    if isinstance(value, dict):
        return [text for key, part in value.items() for text in find_texts(part, left_out, key)]
    if isinstance(value, list):
        return [text for part in value for text in find_texts(part, left_out, name)]
    return [] if name in left_out else [str(value)]


async def test_hidden_student_is_refused_by_user_id_to_all_but_themself(course_client: CourseClient) -> None:
    world = course_client.world
    await course_client.configure(anonymous_grading=True)
    form = {"submission[posted_grade]": "5", "submission[provisional]": "1"}
    for student in (world.user_id("s1"), "999999999", "sis_user_id:SIS s1", "sis_user_id:none"):
        for name in ("fg", "ta1", "s2"):
            await course_client.request("GET", f"submissions/{student}", name, 403)
            await course_client.request("PUT", f"submissions/{student}", name, 403, data=form)
    for student in (world.user_id("s1"), "999999999", "", "x"):
        await course_client.request("GET", f"provisional_grades/status?student_id={student}", "fg", 403)
    own = await course_client.request("GET", "submissions/self", "s1")
    assert (own["user_id"], "anonymous_id" in own) == (int(world.user_id("s1")), False)
    await course_client.request("GET", "anonymous_submissions/zzzzz", "ta1", 404)
    await course_client.request("PUT", "anonymous_submissions/zzzzz", "ta1", 404, data=form)
    assert (await read_state(course_client))["provisional_grades"] == []


async def test_string_ids_apply_at_every_depth(course_client: CourseClient) -> None:
    await course_client.grade("ta1", "s1", "5", "well")
    accept = {"accept": "application/json+canvas-string-ids"}
    include = {"include[]": ["provisional_grades", "submission_comments"]}
    rows = await course_client.request("GET", "submissions", "fg", params=include, headers=accept)

    def check(value: Any, name: str = "") -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                check(part, key)
        elif isinstance(value, list):
            for part in value:
                check(part, name)
        elif name == "id" or name.endswith("_id"):
            assert value is None or isinstance(value, str), (name, value)

    check(rows)
    assert rows[1]["provisional_grades"][0]["score"] == 5


async def test_writes_through_one_gateway_are_visible_in_another(system: System, issuer: TokenIssuer) -> None:
    handlers = [system.create_process("handler", HANDLER_INSTANCE=name) for name in ("first", "second")]
    gateways = [system.create_gateway(issuer), system.create_gateway(issuer)]
    for process in (*handlers, *gateways):
        process.start()
    for process in (*handlers, *gateways):
        await process.wait_until_ready()
    # Several courses: each handler has some of their partitions.
    worlds = [World() for _ in range(4)]
    rooms = [
        [CourseClient(world, system, GatewayClient(process.url, issuer)) for process in gateways] for world in worlds
    ]
    for here, _ in rooms:
        for command in moderated_course_commands(here.world):
            await system.client.send(command)

    async def write_and_read(mine: CourseClient, theirs: CourseClient) -> None:
        path = f"submissions/{mine.world.user_id('s1')}"
        asked = (f"{assignment_path(mine.world, 'a1')}/{path}", int(mine.world.user_id("ta1")))

        async def is_known() -> bool:
            return (await theirs.gateway.request("GET", *asked)).status_code == 200

        await wait_until(is_known, "the course is known")
        for number in range(WRITES):
            await mine.grade("ta1", "s1", str(number), f"try {number}")
            seen = await theirs.request("GET", path, "ta1", params={"include[]": "provisional_grades"})
            assert [grade["score"] for grade in seen["provisional_grades"]] == [number]
            mine, theirs = theirs, mine

    try:
        await asyncio.gather(*(write_and_read(*pair) for pair in rooms))
        for here, there in rooms:
            assert await read_state(here) == await read_state(there)
    finally:
        for here, there in rooms:
            await here.gateway.http.aclose()
            await there.gateway.http.aclose()


async def test_gateway_picks_up_rotated_keys_without_a_restart(
    running_system: System, course_client: CourseClient
) -> None:
    old, new = TokenIssuer("old"), TokenIssuer("new")
    process = running_system.create_gateway(old)
    process.start()
    await process.wait_until_ready()
    client = GatewayClient(process.url, new)
    path = f"{assignment_path(course_client.world, 'a1')}/moderated_students"
    moderator = int(course_client.world.user_id("fg"))
    try:
        kept = {"authorization": f"Bearer {old.token(moderator)}"}
        assert (await client.request("GET", path, headers=kept)).status_code == 200
        assert (await client.request("GET", path, moderator)).status_code == 401
        new.write_jwks(Path(process.environment["JWKS"]))

        async def is_believed() -> bool:
            return (await client.request("GET", path, moderator)).status_code == 200

        await wait_until(is_believed, "the new key is known")
        refused = await client.request("GET", path, headers=kept)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="canvas-lms"'
    finally:
        await client.http.aclose()
        process.stop()

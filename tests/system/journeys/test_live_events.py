"""Published grades through the real topics: over HTTP and over Kafka, published, posted and hidden, in both formats."""

import json
import re
import uuid
from typing import Any

from aiokafka import ConsumerRecord
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from schemas.http_request import HTTP_REQUEST_HEADER
from schemas.live_events import GradeChange
from services.moderation.root_accounts import draw_lti_guid, draw_uuid
from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.http_adapter import assignment_path
from tests.fixtures.event_consumers import CALIPER_VALIDATOR
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import Json, wait_until
from tests.fixtures.system import LMS_URL, System

REQUEST_CONTEXT: Json = {
    "request_id": str(uuid.uuid4()), "session_id": "00112233445566778899aabbccddeeff", "hostname": "moderation.example",
    "http_method": "POST", "user_agent": "a browser", "client_ip": "2001:db8::7", "url": "https://moderation.example/p",
    "referrer": "https://lms.example/courses/1",
}  # fmt: skip
TEMPLATE = "/api/v1/courses/{course_id}/assignments/{assignment_id}/provisional_grades/publish"
"""The route of a publication: live events tell it without ids and without its query."""
STEPS: list[Json] = [
    {"do": "enroll", "user": "fg", "role": "teacher"}, {"do": "enroll", "user": "ta", "role": "ta"},
    {"do": "enroll", "user": "s0", "role": "student"}, {"do": "enroll", "user": "s1", "role": "student"},
    {
        "do": "assignment", "id": "essay", "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
        "points_possible": 20, "grading_type": "points",
    },
    {"do": "grade", "actor": "ta", "assignment": "essay", "student": "s0", "score": 17},
    {"do": "comment", "actor": "ta", "assignment": "essay", "student": "s1", "text": "Not handed in?"},
]  # fmt: skip


async def send_accepted(system: System, commands: list[Json]) -> None:
    for command in commands:
        await system.client.send(command)
    for command in commands:
        verdict = await system.client.wait_for_verdict(command["command_id"])
        assert verdict["status"] == "accepted", verdict


async def create_graded_course(system: System) -> World:
    """Create a course: one student graded, one with a comment alone; final grader and first student have SIS ids."""
    world = World()
    users = [
        {"user_id": world.user_id("fg"), "name": "F", "login_id": "fg@example.test", "sis_user_id": "T-1"},
        {"user_id": world.user_id("s0"), "name": "S", "login_id": "s0@example.test", "sis_user_id": "S-0"},
    ]
    facts = [
        world.command("upsert_course", {"name": "Course", "account_id": 9, "sis_source_id": "C-1"}),
        world.command("upsert_users", {"users": users}),
    ]
    await send_accepted(system, facts + [command for step in STEPS for command in world.given(step)])
    return world


async def publish_and_wait(system: System, world: World, *headers: tuple[str, bytes | None]) -> Json:
    """Publish over Kafka with these headers and return the only grade_change."""
    command = world.operation({"operation": "publish", "actor": "fg", "assignment": "essay"})
    key = command["course_id"].encode()
    await system.client.send_raw(json.dumps(command).encode(), key, list(headers))
    [(_, change)] = await system.client.wait_for_outputs("live-events", command["command_id"], 1)
    GradeChange.model_validate_json(json.dumps(change))
    return change


def records_of_course(system: System, topic: str, course_id: int) -> list[ConsumerRecord[Any, Any]]:
    return [record for record in system.client.records[topic] if record.key == str(course_id).encode()]


async def test_http_publication_carries_its_request_context(running_system: System, gateway: GatewayClient) -> None:
    world = await create_graded_course(running_system)
    path = f"{assignment_path(world, 'essay')}/provisional_grades/publish"
    told = {
        "user-agent": "moderator/1.0 " + "x" * 600,
        "referer": "https://u:p@lms.example/c?access_token=secret&x=1#top",
    }
    asked = f"{path}?access_token=secret&a%63cess_token=secret"
    answer = await gateway.request("POST", asked, int(world.user_id("fg")), told)
    assert answer.status_code == 200, answer.text
    [record] = await wait_until(
        lambda: records_of_course(running_system, "live-events", world.course_id), "the live event"
    )
    change = json.loads(record.value or b"")
    GradeChange.model_validate(change)
    metadata, body, headers = change["metadata"], change["body"], dict(record.headers)
    assert metadata == {
        "event_name": "grade_change", "event_time": headers["event_time"].decode(), "producer": "canvas",
        "root_account_id": "1", "root_account_uuid": draw_uuid(1), "root_account_lti_guid": draw_lti_guid(1),
        "context_type": "Course",
        "context_id": str(world.course_id), "context_account_id": "9", "context_sis_source_id": "C-1",
        "context_role": "TeacherEnrollment", "user_id": world.user_id("fg"), "time_zone": None,
        "user_login": "fg@example.test", "user_account_id": "1", "user_sis_id": "T-1", "session_id": None,
        "request_id": answer.headers["x-request-context-id"], "hostname": "127.0.0.1", "http_method": "POST",
        "user_agent": told["user-agent"][:512], "client_ip": "127.0.0.1", "url": f"{gateway.url}{TEMPLATE}",
        "referrer": "https://lms.example",
    }  # fmt: skip
    assert body == {
        "submission_id": body["submission_id"],
        "assignment_id": world.assignment_id("essay"),
        "assignment_name": "essay",
        "grade": "17",
        "old_grade": None,
        "score": 17.0,
        "old_score": None,
        "points_possible": 20.0,
        "old_points_possible": 20.0,
        "grader_id": world.user_id("ta"),
        "student_id": world.user_id("s0"),
        "student_sis_id": "S-0",
        "user_id": world.user_id("s0"),
        "grading_complete": True,
        "muted": True,
    }
    assert re.fullmatch(r"[1-9][0-9]*", body["submission_id"])


async def test_caliper_and_live_event_of_a_grade_share_a_sequence_number(
    running_system: System, gateway: GatewayClient
) -> None:
    world = await create_graded_course(running_system)
    await publish_and_wait(running_system, world, (HTTP_REQUEST_HEADER, json.dumps(REQUEST_CONTEXT).encode()))
    [live] = await wait_until(
        lambda: records_of_course(running_system, "live-events", world.course_id), "the live event"
    )
    [caliper] = await wait_until(
        lambda: records_of_course(running_system, "caliper", world.course_id), "the GradeEvent"
    )
    headers, envelope = dict(caliper.headers), json.loads(caliper.value or b"")
    CALIPER_VALIDATOR.validate(envelope)
    [event] = envelope["data"]
    assert headers["ce_type"] == b"caliper.grade_event.v1"
    assert event["id"] == f"urn:uuid:{headers['ce_id'].decode()}"
    assert headers["ce_sequence"] == dict(live.headers)["ce_sequence"]
    assert headers["ce_id"] != dict(live.headers)["ce_id"]
    assert event["actor"]["id"].endswith(f":{world.user_id('fg')}")
    assert event["generated"]["scoredBy"].endswith(f":{world.user_id('ta')}")
    assert b'"maxScore":20.0,"scoreGiven":17.0' in (caliper.value or b"")
    assert envelope["sensor"] == f"{LMS_URL}/"
    assert event["membership"]["roles"] == ["Instructor"]


async def test_kafka_command_can_carry_a_request_context(running_system: System) -> None:
    world = await create_graded_course(running_system)
    change = await publish_and_wait(running_system, world, (HTTP_REQUEST_HEADER, json.dumps(REQUEST_CONTEXT).encode()))
    assert REQUEST_CONTEXT.items() <= change["metadata"].items()
    assert not {"job_id", "job_tag"} & set(change["metadata"])


INVALID_HEADERS: dict[str, list[tuple[str, bytes | None]]] = {
    "none": [],
    "null": [(HTTP_REQUEST_HEADER, None)],
    "not UTF-8": [(HTTP_REQUEST_HEADER, b"\xff\xfe")],
    "not JSON": [(HTTP_REQUEST_HEADER, b"{")],
    "two": [(HTTP_REQUEST_HEADER, json.dumps(REQUEST_CONTEXT).encode())] * 2,
    "an unknown field": [(HTTP_REQUEST_HEADER, json.dumps({**REQUEST_CONTEXT, "user_login": "admin"}).encode())],
    "a NUL": [(HTTP_REQUEST_HEADER, json.dumps({**REQUEST_CONTEXT, "user_agent": "\0"}).encode())],
    "a lone surrogate": [(HTTP_REQUEST_HEADER, json.dumps({**REQUEST_CONTEXT, "user_agent": "\ud800"}).encode())],
    "no address": [(HTTP_REQUEST_HEADER, json.dumps({**REQUEST_CONTEXT, "client_ip": "localhost"}).encode())],
    "too long": [(HTTP_REQUEST_HEADER, json.dumps({**REQUEST_CONTEXT, "user_agent": "x" * 513}).encode())],
    "far too long": [(HTTP_REQUEST_HEADER, b"[" * 100_000)],
    "deep": [(HTTP_REQUEST_HEADER, b"[" * 10_000)],
}


async def test_invalid_request_context_falls_back_to_job_metadata(running_system: System) -> None:
    worlds = {what: await create_graded_course(running_system) for what in INVALID_HEADERS}
    changes = {
        what: await publish_and_wait(running_system, world, *INVALID_HEADERS[what]) for what, world in worlds.items()
    }
    for what, change in changes.items():
        metadata = change["metadata"]
        assert metadata["job_tag"] == "Moderation#publish", what
        assert metadata["job_id"].isdecimal(), what
        assert not {"user_id", "hostname", "url", "user_login"} & set(metadata), what


async def test_posting_and_hiding_emit_one_grade_change_per_affected_student(running_system: System) -> None:
    world = await create_graded_course(running_system)
    for fact, message in (("post_grades", "posted"), ("hide_grades", "hidden")):
        refused = await running_system.client.send_and_wait(world.command(fact, {}, "essay"))
        assert refused["reason"] == "not_published"
        assert refused["message"] == f"Assignments under moderation cannot be {message} before grades are published"
    first = (await publish_and_wait(running_system, world))["body"]
    # Events, and grade changes: of the two students, only the one with a grade has another grade_change.
    steps = [
        ("post_grades", 2, 1), ("post_grades", 0, 0), ("hide_grades", 1, 1), ("hide_grades", 1, 0),
        ("hide_grades", 0, 0),
    ]  # fmt: skip
    seen: list[list[Json]] = []
    for number, (fact, count, told) in enumerate(steps):
        data = {"student_ids": [world.user_id("s0")]} if number == 2 else {}
        command = world.command(fact, data, "essay")
        verdict = await running_system.client.send_and_wait(command)
        assert (verdict["status"], verdict["events"]) == ("accepted", count), fact
        seen.append(
            [
                value
                for _, value in await running_system.client.wait_for_outputs("live-events", command["command_id"], told)
            ]
        )
    same = {"old_score": 17.0, "old_grade": "17"}
    posted = {body["student_id"]: body for body in (change["body"] for change in seen[0])}
    assert posted[world.user_id("s0")] == {**first, **same, "muted": False}
    assert set(posted) == {world.user_id("s0")}
    assert [change["body"] for change in seen[2]] == [{**first, **same, "muted": True}]
    tags = [{change["metadata"]["job_tag"] for change in changes} for changes in seen]
    assert tags[0] == {"Assignment#post_submissions"}
    assert tags[2] == {"Assignment#hide_submissions"}
    await running_system.client.wait_until_read("live-events")
    assert len(records_of_course(running_system, "live-events", world.course_id)) == 1 + 1 + 1


async def test_grade_published_over_a_posted_grade_is_not_muted(running_system: System) -> None:
    world = await create_graded_course(running_system)
    stated = {"student_id": world.user_id("s0"), "score": 3, "grade": "3", "posted_at": "2026-01-01T00:00:00Z"}
    await send_accepted(running_system, [world.command("record_submission", stated, "essay")])
    body = (await publish_and_wait(running_system, world))["body"]
    assert (body["muted"], body["old_score"], body["score"]) == (False, 3.0, 17.0)


async def test_unchanged_grades_and_comments_emit_no_grade_change(running_system: System) -> None:
    world = await create_graded_course(running_system)
    standing = world.given(
        {"do": "gradebook_grade", "assignment": "essay", "student": "s0", "score": 17, "grade": "17", "grader": "fg"}
    )
    await send_accepted(running_system, standing)
    publish = world.operation({"operation": "publish", "actor": "fg", "assignment": "essay"})
    assert (await running_system.client.send_and_wait(publish))["events"] == 3
    await running_system.client.wait_until_read("live-events")
    await running_system.client.wait_until_read("caliper")
    assert [records_of_course(running_system, name, world.course_id) for name in ("live-events", "caliper")] == [[], []]


async def test_every_record_except_dead_letters_is_a_cloudevent(running_system: System) -> None:
    world = await create_graded_course(running_system)
    await publish_and_wait(running_system, world)
    await wait_until(lambda: records_of_course(running_system, "caliper", world.course_id), "the GradeEvent")
    await running_system.client.send_and_wait(world.command("upsert_course", {"name": "Again"}))
    for name in ("verdicts", "events", "live-events", "caliper"):
        await running_system.client.wait_until_read(name)
        records = records_of_course(running_system, name, world.course_id)
        assert records, name
        for record in records:
            read = from_kafka_event(KafkaMessage(dict(record.headers), record.key, record.value or b""))
            assert read.get_specversion() == "1.0"
            assert read.get_source() == f"urn:moderated-grading/root_accounts/1/{name}"
            assert read.get_datacontenttype() == "application/json"
            assert str(read.get_subject()).startswith(f"courses/{world.course_id}")
            assert read.get_data() == json.loads(record.value or b"")
            assert int(read.get_extension("sequence")) >= 1
            assert read.get_extension("shard") == str(record.partition)
            assert uuid.UUID(read.get_extension("causationid"))

"""Caliper envelopes: 1EdTech's rules of version 1.1, Canvas's shape, and ids that stay."""

from copy import deepcopy
from typing import Any

import orjson
import pytest

from schemas.caliper import Envelope
from services.publishing.caliper import build_envelope
from services.publishing.cloudevents import PublishingFormat
from tests.fixtures.event_consumers import CALIPER_VALIDATOR
from tests.unit.schemas.test_output_schemas import JOB_SAMPLE, REQUEST_SAMPLE, SampleOutputs

Json = dict[str, Any]
CALIPER_ID = "5b0e2f52-7c41-4f0e-9a53-2f6f0b7f9a10"
FORM = PublishingFormat("urn:test", 8800, "http://canvas.example.test/")
ATTEMPT: Json = {
    "id": "urn:instructure:canvas:submission:88000000005150", "type": "Attempt",
    "assignee": {
        "id": "urn:instructure:canvas:user:88000000000333", "type": "Person",
        "extensions": {"com.instructure.canvas": {"sis_id": "S-0333"}},
    },
    "assignable": {"id": "urn:instructure:canvas:assignment:88000000000867", "type": "AssignableDigitalResource"},
}  # fmt: skip
JOB_ENVELOPE: Json = {
    "sensor": "http://canvas.example.test/", "sendTime": "2031-03-04T05:06:07.089Z",
    "dataVersion": "http://purl.imsglobal.org/ctx/caliper/v1p1",
    "data": [{
        "@context": "http://purl.imsglobal.org/ctx/caliper/v1p1", "id": f"urn:uuid:{CALIPER_ID}", "type": "GradeEvent",
        "actor": {"id": "urn:instructure:canvas:user:88000000000111", "type": "Person"}, "action": "Graded",
        "object": {
            **ATTEMPT, "extensions": {"com.instructure.canvas": {"grade": "17.5", "entity_id": "88000000005150"}}
        },
        "eventTime": "2031-03-04T05:06:07.089Z",
        "generated": {
            "id": "urn:instructure:canvas:submission:88000000005150", "type": "Score",
            "extensions": {"com.instructure.canvas": {"grade": "17.5", "entity_id": "88000000005150"}},
            "attempt": {**ATTEMPT, "extensions": {"com.instructure.canvas": {"grade": "17.5"}}},
            "maxScore": 20.0, "scoreGiven": 17.5, "scoredBy": "urn:instructure:canvas:user:88000000000222",
        },
        "edApp": {"id": "http://canvas.example.test/", "type": "SoftwareApplication"},
        "group": {
            "id": "urn:instructure:canvas:course:88000000000731", "type": "CourseOffering",
            "extensions": {"com.instructure.canvas": {"context_type": "Course", "entity_id": "88000000000731"}},
        },
        "extensions": {
            "com.instructure.canvas": {
                "job_id": "88000000000412", "job_tag": "Moderation#publish", "version": "1.0.0"
            }
        },
    }],
}  # fmt: skip


def build_valid_envelope(change: Json, user_id: str | None = "88000000000111", **body: Any) -> Json:
    """Build the envelope of a grade_change, parsed from its JSON and validated against rules and schema."""
    found: Json = orjson.loads(
        orjson.dumps(build_envelope({**change, "body": {**change["body"], **body}}, CALIPER_ID, user_id, FORM))
    )
    CALIPER_VALIDATOR.validate(found)
    Envelope.model_validate_json(orjson.dumps(found))
    return found


def test_job_envelope_equals_the_canvas_shape() -> None:
    assert build_valid_envelope(JOB_SAMPLE) == JOB_ENVELOPE


def test_request_envelope_contains_request_role_and_session() -> None:
    event = build_valid_envelope(REQUEST_SAMPLE)["data"][0]
    assert event["extensions"]["com.instructure.canvas"] == {
        "version": "1.0.0", "client_ip": "198.51.100.7", "hostname": "canvas.example.test",
        "request_id": "0d3b8a52-6a2e-4b59-9c44-0f6a3c1d7e21", "user_agent": "example/1.0",
        "request_url": REQUEST_SAMPLE["metadata"]["url"],
    }  # fmt: skip
    course, user = "urn:instructure:canvas:course:88000000000731", "urn:instructure:canvas:user:88000000000111"
    assert event["membership"] == {
        "id": f"{course}:Instructor:88000000000111", "type": "Membership", "member": {"id": user, "type": "Person"},
        "organization": {"id": course, "type": "CourseOffering"}, "roles": ["Instructor"],
    }  # fmt: skip
    assert event["session"]["id"] == "urn:instructure:canvas:session:00112233445566778899aabbccddeeff"
    assert "referrer" not in event


@pytest.mark.parametrize("referrer", ["https://lms.example/courses/731", "", "about us", None])
def test_referrer_is_included_only_if_it_is_a_uri(referrer: str | None) -> None:
    told = {**REQUEST_SAMPLE, "metadata": {**REQUEST_SAMPLE["metadata"], "referrer": referrer}}
    assert build_valid_envelope(told)["data"][0].get("referrer") == (referrer if referrer and ":" in referrer else None)


def test_whole_points_are_written_as_floats() -> None:
    change = {**JOB_SAMPLE, "body": {**JOB_SAMPLE["body"], "score": 17, "points_possible": 20}}
    written = orjson.dumps(build_envelope(change, CALIPER_ID, "111", FORM))
    assert b'"maxScore":20.0,"scoreGiven":17.0' in written


def test_unknown_actor_is_user_0_and_missing_grader_is_the_software() -> None:
    assert build_valid_envelope(JOB_SAMPLE, user_id=None)["data"][0]["actor"]["id"] == "urn:instructure:canvas:user:0"
    automatic = build_valid_envelope(JOB_SAMPLE, grader_id=None)["data"][0]
    assert automatic["actor"] == {"id": "http://canvas.example.test/", "type": "SoftwareApplication"}
    assert "scoredBy" not in automatic["generated"]


def test_null_values_are_omitted() -> None:
    event = build_valid_envelope(JOB_SAMPLE, grade=None, score=None, points_possible=None, student_sis_id=None)["data"][
        0
    ]
    assert b"null" not in orjson.dumps(event)
    assert event["object"]["extensions"] == {"com.instructure.canvas": {"entity_id": "88000000005150"}}
    assert {"maxScore", "scoreGiven"} & set(event["generated"]) == set()


def test_envelope_without_an_lms_url_uses_the_service_urn() -> None:
    found = build_envelope(JOB_SAMPLE, CALIPER_ID, "111", PublishingFormat("urn:moderated-grading", 8800))
    CALIPER_VALIDATOR.validate(found)
    assert (found["sensor"], found["data"][0]["edApp"]["id"]) == ("urn:moderated-grading", "urn:moderated-grading")


@pytest.mark.slow
def test_every_sample_grade_has_a_valid_envelope() -> None:
    envelopes = SampleOutputs().envelopes
    assert len(envelopes) == 9
    for value in envelopes:
        CALIPER_VALIDATOR.validate(orjson.loads(value))
        Envelope.model_validate_json(value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("action", "Submitted"), ("type", "AssessmentEvent"), ("id", "urn:uuid:5b0e2f52-7c41-1f0e-9a53-2f6f0b7f9a10"),
        ("object.type", "Score"), ("generated.type", "Result"), ("generated.scoreGiven", "17.5"),
        ("generated.scoredBy", None), ("eventTime", "2031-03-04T05:06:07Z"), ("actor.id", "88000000000111"),
        ("target", "urn:x:y"), ("surprise", 1), ("edApp.id", "www.canvaslms.com"), ("referrer", None),
    ],
)  # fmt: skip
def test_caliper_schema_rejects_forbidden_values(path: str, value: Any) -> None:
    wrong = deepcopy(JOB_ENVELOPE)
    *above, last = path.split(".")
    node = wrong["data"][0]
    for part in above:
        node = node[part]
    node[last] = value
    assert not CALIPER_VALIDATOR.is_valid(wrong)

"""Commands and stored events of earlier versions, kept here unchanged, can always be read.

Files are named ``NAME.VERSION.json``. Those of version 0 are invented: nothing has had a second version yet.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.commands.parse import InvalidCommand, ParsedCommand, parse
from services.commands.upcasters import UPCASTERS
from services.eventlog.aggregates import apply_assignment_event
from services.eventlog.stored_events import StoredEvent
from services.moderation import upcasters as event_upcasters
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.commands import RecordProvisionalComment
from tests.fixtures.command_samples import DATA
from tests.fixtures.schema_checks import load_validator

Json = dict[str, Any]
RELEASED_FOLDER = Path(__file__).parent
AT = datetime(2026, 1, 1, tzinfo=UTC)
# The content hash in the log: if it ever changed, a producer that retries would be refused.
CONTENT_HASHES = {
    "upsert_course": "56ca24145221b00853c3d51a89dc47f4",
    "upsert_users": "b602f7bf603ad976f07ed92c05f3679e",
    "upsert_enrollments": "f770c7e2c0c675a4381d3c6b42041c79",
    "upsert_admins": "cce5f414b1c3bfd672dc0d8719b0cdcb",
    "erase_person": "68786af28b0bb3940ab60120ce535421",
    "configure_assignment": "8318a2a19b67405b6d8337a8d0b6f341",
    "record_submission": "a49cd15f8708c800d4a8db688d393e15",
    "record_submission_comment": "4f0977adb0481df4149c7961f4804c6a",
    "record_provisional_grade": "61f9a25f2afa0a8ad43262bbcfd6fde1",
    "record_provisional_comment": "e7e0e1ca6ee1d8d321e14bcd0d377236",
    "select_students_for_moderation": "78741be9c99ce6af071a45326c67d28a",
    "select_provisional_grade": "85f02a8fd67e659738dc085c73ab1325",
    "bulk_select_provisional_grades": "79dc6faa4304b5f7bb17412b9bb637b9",
    "publish_provisional_grades": "1d0e15346b3e57f0c2b0c61be5e1dff1",
    "post_grades": "d162fe13209a30a7f2f4c2c0734866b7",
    "hide_grades": "2db5c8844896f30c1ff639737ec9bac3",
    "schedule_publication": "f080f6df64ead8343031d83261993214",
    "cancel_scheduled_publication": "bc227499236a764da12ec2facb8c37b7",
    "release_grader_slot": "5d15f1d9dc580ee53df108b1ef047145",
    "allocate_submissions": "701c1f7b7779eae007988053a302fed1",
    "draw_moderation_sample": "5ea6db9592529a35a584247e0abff2a8",
    "withdraw_published_grade": "6b9515c2b8442068f1277e7ce9aa6360",
    "revise_published_grade": "1a8b86403a8d4274530a91797c7579b0",
    "adjudicate_provisional_grades": "f8d16b3384defb54b2592c5d69ad503c",
    "set_adjudication_policy": "5c9938ed498ff0a56178d5e034ab3ea6",
    "plan_publication": "71d387bd026d3591ad08e7e25a198c1b",
}


def load_released(name: str) -> Json:
    document: Json = json.loads((RELEASED_FOLDER / name).read_text())
    return document


def upcast_to_version_1(command: Json) -> Json:
    """Rename ``student`` and ``text``."""
    data = command["data"]
    return {**command, "version": 1, "data": {"student_id": data["student"], "comment": data["text"]}}


def test_first_release_commands_parse_with_unchanged_content_hashes() -> None:
    lines = (RELEASED_FOLDER / "commands.1.jsonl").read_text().splitlines()
    said = [parse(line.encode()) for line in lines]
    assert {
        each.command.type: each.content_hash.hex() for each in said if isinstance(each, ParsedCommand)
    } == CONTENT_HASHES
    assert set(CONTENT_HASHES) == set(DATA)


def test_command_of_an_earlier_version_is_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    old = json.dumps(load_released("record_provisional_comment.0.json")).encode()
    refused = parse(old)
    assert isinstance(refused, InvalidCommand)
    assert refused.reason == "unsupported_version"
    monkeypatch.setitem(UPCASTERS, ("record_provisional_comment", 0), upcast_to_version_1)
    parsed = parse(old)
    assert isinstance(parsed, ParsedCommand)
    assert parsed.command.data == RecordProvisionalComment(student_id=31, comment="See page 3.")
    assert parsed == parse(json.dumps(upcast_to_version_1(json.loads(old))).encode())


@pytest.mark.parametrize(
    "wrong", [b'"version": 0, "version": 0', b'"version": "0"', b'"version": 0.0', b'"version": 7', b'"version": [0]']
)
def test_unknown_command_version_is_rejected(wrong: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPCASTERS, ("record_provisional_comment", 0), upcast_to_version_1)
    parsed = parse((RELEASED_FOLDER / "record_provisional_comment.0.json").read_bytes().replace(b'"version": 0', wrong))
    assert isinstance(parsed, InvalidCommand)
    assert parsed.reason in ("unsupported_version", "invalid_command")


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" + b"0" * 30])
def test_number_out_of_range_in_an_earlier_version_is_rejected(number: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPCASTERS, ("record_provisional_comment", 0), upcast_to_version_1)
    old = (RELEASED_FOLDER / "record_provisional_comment.0.json").read_bytes()
    parsed = parse(old.replace(b'"version": 0', b'"version": 0, "correlation_id": ' + number))
    assert isinstance(parsed, InvalidCommand)


def add_comment_id(payload: Json) -> Json:
    """Add an id to comments, which had a time of their own and no id."""
    return {"id": "9", **{name: value for name, value in payload.items() if name != "created_at"}}


def test_stored_event_of_an_earlier_version_is_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    old = load_released("provisional_comment_created.0.json")
    assert not load_validator("events/provisional_comment_created").is_valid(old["data"])
    monkeypatch.setitem(event_upcasters.UPCASTERS, ("provisional_comment_created", 0), add_comment_id)
    assignment = Assignment(1, b"secret", 1, 1001, 2001)
    assignment.provisional_grades[1_048_577] = ProvisionalGrade(1_048_577, 31, 21, final=False)
    stored = StoredEvent(1, 7, 7, old["type"], old["type_version"], json.dumps(old["data"]), "{}", AT)
    apply_assignment_event(assignment, stored)
    (comment,) = assignment.provisional_grades[1_048_577].comments
    assert (comment.comment_id, comment.author_id, comment.comment, comment.created_at) == (9, 21, "See page 3.", AT)

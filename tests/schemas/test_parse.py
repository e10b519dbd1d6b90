"""Any bytes at all become a command, a refusal or a dead letter, quickly; and what counts as the same command."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from services.commands.parse import InvalidCommand, ParsedCommand, UnreadableRecord, parse
from tests.cases.bad_inputs import GROUPS, SINGLE, record
from tests.schemas.samples import COMMAND_ID, DATA, Json, command, encoded, put, without

SECONDS_MAX = 1.0
MIB = 1 << 20
ONLY_JUDGED_BY_KAFKA_OR_RULES = {"key", "headers"}
CORPUS = [entry for entry in SINGLE if entry["group"] in GROUPS - ONLY_JUDGED_BY_KAFKA_OR_RULES]


def outcome(said: ParsedCommand | InvalidCommand | UnreadableRecord) -> str:
    """As the corpus calls it."""
    if isinstance(said, InvalidCommand):
        return f"rejected:{said.reason}"
    return "accepted" if isinstance(said, ParsedCommand) else "dead-letter"


@pytest.mark.parametrize("entry", CORPUS, ids=[entry["id"] for entry in CORPUS])
def test_an_entry_of_the_corpus_is_parsed_as_it_expects(entry: Json) -> None:
    begun = time.process_time()
    said = parse(record(entry).value)
    assert time.process_time() - begun < SECONDS_MAX
    # A score that is no score, and an id that names nothing, are refused by the rules: for the parser they are fine.
    by_the_rules = {"rejected:invalid_score": "accepted", "rejected:not_found": "accepted"}
    expected = [entry["expected"], *entry.get("also_ok", ())]
    assert outcome(said) in expected + [by_the_rules.get(name, name) for name in expected]


UNREADABLE = {
    "no value": (None, "empty"),
    "nothing": (b"", "empty"),
    "white space": (b" \n", "not_json"),
    "text": (b"hello", "not_json"),
    "two objects": (encoded(command()) * 2, "not_json"),
    "a byte order mark": (b"\xef\xbb\xbf" + encoded(command()), "not_json"),
    "UTF-16": (json.dumps(command()).encode("utf-16"), "not_utf8"),
    "bytes that are no UTF-8": (put(command(), "data.comment", '"?"').replace(b"?", b"\xff"), "not_utf8"),
    "a surrogate as bytes": (put(command(), "data.comment", '"?"').replace(b"?", b"\xed\xa0\x80"), "not_utf8"),
    "NaN in a rubric": (put(command(), "data.rubric_assessment", '{"a": NaN}'), "not_json"),
    "Infinity in a rubric": (put(command(), "data.rubric_assessment", '{"a": -Infinity}'), "not_json"),
    "a raw control character": (put(command(), "data.comment", '"\n"'), "not_json"),
    "a trailing comma": (put(command(), "data", '{"student_id": 31,}'), "not_json"),
    "a list": (b"[]", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "no command id": (without(command(), "command_id"), "no_command_id"),
    "a command id without hyphens": (put(command(), "command_id", f'"{"0" * 31}1"'), "no_command_id"),
    "a command id in braces": (put(command(), "command_id", f'"{{{COMMAND_ID}}}"'), "no_command_id"),
    "a command id and a line feed": (put(command(), "command_id", f'"{COMMAND_ID}\\n"'), "no_command_id"),
    "a command id that is a number": (put(command(), "command_id", "1"), "no_command_id"),
    "two command ids": (encoded(command())[:-1] + f', "command_id": "{COMMAND_ID}"}}'.encode(), "no_command_id"),
    "33 levels": (put(command(), "data.rubric_assessment", '{"a":' * 31 + "1" + "}" * 31), "too_deep"),
    "33 levels of an unknown field": (put(command(), "x", "[" * 32 + "]" * 32), "too_deep"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_no_verdict_can_be_addressed_to_is_unreadable(name: str) -> None:
    value, reason = UNREADABLE[name]
    said = parse(value)
    assert isinstance(said, UnreadableRecord), said
    assert said.reason == reason


def test_brackets_in_texts_are_no_nesting() -> None:
    assert isinstance(parse(put(command(), "data.comment", '"' + '[{\\"' * 40 + '"')), ParsedCommand)
    assert isinstance(parse(put(command(), "x", '"' + '[{\\"' * 40 + '"')), InvalidCommand)


def test_32_levels_are_taken() -> None:
    assert isinstance(parse(put(command(), "data.rubric_assessment", '{"a":' * 30 + "1" + "}" * 30)), ParsedCommand)


INVALID = {
    "the nil command id": ("command_id", '"00000000-0000-0000-0000-000000000000"', "command_id"),
    "no type": ("type", "null", "type"),
    "an unknown type": ("type", '"__class__"', "type"),
    "a lone surrogate": ("data.comment", '"\\ud800"', "data.comment"),
    "a reversed pair": ("data.comment", '"\\udc00\\ud800"', "data.comment"),
    "a lone surrogate in a key": ("data.rubric_assessment", '{"\\ud800": 1}', "data.rubric_assessment.?"),
    "an integer of 5,000 digits": (
        "data.rubric_assessment", '{"a": [' + "9" * 5000 + "]}", "data.rubric_assessment.a[0]",
    ),
    "a key twice": ("data", '{"student_id": "31", "score": 1, "score": 100}', "data.score"),
    "a key twice, once escaped": ("data", '{"student_id": "31", "score": 1, "\\u0073core": 1}', "data.score"),
    "a key twice, far down": ("data.rubric_assessment", '{"a": [{"b": 1, "b": 1}]}', "data.rubric_assessment.a[0].b"),
    "a command id twice, elsewhere": (
        "data.rubric_assessment", '{"command_id": 1, "command_id": 1}', "data.rubric_assessment.command_id",
    ),
    "data that is a text": ("data", '"x"', "data"),
    "an empty key": ("data.", "1", "data."),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_a_readable_command_that_is_wrong_is_refused_with_the_field_at_fault(name: str) -> None:
    path, text, named = INVALID[name]
    said = parse(put(command(), path, text))
    assert isinstance(said, InvalidCommand)
    assert [error["path"] for error in said.errors] == [named]
    assert (said.root_account_id, said.course_id, said.assignment_id) == (1, 1001, 2001)
    assert said.correlation_id == "c-1"


def test_ids_that_cannot_be_read_are_none_and_the_others_are_there() -> None:
    said = parse(put(command(correlation_id="a\n", type=7, assignment_id=None), "root_account_id", '"0x1"'))
    assert isinstance(said, InvalidCommand)
    assert (said.root_account_id, said.course_id, said.assignment_id) == (None, 1001, None)
    assert (said.correlation_id, said.type) == (None, None)


def test_every_version_but_1_is_unsupported_whatever_else_is_wrong() -> None:
    for version in ("0", "2", "-1", "9" * 30):
        said = parse(put(command(data={"news": 1}), "version", version))
        assert isinstance(said, InvalidCommand)
        assert said.reason == "unsupported_version"
        assert [error["path"] for error in said.errors] == ["version"]


def test_a_refusal_names_at_most_100_fields() -> None:
    said = parse(encoded(command("upsert_users", data={"users": [{"user_id": 0}] * 500})))
    assert isinstance(said, InvalidCommand)
    assert len(said.errors) == 100
    assert said.errors[99]["path"] == "data.users[99].user_id"


SECRET = "Hunter2"
ANYWHERE = [
    "type", "command_id", "version", "issued_at", "root_account_id", "actor", "actor.user_id", "correlation_id", "data",
    "data.student_id", "data.score", "data.final", "data.rubric_assessment", "data.surprise",
]  # fmt: skip


@pytest.mark.parametrize("path", ANYWHERE)
def test_an_error_never_repeats_what_was_sent(path: str) -> None:
    for text in (f'"{SECRET}"', f'["{SECRET}"]', f'"{SECRET}\\u0000"', f'"{SECRET}\\ud800"'):
        said = parse(put(command(), path, text))
        if not isinstance(said, ParsedCommand):
            spoken = (
                said.message
                if isinstance(said, UnreadableRecord)
                else json.dumps([said.message, said.errors, said.type])
            )
            assert SECRET not in spoken


HOSTILE = {
    "a text that never ends": b'{"command_id": "' + b'\\"' * (MIB // 2),
    "a text that ends in a backslash": b'"' + b'\\"' * (MIB // 2) + b"\\",
    "quotation marks": b'"' * MIB,
    "opening brackets": b"[" * MIB,
    "empty lists": put(command(), "data", "[" + "[]," * (MIB // 3 - 200) + "1]"),
    "unknown fields": put(command(), "data", json.dumps({f"{number:x}": 1 for number in range(90_000)})),
    "keys in a rubric": put(command(), "data.rubric_assessment", json.dumps({f"{n:x}": 1 for n in range(80_000)})),
    "keys in a rubric and one twice": put(
        command(), "data.rubric_assessment", json.dumps({f"{n:x}": 1 for n in range(80_000)})[:-1] + ', "0": 1}'
    ),
    "every key twice": put(command(), "data", "{" + '"a": 1, ' * (MIB // 9) + '"a": 1}'),
    "an integer of 1,000,000 digits": put(command(), "data.student_id", "9" * 1_000_000),
    "250 integers of 4,000 digits": put(command(), "data.rubric_assessment", f"[{','.join(['9' * 4000] * 250)}]"),
    "a number with 1,000,000 decimals": put(command(), "data.score", "0." + "9" * 1_000_000),
    "an exponent of 1,000,000 digits": put(command(), "data.score", "1e" + "9" * 1_000_000),
    "users with unknown fields": put(
        command("upsert_users"), "data.users", json.dumps([dict.fromkeys("abcdefghi", 1)] * 10_000)
    ),
    "a time of 1,000,000 digits": put(command(), "issued_at", f'"2026-01-01T00:00:00.{"1" * 1_000_000}Z"'),
    "escapes": put(command(), "data.comment", '"' + "\\ud83d" * 170_000 + '"'),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_mebibyte_of_malice_is_no_slower_than_a_mebibyte(name: str) -> None:
    begun = time.process_time()
    check(parse(HOSTILE[name]))
    # About 0.3 s; what takes time with the square of the length takes minutes.
    assert time.process_time() - begun < 3 * SECONDS_MAX


def hash_of(whole: Json | bytes) -> bytes:
    said = parse(whole if isinstance(whole, bytes) else encoded(whole))
    assert not isinstance(said, UnreadableRecord)
    return said.content_hash


@pytest.mark.parametrize("kind", DATA)
def test_key_order_white_space_form_of_ids_and_what_is_no_content_do_not_count(kind: str) -> None:
    first = command(kind)
    turned = json.dumps(turned_round(first), indent=3, ensure_ascii=False).encode()
    same = command(kind, issued_at="2026-02-01T00:00:00+01:00", correlation_id=None, root_account_id=1, course_id=1001)
    same["command_id"] = COMMAND_ID.upper()
    del same["version"]
    assert hash_of(first) == hash_of(turned) == hash_of(same)


def turned_round(node: Any) -> Any:
    """The same value with the keys of all objects in the opposite order."""
    if isinstance(node, dict):
        return {name: turned_round(node[name]) for name in reversed(node)}
    return [turned_round(part) for part in node] if isinstance(node, list) else node


def test_numbers_and_times_count_by_what_they_mean() -> None:
    assert len({hash_of(put(command(), "data.score", text)) for text in ("7", "7.0", "70e-1")}) == 1
    moments = ('"2026-01-01T00:00:00Z"', '"2026-01-01T01:00:00.000+01:00"')
    assert len({hash_of(put(command("record_submission"), "data.graded_at", text)) for text in moments}) == 1


OTHER = [
    ("type", '"record_provisional_comment"'), ("root_account_id", "2"), ("course_id", "2"), ("assignment_id", "2"),
    ("actor", "null"), ("actor.user_id", "22"), ("data.score", "8"), ("data.score", "null"), ("data.final", "true"),
    ("data.posted_grade", '""'), ("data.rubric_assessment", "{}"), ("data.rubric_assessment", "null"),
    ("data.comment", '"good."'), ("data.student_id", "32"), ("data.surprise", "1"), ("data.score", '"7"'),
]  # fmt: skip


def test_all_else_counts() -> None:
    hashes = [hash_of(command()), *(hash_of(put(command(), path, text)) for path, text in OTHER)]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("path", ["data.score", "data.comment", "data.rubric_assessment", "data.final"])
def test_a_field_left_out_is_not_a_field_that_is_null(path: str) -> None:
    assert hash_of(without(command(), path)) != hash_of(put(command(), path, "null"))


def test_a_refused_command_sent_again_is_the_same_and_a_repaired_one_is_another() -> None:
    wrong = command(data={"student_id": 31, "score": "7"})
    again = {**wrong, "issued_at": "later", "correlation_id": 7}
    assert hash_of(wrong) == hash_of(turned_round(again))
    assert hash_of(wrong) != hash_of(command(data={"student_id": 31, "score": 7}))


numbers = some.integers() | some.floats() | some.sampled_from([0, 2**63, -(2**63), 10**400, 1e308])
texts = some.text(some.characters(exclude_categories=()), max_size=8) | some.sampled_from(
    [COMMAND_ID, "\x00", "31", "7.5"]
)
anything = some.recursive(
    some.none() | some.booleans() | numbers | texts,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def check(said: ParsedCommand | InvalidCommand | UnreadableRecord) -> None:
    """Whatever it is, it can be stored and published."""
    if isinstance(said, ParsedCommand):
        assert said.command.root_account_id > 0
        return
    spoken = [said.reason, said.message]
    if isinstance(said, InvalidCommand):
        assert 0 < len(said.errors) <= 100
        spoken += [said.command_id, said.type or "", said.correlation_id or ""]
        spoken += [text for error in said.errors for text in error.values()]
    assert all("\x00" not in text and text.encode() is not None and len(text) <= 400 for text in spoken)


@given(some.binary())
def test_random_bytes_never_raise(value: bytes) -> None:
    check(parse(value))


@given(anything)
def test_any_json_never_raises(value: Any) -> None:
    check(parse(json.dumps(value).encode("utf-8", "surrogatepass")))


@settings(max_examples=500)
@given(some.sampled_from(sorted(DATA)), some.data())
def test_commands_changed_anywhere_never_raise(kind: str, draw: some.DataObject) -> None:
    whole: Any = json.loads(encoded(command(kind)))
    node = whole
    while True:
        name = draw.draw(some.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node)))))
        deeper = node[name]
        if not isinstance(deeper, dict | list) or not deeper or draw.draw(some.integers(0, 3)) == 0:
            break
        node = deeper
    if isinstance(node, dict) and draw.draw(some.booleans()):
        node[draw.draw(texts)] = draw.draw(anything)
    else:
        node[name] = draw.draw(anything)
    check(parse(json.dumps(whole, ensure_ascii=draw.draw(some.booleans())).encode("utf-8", "surrogatepass")))


@settings(max_examples=500)
@given(
    some.sampled_from(sorted(DATA)),
    some.lists(some.tuples(some.integers(0, 2000), some.binary(max_size=3)), max_size=4),
)
def test_commands_with_bytes_changed_never_raise(kind: str, changes: list[tuple[int, bytes]]) -> None:
    value = encoded(command(kind))
    for place, new in changes:
        cut = place % len(value)
        value = value[:cut] + new + value[cut + len(new) :]
    check(parse(value))

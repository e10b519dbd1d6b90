"""What the quick reader of everyday commands reads is what the schema reads, to the byte of the content hash."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from services.commands.everyday_commands import parse_everyday_command
from services.commands.parse import ParsedCommand, parse_by_schema
from tests.fixtures.bad_inputs import RECORD_GROUPS, SINGLE_RECORD_ENTRIES, build_record
from tests.fixtures.command_samples import COMMAND_ID, DATA, Json, build_command, encode, remove_field, replace_field

EVERYDAY_TYPES = ("record_provisional_grade", "record_provisional_comment", "select_provisional_grade")
ENTRIES = [entry for entry in SINGLE_RECORD_ENTRIES if entry["group"] in RECORD_GROUPS]


def build_everyday_command(command_type: str, **changes: Any) -> Json:
    command = build_command(command_type, **changes)
    command["data"] = {name: value for name, value in command["data"].items() if name != "rubric_assessment"}
    return command


def assert_read_alike(value: bytes) -> bool:
    """Whether the quick reader took the value; if so, the schema reads the same."""
    quickly = parse_everyday_command(value)
    if quickly is None:
        return False
    by_schema = parse_by_schema(value)
    assert isinstance(by_schema, ParsedCommand), f"the schema refuses {value!r}"
    # Equal numbers may be written differently: 5 and 5.0 are different events.
    assert repr(quickly) == repr(by_schema)
    assert quickly == by_schema
    return True


# JSON texts of values that are right or nearly so, for whatever field.
IDS = some.one_of(
    some.integers(1, 10**6).map(str),
    some.integers(1, 2**64).map(lambda number: f'"{number}"'),
    some.integers(-2, 2**64).map(str),
    some.sampled_from(
        [
            "1.0",
            "1e3",
            "-0",
            "01",
            '"01"',
            '" 1"',
            '"1 "',
            '""',
            '"+1"',
            '"1.0"',
            '"\u0661"',
            '"1_0"',
            '"\\t1"',
            "true",
            "null",
            "[1]",
        ]
        + [str(2**63 - 1), str(2**63), f'"{2**63 - 1}"', f'"{2**63}"', '"999999999999999999"', "9" * 400]
    ),
)
NUMBERS = some.one_of(
    some.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    some.floats(-1e9, 1e9).map(json.dumps),
    some.integers(-(10**10), 10**10).map(str),
    some.decimals(-1000, 1000, places=2).map(str),
    some.sampled_from(
        ["-0", "-0.0", "0e0", "0.0", "1e9", "1E9", "1e+9", "1e-400", "1e400", "1000000000.0000001", "1000000000.00001"]
        + ["1.", ".5", "+1", "00", "0x10", "NaN", "Infinity", "-Infinity", "7.10", "5e-324", "1" + "0" * 30, '"7"']
        + ["0.1" + "0" * 400 + "1", "4.35", "0.30000000000000004", "9007199254740993", "123456789.123456789123"]
    ),
)
# Letters of one to four bytes, and what a schema or a parser may stumble over.
ALPHABET = 'ab1é漢😀 \t\x00\x01\x1f\x7f\x80\x9f\xa0\u2028\ufeff\ud800\udc00:,{}"\\/'
TEXTS = some.one_of(
    some.text(ALPHABET, max_size=8).map(json.dumps),
    some.text(ALPHABET, max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    some.sampled_from(
        ['"\\/"', '"\\x"', '"\\', '"\t"', '"\x7f"', '"a": "b"', '"\\"x\\": 1"', '"\\u0000"', '"\\uD83D"']
    ),
)
FLAGS = some.sampled_from(["true", "false", "null", "1", "0", '"true"', "True", "[]"])
TIMES = some.one_of(
    some.datetimes().map(lambda at: json.dumps(at.isoformat() + "Z")),
    some.datetimes().map(lambda at: json.dumps(at.isoformat(timespec="milliseconds") + "Z")),
    some.sampled_from(
        ["2026-01-31T12:00:00Z", "2026-01-31t12:00:00z", "2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.1Z"]
        + ["2026-W05-6T12:00:00Z", "2026-01-31T120000.0Z", "2026-02-30T12:00:00Z", "0000-01-01T00:00:00Z"]
        + ["2026-01-31T24:00:00Z", "2026-01-31T12:00:60Z", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00+00:00"]
        + [
            "2026-01-31T12:00:00,123Z",
            "2026-01-31T12:00:00Z\\n",
            "２０２６-01-31T12:00:00Z",
            "9999-12-31T23:59:59.999Z",
        ]
    ).map(lambda text: f'"{text}"'),
)
COMMAND_IDS = some.sampled_from(
    [COMMAND_ID, COMMAND_ID.upper(), "00000000-0000-0000-0000-000000000000", COMMAND_ID.replace("-", "")]
    + [COMMAND_ID + "\\n", f"{{{COMMAND_ID}}}", f"urn:uuid:{COMMAND_ID}", "", COMMAND_ID[:-1] + "g"]
).map(lambda text: f'"{text}"')
ANYTHING = some.one_of(IDS, NUMBERS, TEXTS, FLAGS, TIMES, COMMAND_IDS, some.sampled_from(["{}", "[]", '{"a": 1}']))
FIELDS = {
    "command_id": COMMAND_IDS,
    "type": some.sampled_from([*DATA, "", "Record_provisional_grade"]).map(json.dumps),
    "version": some.sampled_from(["1", "1.0", "2", '"1"', "true", "null", "01"]),
    "issued_at": TIMES,
    "root_account_id": IDS,
    "course_id": IDS,
    "assignment_id": IDS,
    "actor.user_id": IDS,
    "actor.name": TEXTS,
    "actor": some.sampled_from(["null", "{}", "[]", '{"user_id": 1}', '{"user_id": 1, "user_id": 1}', "[1]"]),
    "correlation_id": TEXTS | some.just("null"),
    "extra": ANYTHING,
    "data.student_id": IDS,
    "data.provisional_grade_id": IDS,
    "data.score": NUMBERS | some.just("null"),
    "data.posted_grade": TEXTS | some.just("null"),
    "data.comment": TEXTS | some.just("null"),
    "data.excuse": FLAGS,
    "data.final": FLAGS,
    "data.graded_anonymously": FLAGS,
    "data.prefer_points_over_scheme": FLAGS,
    "data.rubric_assessment": some.sampled_from(["null", "{}", '{"c": {"points": 1}}']),
    "data.extra": ANYTHING,
}


@some.composite
def near_commands(draw: some.DrawFn) -> bytes:
    """A command with some fields left out, and some replaced by JSON text that is right, nearly so, or neither."""
    value = encode(build_everyday_command(draw(some.sampled_from(EVERYDAY_TYPES))))
    for path in draw(some.lists(some.sampled_from(sorted(FIELDS)), max_size=3, unique=True)):
        command = json.loads(value)
        name, _, within = path.partition(".")
        if within and not isinstance(command.get(name), dict):
            continue
        if draw(some.booleans()) and (within or name) in (command[name] if within else command):
            value = remove_field(command, path)
            continue
        value = replace_text(command, path, draw(FIELDS[path] if draw(some.integers(0, 19)) else ANYTHING))
        try:
            json.loads(value)
        except ValueError:
            break
    return value


def replace_text(command: Json, path: str, text: str) -> bytes:
    """As ``replace_field``, with a surrogate as UTF-8 would have it."""
    return replace_field(command, path, "@@").replace(b"@@", text.encode("utf-8", "surrogatepass"))


@some.composite
def mutated_commands(draw: some.DrawFn) -> bytes:
    """A command of which some bytes were removed, replaced, repeated or inserted."""
    value = draw(near_commands())
    for _ in range(draw(some.integers(1, 3))):
        start = draw(some.integers(0, len(value)))
        end = min(len(value), start + draw(some.integers(0, 12)))
        inserted = draw(
            some.binary(max_size=3)
            | some.sampled_from(
                [b" ", b"\n", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"\\u0000", b"//"]
            )
            | some.just(value[start:end] * 2)
            | some.sampled_from([b'"final": true, ', b'"sc\\u006fre": 1, ', b'"course_id": 7, ', b",", b"}", b"{}"])
        )
        value = value[:start] + inserted + value[end:]
    return value


@pytest.mark.slow
@given(near_commands())
@example(encode(build_everyday_command("record_provisional_grade", issued_at="2026-01-31T120000.0Z")))
@example(replace_field(build_everyday_command("record_provisional_grade"), "data.score", "-0.0"))
def test_near_commands_are_read_as_by_the_schema(value: bytes) -> None:
    assert_read_alike(value)


@pytest.mark.slow
@given(mutated_commands())
@example(encode(build_everyday_command("record_provisional_grade")).replace(b'"score"', b'"final": true, "score"'))
def test_mutated_commands_are_read_as_by_the_schema(value: bytes) -> None:
    assert_read_alike(value)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["id"] for entry in ENTRIES])
def test_corpus_entry_is_read_as_by_the_schema(entry: Json) -> None:
    value = build_record(entry).value
    if value:
        assert_read_alike(value)


@pytest.mark.parametrize(
    ("path", "length_max"), [("data.comment", 65_536), ("data.posted_grade", 255), ("correlation_id", 200)]
)
@pytest.mark.parametrize("letter", ["x", "é"])
def test_longest_text_is_read_quickly_and_a_longer_one_is_not(path: str, length_max: int, letter: str) -> None:
    command = build_everyday_command("record_provisional_grade")

    assert assert_read_alike(replace_text(command, path, f'"{letter * length_max}"'))
    assert not assert_read_alike(replace_text(command, path, f'"{letter * (length_max + 1)}"'))


def optional_fields(command: Json) -> list[str]:
    return [name for name in command["data"] if name not in ("student_id", "provisional_grade_id")]


@pytest.mark.parametrize("command_type", EVERYDAY_TYPES)
def test_everyday_command_is_read_quickly(command_type: str) -> None:
    command = build_everyday_command(command_type)
    assert assert_read_alike(encode(command))
    for name in ("version", "correlation_id"):
        assert assert_read_alike(remove_field(command, name))
    if command_type == "record_provisional_grade":
        for name in optional_fields(command):
            assert assert_read_alike(remove_field(command, f"data.{name}"))
            assert assert_read_alike(replace_field(command, f"data.{name}", "null"))


@given(NUMBERS)
def test_score_is_read_quickly_wherever_it_is_one(number: str) -> None:
    value = replace_field(build_everyday_command("record_provisional_grade"), "data.score", number)

    assert assert_read_alike(value) == isinstance(parse_by_schema(value), ParsedCommand)


@pytest.mark.parametrize("command_type", sorted(set(DATA) - set(EVERYDAY_TYPES)))
def test_other_commands_are_left_to_the_schema(command_type: str) -> None:
    assert parse_everyday_command(encode(build_command(command_type))) is None

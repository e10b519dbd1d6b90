"""Tables of the console as CSV files."""

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from fastapi import Request
from fastapi.responses import Response

from services.console.verdict_stats import RejectionGroup
from services.console.verification_jobs import VerificationJob
from services.console.web.csv_export import CsvTable, build_csv_link, format_cell
from services.console.web.exported_tables import (
    ACTIONS,
    DEAD_LETTER_CAUSES,
    DEAD_LETTERS,
    REFUSAL_CAUSES,
    REFUSALS,
    TOPICS,
)
from services.eventlog.dead_letters import DeadLetter, DeadLetterGroup
from services.eventlog.operator_actions import Action
from services.eventlog.pipeline_queries import TopicLag, VerdictSummary

AT = datetime(2026, 1, 31, 12, 0, 0, 123_456, UTC)
ACTION_ID = UUID(int=7)
LETTER = DeadLetter(
    2, 1, "commands", 9, 17, 0, "not_json", "no JSON", AT, 1_234, None, None, None, ACTION_ID, "redrive", 9, 18
)


def read_csv(response: Response) -> list[list[str]]:
    text = bytes(response.body).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
def test_text_that_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe(start: str) -> None:
    assert format_cell(f"{start}HYPERLINK(1)") == f"'{start}HYPERLINK(1)"


@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r\n", "; ", ';"'])
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝"])
def test_formula_after_a_separator_of_another_locale_gets_an_apostrophe(separator: str, start: str) -> None:
    text = f"Essay{separator}{start}HYPERLINK(1)"
    table: CsvTable[str] = CsvTable("t", {"Text": lambda row: row, "Next": lambda row: row})
    content = bytes(table.respond([text]).body).decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content, newline=""), delimiter=";") for cell in row]
    pieces = [piece for cell in cells for line in cell.splitlines() for piece in line.split("\t")]
    assert not [piece for piece in pieces if piece.lstrip(' "').startswith(start)]


@pytest.mark.parametrize("text", ["Essay; 2nd try", "a = b; c - d", "two\n\nparagraphs", "x;y\tz"])
def test_text_without_a_formula_stays_as_it_is(text: str) -> None:
    assert format_cell(text) == text


@pytest.mark.parametrize("number", [10_000_000_000_001_234, "1234567890123456", "-12345678.12345678"])
def test_number_that_a_spreadsheet_would_round_is_a_text(number: int | str) -> None:
    assert format_cell(number) == f"'{number}"


@pytest.mark.parametrize("number", [100_000_000_000_123, "123456789012345", -3, "-3", "+12.50", 7, "66-1", "7001"])
def test_plain_numbers_stay_as_they_are(number: int | str) -> None:
    assert format_cell(number) == str(number)


@pytest.mark.parametrize("text", ["-3+cmd|' /C calc'!A0", "-1-1", "+1;2", "-٣"])
def test_formula_that_begins_like_a_number_gets_an_apostrophe(text: str) -> None:
    assert format_cell(text) == f"'{text}"


def test_times_are_iso_8601_in_utc() -> None:
    assert format_cell(AT.astimezone(timezone(timedelta(hours=5)))) == "2026-01-31T12:00:00.123Z"


def test_cells_with_separators_quotes_and_line_feeds_are_read_back_unchanged() -> None:
    rows = ['a,b;"c"', "two\nlines", "ß\u00a0€", None]
    table: CsvTable[str | None] = CsvTable("t", {"Text": lambda row: row})
    assert read_csv(table.respond(rows)) == [["Text"], *([row or ""] for row in rows)]


def test_file_is_a_download_named_after_the_table_and_the_time() -> None:
    headers = ACTIONS.respond([]).headers
    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert headers["content-disposition"].startswith('attachment; filename="actions-20')
    assert headers["content-disposition"].endswith('Z.csv"')


def test_link_keeps_the_filters_of_the_page() -> None:
    scope = {
        "type": "http",
        "path": "/failures/dead-letters",
        "query_string": b"reason=not+json%26&state=all&csv=old",
        "headers": [],
        "server": ("console", 80),
        "scheme": "http",
    }
    link = build_csv_link(Request(scope), "dead-letters")
    assert link == "/failures/dead-letters?reason=not+json%26&state=all&csv=dead-letters"


def test_invisible_characters_are_escaped_as_on_the_page() -> None:
    group = DeadLetterGroup("not_json", 2, AT, AT, [1, 9], "=\u202eevil" + "W" * 600)
    row = read_csv(DEAD_LETTER_CAUSES.respond([group]))[1]
    assert row[:2] == ["not_json", "2"]
    assert row[4] == "1, 9"
    assert row[5].startswith("'=\\u202eevilWWW")
    assert row[5].endswith("W…")
    assert len(row[5]) == 507


def test_dead_letter_names_its_place_and_outcome() -> None:
    row = read_csv(DEAD_LETTERS.respond([LETTER]))[1]
    assert row[:6] == ["2026-01-31T12:00:00.123Z", "2", "1", "not_json", "commands", "9"]
    assert row[6:] == ["17", "1234", "redriven to 9/18", str(ACTION_ID)]


def test_refusals_say_what_their_cause_means() -> None:
    group = RejectionGroup("publish_grades", "plan_outdated", 12_000, AT, AT)
    header, row = read_csv(REFUSAL_CAUSES.respond([group]))
    assert dict(zip(header, row, strict=True))["Count"] == "12000"
    assert row[2]
    assert "`" not in row[2]


def test_invisible_characters_in_refusals_are_escaped() -> None:
    group = RejectionGroup("publish\u202egrades", "plan\u200boutdated", 1, AT, AT)
    verdict = VerdictSummary(4, 11, 1, "\u202ex", "a\u202eb", "c\u202ed", "7\u202e", "8\u202e", AT, 0, False)
    causes, refusals = read_csv(REFUSAL_CAUSES.respond([group]))[1], read_csv(REFUSALS.respond([verdict]))[1]
    assert causes[:2] == ["publish\\u202egrades", "plan\\u200boutdated"]
    assert refusals[1:] == ["\\u202ex", "a\\u202eb", "c\\u202ed", "7\\u202e", "8\\u202e", "4", "11"]


@pytest.mark.parametrize("table", [DEAD_LETTERS, REFUSALS])
def test_no_cell_looks_like_a_date(table: CsvTable[Any]) -> None:
    verdict = VerdictSummary(4, 11, 1, "x", "publish_grades", "plan_outdated", "7", "8", AT, 0, False)
    row = read_csv(table.respond([replace(LETTER, shard=4, number=11) if table is DEAD_LETTERS else verdict]))[1]
    assert not [cell for cell in row if re.fullmatch(r"\d{1,2}[-/.]\d{1,4}", cell)]


def test_action_has_its_target_and_reason() -> None:
    action = Action(ACTION_ID, "discard", 1, 77, "@sender: fixed", '{"letter_reason": "not_json"}', AT, 3)
    row = read_csv(ACTIONS.respond([action]))[1]
    assert row[1:] == ["discard", str(ACTION_ID), "letter reason not_json", "1", "77", "'@sender: fixed", "3"]


def test_topic_that_was_not_verified_has_no_counts() -> None:
    row = read_csv(TOPICS.respond([(VerificationJob("x.events", "events"), TopicLag("events", 4, None))]))[1]
    assert row == ["x.events", "not verified since the console started", "", "", "", "4"]

"""The console's runbook, and the way to it from each sentence of the status."""

from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError

from services.console.group_members import UNASSIGNED
from services.console.pipeline_status import STARTING, ForeignRecords, PartitionStatus, PipelineStatus, TopicProblem
from services.console.runbook import RUNBOOK, render_runbook, to_anchor
from services.console.web.templates import Templates
from services.eventlog.pipeline_queries import TopicLag
from services.runtime.errors import describe_error
from tests.unit.console.test_pipeline_status import AT, OK

STATUSES = {
    "Kafka is away": replace(OK, problems=("Kafka does not answer: TimeoutError",)),
    "PostgreSQL is away": replace(OK, problems=("PostgreSQL does not answer: TimeoutError",)),
    "the schema is an older one": replace(OK, problems=(describe_error(asyncpg.UndefinedTableError("no such table")),)),
    "no handler runs": replace(OK, partitions=(PartitionStatus(0, "up to date", 0, 0.0, 7, UNASSIGNED),)),
    "partitions are cut, stalled and late": replace(
        OK,
        partitions=(
            PartitionStatus(0, "stopped", 0, 0.0, 7, UNASSIGNED, is_cut=True),
            PartitionStatus(1, "stalled", 5, 12.0, 7, "one-0"),
        ),
    ),
    "records are late": replace(OK, outputs=(TopicLag("live-events", 3, AT - timedelta(seconds=61)),)),
    "a topic is lost": replace(OK, topic_problems=(TopicProblem("events", "topic events lacks 3 records"),)),
    "a topic is ahead of the log": replace(OK, outputs=(TopicLag("events", 0, None, ahead=3),)),
    "another producer wrote": replace(OK, foreign_records=(ForeignRecords("events", 1, 0, 7),)),
    "a dead letter is open": replace(OK, open_dead_letters=1),
    "dead letters are not counted": replace(OK, open_dead_letters=None),
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
def test_every_sentence_about_a_problem_leads_to_an_entry_of_the_runbook(status: PipelineStatus) -> None:
    _, anchors = render_runbook()
    sentences = status.sentences()
    assert sentences
    assert [sentence.text for sentence in sentences if to_anchor(sentence.runbook or "") not in anchors] == []


def test_healthy_pipeline_leads_nowhere() -> None:
    assert [sentence.runbook for sentence in OK.sentences()] == [None]


def test_runbook_is_shown_whole_and_its_own_links_lead_to_its_headings() -> None:
    text, anchors = render_runbook()
    headings = [line.lstrip("# ") for line in RUNBOOK.read_text().splitlines() if line.startswith(("## ", "### "))]
    assert [heading for heading in headings if f'id="{to_anchor(heading)}"' not in text] == []
    assert 'href="#published-records-are-gone-from-the-log"' in text
    assert "published-records-are-gone-from-the-log" in anchors


def test_every_server_that_does_not_answer_leads_to_its_own_entry(templates: Templates) -> None:
    status = replace(OK, problems=("Kafka does not answer: TimeoutError", "PostgreSQL does not answer: TimeoutError"))
    assert [sentence.runbook for sentence in status.problem_sentences()] == ["KafkaAway", "PostgreSQLAway"]
    notices = templates.render_fragment("status_fragments.html", "notices", status)
    assert 'PostgreSQL does not answer: TimeoutError. <a class="runbook" href="/runbook#postgresqlaway">' in notices


@pytest.mark.parametrize(
    ("problem", "entry"),
    [
        (describe_error(TimeoutError(), "kafka"), "KafkaAway"),
        (describe_error(KafkaConnectionError()), "KafkaAway"),
        ("Kafka at 127.0.0.1:9092 has not answered for 30 s", "KafkaAway"),
        (describe_error(TimeoutError(), "postgresql"), "PostgreSQLAway"),
        (describe_error(asyncpg.DiskFullError("no space left on device")), "PostgreSQLAway"),
        (describe_error(asyncpg.UndefinedTableError("no such table")), "NotReady"),
        (describe_error(asyncpg.InsufficientPrivilegeError("permission denied")), "NotReady"),
        ("topic moderation.commands does not exist: run moderated-grading admin create-topics", "NotReady"),
        (STARTING, None),
    ],
)
def test_each_problem_leads_to_the_entry_that_says_what_to_do(problem: str, entry: str | None) -> None:
    (sentence,) = replace(OK, problems=(problem,)).sentences()
    assert (sentence.text, sentence.runbook) == (problem, entry)

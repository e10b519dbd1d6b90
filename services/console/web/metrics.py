"""The console's metrics, one set per process."""

from schemas.topics import OUTPUT_TOPICS, TOPICS
from services.console.pipeline_status import PipelineStatus
from services.telemetry.metrics.console import ConsoleMetrics

METRICS = ConsoleMetrics()


def topics_lost(status: PipelineStatus) -> list[tuple[tuple[str], float]]:
    """Return 1 for each topic that is missing or lacks records, 0 for the others."""
    problem_topics = {topic.topic for topic in status.topic_problems}
    return [((name,), float(name in problem_topics)) for name in TOPICS]


def foreign_records(status: PipelineStatus) -> list[tuple[tuple[str], float]]:
    """Return the number of other producers' records on each output topic."""
    counts = {found.topic: found.count for found in status.foreign_records}
    return [((name,), float(counts.get(name, 0))) for name in OUTPUT_TOPICS]

"""The console's own metrics, one set a process."""

from services.console.pipeline_status import Now
from services.kafka.topics import SETTINGS
from services.telemetry.metrics import ConsoleMetrics

METRICS = ConsoleMetrics()


def topics_lost(now: Now) -> list[tuple[tuple[str], float]]:
    """1 for each topic that the first page says does not hold what was put on it, 0 for the others."""
    lost = {topic.topic for topic in now.lost}
    return [((name,), float(name in lost)) for name in SETTINGS]

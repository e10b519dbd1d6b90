"""Checks before a relay publishes: do the progress, the topics and the log belong together and agree?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from services.eventlog.feed_history import FeedHistory
from services.kafka.relay_progress import RelayProgress
from services.publishing.log_agreement import LogMismatch, find_log_mismatches
from services.publishing.topic_ends import End, EndMismatch, find_mismatches

Mismatch = TypeVar("Mismatch", EndMismatch, LogMismatch)


class OperatorRequired(Exception):
    """Continuing could lose or duplicate records; the message says why and what to do."""


async def verify_log(
    progress: RelayProgress, history: FeedHistory, ends: Mapping[str, Sequence[End]] | None = None
) -> None:
    """Check that the log has what was published last, by the progress and, with ``ends``, by the topics.

    Raises:
        OperatorRequired: it does not. The progress record keeps the ids of published records, so that a loss is found
            even after the handler has decided the lost commands again.
        POSTGRES_ERRORS: PostgreSQL does not answer.
    """
    mismatches = _first_of_each_output(await find_log_mismatches(history.connection, progress, ends))
    if mismatches:
        raise OperatorRequired(describe_log_mismatches(mismatches))


def describe_log_mismatches(mismatches: Sequence[LogMismatch]) -> str:
    """Describe the differences and the remedies."""
    return (
        f"{'; '.join(map(str, mismatches))}; the log lost records that were published: it was restored, or failed over,"
        " to an earlier state; nothing more was published. Restore a state of the log that has them; or stop all relays"
        " and run: moderated-grading admin rewind log, which lists what was published and is no longer in the log,"
        " removes it from the topics and continues after what both have in common"
    )


def verify_topics_complete(progress: RelayProgress, ends: Mapping[str, Sequence[End]]) -> None:
    """Check that the topics end where the progress does.

    Raises:
        OperatorRequired: one does not.
    """
    mismatches = _first_of_each_output(find_mismatches(progress, ends))
    if mismatches:
        outputs = " ".join(mismatch.output for mismatch in mismatches)
        raise OperatorRequired(
            f"{'; '.join(map(str, mismatches))}; nothing was published. To continue after what the topics hold and"
            f" publish lost records again, stop all relays and run: moderated-grading admin rewind topics {outputs}"
        )


def _first_of_each_output(mismatches: Iterable[Mismatch]) -> list[Mismatch]:
    """Return one mismatch of each output: its remedy is the same for all shards, and the message stays short."""
    first: dict[str, Mismatch] = {}
    for mismatch in mismatches:
        first.setdefault(mismatch.output, mismatch)
    return list(first.values())

"""Step 3 of 6: answer a command id that already has a first verdict."""

from collections.abc import Mapping

from services.commands.incoming_command import CommandKey, IncomingCommand
from services.eventlog.first_verdicts import FirstVerdict
from services.moderation.decisions import COMMAND_EXPIRED, COMMAND_ID_REUSED, Rejected
from services.moderation.value_object import value_object


@value_object()
class Duplicate:
    """A repeated command; ``first_verdict``: the body (JSON) of the verdict that answered it first."""

    first_verdict: str


def deduplicate(
    incoming: IncomingCommand, first_verdicts: Mapping[CommandKey, FirstVerdict]
) -> Duplicate | Rejected | None:
    """Return the answer to a known command id, None for a new one.

    Different content under a known id is refused, and so is the repetition of a command whose verdict is archived.
    """
    first_verdict = first_verdicts.get(incoming.command_key)
    if first_verdict is None:
        return None
    if first_verdict.content_hash != incoming.content_hash:
        return COMMAND_ID_REUSED
    return COMMAND_EXPIRED if first_verdict.body is None else Duplicate(first_verdict.body)

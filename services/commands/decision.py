"""Step 4 of 6: decide a command by the rules of moderation."""

from datetime import datetime

from services.commands.command_state import CommandState
from services.commands.incoming_command import IncomingCommand
from services.commands.parse import InvalidCommand
from services.moderation.decide import decide
from services.moderation.decisions import Decision, Rejected


def decide_command(
    incoming: IncomingCommand, state: CommandState, at: datetime, has_personal_data: bool = False
) -> Decision:
    """Decide a command on the state before it without changing the state; reject an invalid command.

    ``has_personal_data``: whether there is personal data of the person that the command erases.
    """
    command = incoming.command
    if isinstance(command, InvalidCommand):
        return reject_invalid_command(command)
    return decide(command, state.course, state.assignment, at=at, has_personal_data=has_personal_data)


def reject_invalid_command(command: InvalidCommand) -> Rejected:
    """Build the rejection that names the fields at fault."""
    errors = tuple((error["path"], error["message"]) for error in command.errors)
    return Rejected(command.reason, command.message, errors=errors)

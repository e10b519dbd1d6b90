"""How a command of ``moderated-grading`` ends: its exit code, and its error in one sentence on standard error."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from services.config import SettingsError
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error

T = TypeVar("T")


class ExitCode(IntEnum):
    """The exit codes of all commands. FINDING is for a ticket, ALARM and SERVER_UNAVAILABLE are for a page."""

    OK = 0
    FINDING = 1
    USAGE = 2
    SERVER_UNAVAILABLE = 3
    NOT_FOUND = 4
    ALARM = 5


EXIT_CODE_MEANINGS = {
    ExitCode.OK: "success",
    ExitCode.FINDING: "a finding, which is printed, for working hours",
    ExitCode.USAGE: "wrong usage or settings, or refused",
    ExitCode.SERVER_UNAVAILABLE: "Kafka or PostgreSQL does not answer",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.ALARM: "an alarm, which is printed: commands or records are late or lost, act now",
}


class NotFound(Exception):
    """Nothing has the name that was asked for; the message repeats it."""


class ServerUnavailable(Exception):
    """A server does not answer; the message names it and what was left half done."""


class ActionRefused(Exception):
    """The command was refused and changed nothing; the message says why and what to do."""


def run_command(work: Callable[[], Awaitable[T]]) -> T:
    """Run a command's coroutine and return its result; turn an expected error into its exit code."""
    try:
        return asyncio.run(_await(work))
    except (SettingsError, ActionRefused) as error:
        exit_with(ExitCode.USAGE, str(error))
    except NotFound as error:
        exit_with(ExitCode.NOT_FOUND, str(error))
    except ServerUnavailable as error:
        exit_with(ExitCode.SERVER_UNAVAILABLE, str(error))
    except BrokenPipeError:
        raise  # The reader of our output is gone: typer exits quietly.
    except INFRASTRUCTURE_ERRORS as error:
        exit_with(ExitCode.SERVER_UNAVAILABLE, describe_error(error))


async def _await(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def exit_with(code: ExitCode, message: str) -> NoReturn:
    """Print the message on standard error and exit."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(escape_unprintable(message)))
    raise typer.Exit(code)


def escape_unprintable(value: Any) -> str:
    """Return a text that cannot control a terminal: unprintable characters become escape sequences."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in str(value))
